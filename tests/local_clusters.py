"""Clusters of this machine, on the loopback interface only; gone when their block ends, whatever happens in it."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYSPARK_PYTHON": sys.executable,
    "SPARK_LOCAL_IP": HOST,
    "SPARK_DAEMON_MEMORY": "256m",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Of all that is started here, and of whoever uses it."""
SECONDS = 120
"""For a cluster to begin, on a machine that has much else to do."""


def free_port(host: str = HOST) -> int:
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])


def _end_with_parent() -> None:
    """Has Linux end this process when the one that started it is gone, even killed: a test may run out of time."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


@contextmanager
def started(command: Sequence[object], log: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with all that it starts in turn; its output is in a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            env=ENVIRONMENT | more,
            cwd=log.parent,  # What is in the working directory would be found before all else.
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(port: int, log: Path, host: str = HOST) -> None:
    for _ in range(SECONDS * 5):
        try:
            socket.create_connection((host, port), 1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(f"Nothing answers at {host}:{port}: {log.read_text()}")


@contextmanager
def spark(folder: Path) -> Iterator[str]:
    """A standalone master and two workers."""
    import pyspark

    command = [Path(pyspark.__file__).parent / "bin/spark-class"]
    port = free_port()
    master = [*command, "org.apache.spark.deploy.master.Master", "--host", HOST, "--port", port, "--webui-port", 0]
    with ExitStack() as stack:
        stack.enter_context(started(master, folder / "master.log"))
        wait_for(port, folder / "master.log")
        for number in range(2):
            worker = [*command, "org.apache.spark.deploy.worker.Worker", "--host", HOST, "--webui-port", 0]
            worker += [
                "--cores",
                1,
                "--memory",
                "1g",
                "--work-dir",
                folder / f"work-{number}",
                f"spark://{HOST}:{port}",
            ]
            stack.enter_context(started(worker, folder / f"worker-{number}.log"))
        yield f"spark://{HOST}:{port}"


@contextmanager
def dask(folder: Path, path: str = "", hidden: Path | None = None) -> Iterator[str]:
    """A scheduler and two workers; `path` is where they find packages before all others.

    What is in the folder `hidden` each worker does not see: it has an empty one in its place. That takes root.
    """
    command, port = [sys.executable, "-m", "distributed.cli.dask_scheduler"], free_port()
    own = {"PYTHONPATH": os.pathsep.join(filter(None, [path, ENVIRONMENT["PYTHONPATH"]]))}
    with ExitStack() as stack:
        scheduler = [*command, "--host", HOST, "--port", port, "--no-dashboard"]
        stack.enter_context(started(scheduler, folder / "scheduler.log"))
        wait_for(port, folder / "scheduler.log")
        for number in range(2):
            worker = [sys.executable, "-m", "distributed.cli.dask_worker", f"tcp://{HOST}:{port}", "--host", HOST]
            worker += ["--nthreads", 1, "--no-dashboard", "--local-directory", folder / f"worker-{number}"]
            if hidden:
                alone = 'mount -t tmpfs none "$0" && exec "$@"'
                worker = ["unshare", "--mount", "sh", "-c", alone, hidden, *worker]
            stack.enter_context(started(worker, folder / f"worker-{number}.log", **own))
        yield f"tcp://{HOST}:{port}"


@contextmanager
def ray(folder: Path) -> Iterator[str]:
    """A head and a second node, each with a core; Ray takes 127.0.0.1 for the address by which others reach it."""
    command = [Path(sys.executable).parent / "ray", "start", "--block", "--num-cpus", 1, "--object-store-memory", 10**8]
    head, port = "127.0.0.2", free_port("127.0.0.2")
    first = [*command, "--head", f"--node-ip-address={head}", "--port", port, "--include-dashboard=false"]
    second = [*command, f"--address={head}:{port}", "--node-ip-address=127.0.0.3"]
    with started(first, folder / "head.log"):
        wait_for(port, folder / "head.log", head)
        with started(second, folder / "second.log"):
            yield f"{head}:{port}"


def has_java() -> bool:
    return shutil.which("java") is not None
