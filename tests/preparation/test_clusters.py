"""Clusters that are not there, and what is said then; `tests/clusters` has those that are."""

import re
import shutil
import socket
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from atrank_tf.preparation import clusters
from atrank_tf.preparation.clusters import CLUSTERS, check_cluster, cluster_engine


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every package is there, as far as one looks; and no variable of the environment has an address."""
    monkeypatch.setattr(clusters, "find_spec", lambda name: name)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    for cluster in CLUSTERS.values():
        if cluster.environment:
            monkeypatch.delenv(cluster.environment, raising=False)


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("name", CLUSTERS)
def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(clusters, "find_spec", lambda _: None)
    expected = f"--engine={name} needs {CLUSTERS[name].module}. Install it: pip install 'atrank-tf[{name}]'"
    with pytest.raises(ImportError, match=re.escape(expected)):
        check_cluster(name, "")


@pytest.mark.parametrize(
    ("name", "variable"), [("spark", "MASTER"), ("dask", "DASK_SCHEDULER_ADDRESS"), ("ray", "RAY_ADDRESS")]
)
def test_no_address(installed: None, monkeypatch: pytest.MonkeyPatch, name: str, variable: str) -> None:
    with pytest.raises(ValueError, match=rf"cluster in --engine_address, or in {variable}\. Found none\."):
        check_cluster(name, "")
    monkeypatch.setenv(variable, "auto")
    assert check_cluster(name, "") == "auto"


def test_spark_without_java(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(OSError, match=r"--engine=spark needs Java 17 or newer on every machine\. Found no java"):
        check_cluster("spark", "local[2]")


@pytest.mark.parametrize(
    ("name", "form"),
    [("spark", "spark://127.0.0.1:{0},127.0.0.1:{0}"), ("dask", "tcp://127.0.0.1:{0}"), ("ray", "127.0.0.1:{0}")],
)
def test_nothing_answers(installed: None, closed_port: int, name: str, form: str) -> None:
    address = form.format(closed_port)
    with pytest.raises(OSError, match=rf"Expected the \w+ of a {name.title()} cluster that answers at {address}\."):
        check_cluster(name, address)
    with socket.create_server(("127.0.0.1", closed_port)):
        assert check_cluster(name, address) == address


@pytest.mark.parametrize("address", ["yarn", "local[2]", "auto"])
def test_an_address_without_a_port_is_the_packages_own_matter(installed: None, address: str) -> None:
    assert check_cluster("spark", address) == address


def test_workers_are_looked_at_before_the_first_work(
    installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def engine(function: Any, items: Any, shared: Path) -> Any:
        asked.append(items)
        yield from map(function, items)

    monkeypatch.setitem(CLUSTERS, "ray", CLUSTERS["ray"]._replace(connect=lambda *_: nullcontext(engine)))
    with cluster_engine("ray", "auto") as checked:
        for _ in range(2):
            assert list(checked(str, [1, 2], tmp_path)) == ["1", "2"]
    assert [len(items) for items in asked] == [16, 16, 2, 2]


def test_a_dask_scheduler_without_workers(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Client(nullcontext[None]):
        def __init__(self, *_: Any, **__: Any) -> None:
            super().__init__()

        def wait_for_workers(self, *_: Any) -> None:
            raise TimeoutError

    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=Client))  # type: ignore[arg-type]
    with (
        pytest.raises(OSError, match=r"a worker of the Dask cluster at a would begin within 300 seconds\. None did"),
        clusters.cluster_engine("dask", "a"),
    ):
        pass


def test_beam_in_this_process(
    logs: Path, schema_file: Path, records: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("apache_beam", reason="the extra `beam` is not installed")
    from atrank_tf.preparation import passes, prepare
    from atrank_tf.schema import load_schema

    monkeypatch.setattr(passes, "PIECE_ROWS", 200)
    # Not DirectRunner, which looks for a program of another runner in the internet first.
    with cluster_engine("beam", flags=["--runner=FnApiRunner"]) as engine:
        made = prepare(str(logs), load_schema(str(schema_file)), str(tmp_path / "records"), engine=engine)
    assert made.manifest["checksums"] == records.manifest["checksums"]


def test_beam_stops_where_nobody_waits_for_it(tmp_path: Path) -> None:
    pytest.importorskip("apache_beam", reason="the extra `beam` is not installed")
    save = clusters._Save(str, tmp_path)
    save(1, "x")
    (tmp_path / "stop").touch()
    save(2, "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "stop"]


def test_a_pipeline_of_beam_that_was_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beam = pytest.importorskip("apache_beam", reason="the extra `beam` is not installed")
    cancelled = type("Result", (), {"state": "CANCELLED", "wait_until_finish": lambda self: None})
    monkeypatch.setattr(beam.Pipeline, "run", lambda self: cancelled())
    with (
        pytest.raises(RuntimeError, match=r"Expected the pipeline to end as DONE\. It ended as CANCELLED\."),
        cluster_engine("beam", flags=["--runner=FnApiRunner"]) as engine,
    ):
        list(engine(str, [1], tmp_path))
