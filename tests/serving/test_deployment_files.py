"""The files in export/tf_serving/ fit each other, the server's readers and the Makefile."""

import re
from pathlib import Path

import pytest

from atrank_tf.serving.loading.config_files import read_metrics_path, read_model_config

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "export" / "tf_serving"


def test_models_and_monitoring_are_what_a_server_reads() -> None:
    (model,) = read_model_config(str(FOLDER / "models.config"))
    assert f"NAME := {model.name}\n" in (ROOT / "Makefile").read_text()
    assert model.base_path == f"/models/{model.name}"
    page = read_metrics_path(str(FOLDER / "monitoring.config"))
    assert page == "/monitoring/prometheus/metrics"
    kubernetes = (FOLDER / "kubernetes.yaml").read_text()
    assert page in kubernetes
    assert kubernetes.count(f"/v1/models/{model.name},") == 2


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes.yaml"])
def test_every_file_that_a_server_is_given_is_there(name: str) -> None:
    named = re.findall(r"/config/(\S+)", (FOLDER / name).read_text())
    assert len(named) == 2
    assert all((FOLDER / file).is_file() for file in named)


def test_lengths_are_never_padded_by_the_server() -> None:
    assert "pad_variable_length_inputs: false" in (FOLDER / "batching.config").read_text()
