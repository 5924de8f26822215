"""Prepare on real clusters of this machine, two worker processes each: `make test-clusters`."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import local_clusters
import polars as pl
import pytest
from records_content import content_of
from worker_functions import DieOnce, die, process_id_later

from atrank_tf.preparation import clusters, passes, prepare
from atrank_tf.preparation.clusters import CLUSTERS, cluster_engine
from atrank_tf.schema import Schema, load_schema
from atrank_tf.stores import local_copy, put_files, stored_folders

pytestmark = pytest.mark.slow
STARTED = {
    "spark": local_clusters.spark,
    "dask": local_clusters.dask,
    "ray": local_clusters.ray,
    "beam": lambda folder: nullcontext(""),
}
BEAM = {
    "beam": ["--runner=FnApiRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"],
    "beam, loopback": ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"],
}
LOSE_WORKERS = ("spark", "dask", "ray")
"""Clusters that do again what a lost worker had; Beam's runners of one machine end with it."""


class Running(NamedTuple):
    name: str
    address: str
    flags: list[str]


@pytest.fixture(scope="module", params=["spark", "dask", "ray", *BEAM])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A cluster that runs, or flags of Beam for one that it starts by itself."""
    name = request.param.partition(",")[0]
    if importlib.util.find_spec(CLUSTERS[name].module) is None:
        pytest.skip(f"the extra `{name}` is not installed")
    if name == "spark" and not local_clusters.has_java():
        pytest.skip("there is no Java")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for variable, value in local_clusters.ENVIRONMENT.items():
            patch.setenv(variable, value)
        address = stack.enter_context(STARTED[name](tmp_path_factory.mktemp(name)))
        yield Running(name, address, BEAM.get(request.param, []))


@pytest.fixture(scope="module")
def engine(running: Running) -> Iterator[Any]:
    with cluster_engine(running.name, running.address, running.flags) as engine:
        yield engine


@pytest.fixture(scope="module")
def schema(schema_file: Path) -> Schema:
    return load_schema(str(schema_file))


@pytest.fixture(scope="module")
def expected(logs: Path, schema: Schema, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return content_of(prepare(str(logs), schema, str(tmp_path_factory.mktemp("expected") / "records")).path)


def test_the_command(running: Running, expected: dict[str, str], logs: Path, schema_file: Path, tmp_path: Path) -> None:
    done = run_prepare(running, logs, schema_file, tmp_path / "records")
    assert done.returncode == 0, done.stderr
    assert "60 users in 8 files" in done.stdout
    assert content_of(str(tmp_path / "records")) == expected


def run_prepare(
    running: Running, logs: Path | str, schema: Path, records: Path | str
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "atrank_tf.prepare",
        f"--logs={logs}",
        f"--schema={schema}",
        f"--records={records}",
    ]
    command += [f"--engine={running.name}", f"--engine_address={running.address}", *running.flags]
    return subprocess.run(command, env=local_clusters.ENVIRONMENT, capture_output=True, text=True, timeout=550)


def test_an_error_of_a_worker_is_one_line_that_names_file_and_rows(
    running: Running, logs: Path, schema_file: Path, tmp_path: Path
) -> None:
    """Before `engine` begins: it keeps all cores of a Spark cluster, as applications do."""
    damaged = shutil.copytree(logs, tmp_path / "logs")
    path = damaged / "impressions/next_redemption.parquet"
    pl.read_parquet(path).write_parquet(path, row_group_size=100, compression="uncompressed", statistics=False)
    content = bytearray(path.read_bytes())
    content[4:44] = b"\xff" * 40  # The header of the first page.
    path.write_bytes(content)
    done = run_prepare(running, damaged, schema_file, tmp_path / "records")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"prepare: {path} cannot be read: "), done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["logs"]


def test_pieces_are_shared_by_two_processes(
    engine: Any,
    running: Running,
    expected: dict[str, str],
    logs: Path,
    schema: Schema,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passes, "PIECE_ROWS", 300)
    assert content_of(prepare(str(logs), schema, str(tmp_path / "records"), engine=engine).path) == expected
    workers = set(engine(process_id_later, range(40), tmp_path))
    if "LOOPBACK" not in str(running.flags):  # There the workers are threads of this process.
        assert os.getpid() not in workers
        assert len(workers) >= 2


def test_a_killed_worker_costs_time_and_not_the_result(
    engine: Any, running: Running, expected: dict[str, str], logs: Path, schema: Schema, tmp_path: Path
) -> None:
    """One in each pass, in the middle of its work."""
    if running.name not in LOSE_WORKERS:
        pytest.skip("Beam's runners of one machine do not do again what a lost worker had")

    def deadly(function: Any, items: Any, shared: Path) -> Any:
        mark = tmp_path / type(function.function).__name__
        yield from engine(DieOnce(function, mark), items, shared)

    assert content_of(prepare(str(logs), schema, str(tmp_path / "records"), engine=deadly).path) == expected
    deaths = {path.name for path in tmp_path.iterdir()} - {"records"}
    assert deaths == {"_CheckPiece", "_Divide", "_CountShard", "_SumBucket", "_WriteShard"}


def test_work_that_kills_every_worker_ends(engine: Any, running: Running, tmp_path: Path) -> None:
    if running.name not in LOSE_WORKERS:
        pytest.skip("Beam's runners of one machine do not do again what a lost worker had")
    expected = rf"Workers of the {running.name.title()} cluster were lost again and again at the same work\."
    with pytest.raises(OSError, match=expected):
        list(engine(die, [0], tmp_path))


def test_a_dask_worker_of_another_version(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    other = tmp_path / "other/atrank_tf"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    (other / "version.py").write_text('__version__ = "0.0.9"\n')
    with (
        local_clusters.dask(tmp_path, path=str(other.parent)) as address,
        cluster_engine("dask", address) as engine,
        pytest.raises(ValueError, match=r"Expected atrank_tf \S+ on every worker.* Found 0\.0\.9 on a worker\."),
    ):
        list(engine(str, [1], tmp_path))


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_workers_of_a_bucket_see_no_folder_of_the_launching_process(
    bucket: str,
    expected: dict[str, str],
    logs: Path,
    schema_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("needs a mount namespace for each worker: root, and unshare")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    put_files({path: f"{bucket}/logs/{path.relative_to(logs).as_posix()}" for path in logs.rglob("*.*")})
    environment = local_clusters.ENVIRONMENT | {"TMPDIR": str(temporary)}
    environment |= {name: value for name, value in os.environ.items() if name not in environment}
    monkeypatch.setattr(local_clusters, "ENVIRONMENT", environment)
    with local_clusters.dask(tmp_path, hidden=temporary) as address:
        running = Running("dask", address, [])
        done = run_prepare(running, f"{bucket}/logs", schema_file, f"{bucket}/records")
    assert done.returncode == 0, done.stderr
    with local_copy(f"{bucket}/records") as folder:
        assert content_of(folder) == expected
    assert sorted(stored_folders(bucket)) == ["logs", "records"]


@pytest.mark.parametrize(("name", "host"), [("dask", "127.0.0.1"), ("ray", "127.0.0.2")])
def test_something_else_answers(name: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that takes connections, and says nothing."""
    if importlib.util.find_spec(CLUSTERS[name].module) is None:
        pytest.skip(f"the extra `{name}` is not installed")
    monkeypatch.setattr(clusters, "SECONDS_TO_ANSWER", 3)
    with socket.create_server((host, 0)) as silent:
        address = f"{host}:{silent.getsockname()[1]}"
        with (
            pytest.raises(OSError, match=rf"of a {name.title()} cluster that answers at .*{address}\. Nothing does"),
            cluster_engine(name, address),
        ):
            pass
