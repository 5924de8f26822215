"""The files in export/tf_serving/ fit each other, the server's readers and the Makefile."""

import functools
import re
from pathlib import Path

import pytest
from absl import flags

from atrank_tf import serve
from atrank_tf.server import Metrics, RestApi, ServedModel, load_warm
from atrank_tf.server.config_files import read_metrics_path, read_model_config

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "export" / "tf_serving"


def test_models_and_monitoring_are_what_a_server_reads() -> None:
    (model,) = read_model_config(str(FOLDER / "models.config"))
    assert f"NAME := {model.name}\n" in (ROOT / "Makefile").read_text()
    assert model.base_path == f"/models/{model.name}"
    page = read_metrics_path(str(FOLDER / "monitoring.config"))
    assert page == "/monitoring/prometheus/metrics"
    assert page in (FOLDER / "kubernetes.yaml").read_text()


def test_probes_find_a_server_ready_when_a_version_is_loaded(half_plus_two: str, tmp_path: Path) -> None:
    paths = re.findall(r"path: (/v1/[^,\s]+)", (FOLDER / "kubernetes.yaml").read_text())
    assert len(paths) == 2
    (model,) = read_model_config(str(FOLDER / "models.config"))
    (tmp_path / "1").mkdir()  # no model in it
    for base_path, status in ((half_plus_two, 200), (str(tmp_path), 404)):
        served = ServedModel(model.name, base_path)
        served.refresh()
        assert served.statuses()  # a version is there, loaded or not
        for path in paths:
            assert RestApi(served).answer("GET", path, b"").status == status
        served.close()


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes.yaml"])
def test_every_file_that_a_server_is_given_is_there(name: str) -> None:
    named = re.findall(r"/config/(\S+)", (FOLDER / name).read_text())
    assert len(named) == 2
    assert all((FOLDER / file).is_file() for file in named)


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes.yaml"])
def test_the_embedded_server_takes_the_flags_and_a_config_may_have_labels(name: str) -> None:
    given = dict(re.findall(r"- --(\w+)=(\S+)", (FOLDER / name).read_text()))
    known = flags.FLAGS.flags_by_module_dict()[serve.__name__]
    assert given.keys() <= {flag.name for flag in known}
    # TensorFlow Serving has no version available yet when it reads the labels at a start.
    assert given["allow_version_labels_for_unavailable_models"] == "true"
    documented = re.findall(r"`--(\w+)`", (ROOT / "docs/deployment.md").read_text())
    assert given.keys() <= set(documented)


def _page(base_path: str, missing: str) -> str:
    """The metrics page of a server after a good call, a bad one and a version that cannot be loaded."""
    metrics = Metrics()
    served = ServedModel("m", base_path, load=functools.partial(load_warm, metrics=metrics))
    served.start()
    api = RestApi(served, metrics=metrics)
    for body in (b'{"instances": [1]}', b"no JSON"):
        api.answer("POST", "/v1/models/m:predict", body)
    with pytest.raises(FileNotFoundError):
        load_warm(missing, metrics=metrics)
    served.close()
    return metrics.page(api.versions()).decode()


def _alerted() -> set[str]:
    """The metrics of the alerts in deployment.md."""
    names = set(re.findall(r'__name__="([^"]+)"', (ROOT / "docs/deployment.md").read_text()))
    assert len(names) == 4
    return names


def test_the_metrics_of_the_alerts_are_on_the_page(half_plus_two: str, tmp_path: Path) -> None:
    page = _page(half_plus_two, str(tmp_path))
    assert {name for name in _alerted() if f"\n{name}{{" in page} == _alerted()
    assert 'request_count{model_name="m",status="INVALID_ARGUMENT"} 1\n' in page
    assert f'load_attempt_count{{model_path="{tmp_path}",status="fail"}} 1\n' in page


def test_prometheus_reads_the_metrics_of_the_alerts(half_plus_two: str, tmp_path: Path) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    families = list(parser.text_string_to_metric_families(_page(half_plus_two, str(tmp_path))))
    found = {sample.name for family in families for sample in family.samples}
    assert _alerted() <= found | {name.removesuffix("_total") for name in found}  # the parser adds it to counters


def test_lengths_are_never_padded_by_the_server() -> None:
    assert "pad_variable_length_inputs: false" in (FOLDER / "batching.config").read_text()
