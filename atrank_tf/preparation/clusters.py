"""Engines of many machines: Spark, Dask, Ray, and whatever Apache Beam has a runner for; each a few lines over `run`.

Each needs its package, named as its extra, on all machines, and atrank_tf with it; and a folder that all of them see.
`docs/scaling.md` says the rest.
"""

import os
import shutil
import socket
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast
from uuid import uuid4

if TYPE_CHECKING:
    from atrank_tf.preparation.engine import Engine

T = TypeVar("T")
R = TypeVar("R")
SECONDS_TO_ANSWER = 30
SECONDS_TO_START = 300
"""A cluster that grows when there is work may need some minutes until its first worker is there."""
_SECONDS_TO_LOOK = 0.2
_SPARK_JOBS = 64
_LOST_IN_SPARK = ("ExecutorLostFailure", "Python worker exited unexpectedly")


class Cluster(NamedTuple):
    """What a cluster is called, and how it is reached.

    `module`: what is imported. `what`: what the address is of. `environment`: the variable that has the address if no
    other is given; "" if an address may be missing. `connect`: gives an engine.
    """

    module: str
    what: str
    environment: str
    connect: Callable[[str, Sequence[str]], AbstractContextManager["Engine"]]


def check_cluster(name: str, address: str) -> str:
    """Returns the address of a cluster; imports nothing heavy.

    Args:
        name: one of `CLUSTERS`.
        address: the address, or "" for that in the environment.

    Raises:
        ImportError: its package is not installed.
        ValueError: there is no address.
        OSError: nothing answers there; or there is no Java, for Spark.
    """
    cluster = CLUSTERS[name]
    if find_spec(cluster.module) is None:
        raise ImportError(f"--engine={name} needs {cluster.module}. Install it: pip install 'atrank-tf[{name}]'")
    if name == "spark" and not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        raise OSError("--engine=spark needs Java 17 or newer on every machine. Found no java, and no JAVA_HOME.")
    found = address or os.environ.get(cluster.environment, "")
    if cluster.environment and not found:
        raise ValueError(
            f"Expected the address of {cluster.what} in --engine_address, or in {cluster.environment}. Found none."
        )
    places = [place.rpartition(":") for place in found.rpartition("://")[2].split(",")]
    known = [(host, int(port)) for host, _, port in places if host and port.isdigit()]
    if known and not any(_answers(*place) for place in known):
        raise _no_answer(name, found)
    return found


@contextmanager
def cluster_engine(name: str, address: str = "", flags: Sequence[str] = ()) -> Iterator["Engine"]:
    """Gives the engine of a cluster; leaves the cluster when the block ends.

    Args:
        name: one of `CLUSTERS`.
        address: where it is. Defaults to what its environment variable says.
        flags: further flags, of Beam and its runner (`--runner=FlinkRunner`).

    Raises:
        ImportError: its package is not installed.
        ValueError: there is no address. When the engine is first called: a worker has another version of something, or
            does not see the shared folder.
        OSError: nothing answers there in `SECONDS_TO_ANSWER`, or no worker comes in `SECONDS_TO_START`.
    """
    from atrank_tf.preparation.engine import check_workers

    found = check_cluster(name, address)
    with CLUSTERS[name].connect(found, flags) as engine:
        checked = False

        def run(function: Callable[[T], R], items: Sequence[T], shared: Path) -> Generator[R, None, None]:
            nonlocal checked
            if not checked:
                check_workers(engine, shared)
                checked = True
            yield from engine(function, items, shared)

        yield run


@contextmanager
def _spark(address: str, flags: Sequence[str]) -> Iterator["Engine"]:
    import pyspark
    from py4j.protocol import Py4JJavaError

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = pyspark.SparkConf().setAppName("atrank_tf.prepare").set("spark.log.level", "ERROR")
    settings.set("spark.ui.showConsoleProgress", "false")
    context = pyspark.SparkContext(conf=settings.setMaster(address))

    def run(function: Callable[[T], R], items: Sequence[T], shared: Path) -> Generator[R, None, None]:
        sent = context.broadcast(function)

        def job(item: T) -> R:
            [found] = context.parallelize([item], 1).map(lambda one: sent.value(one)).collect()
            return cast(R, found)

        # A job for each item, many at a time: so their results come one by one, and progress with them.
        with ThreadPoolExecutor(max(_SPARK_JOBS, 2 * context.defaultParallelism)) as threads:
            try:
                yield from threads.map(job, items)
            except BaseException as error:
                context.cancelAllJobs()
                if isinstance(error, Py4JJavaError) and any(sign in str(error) for sign in _LOST_IN_SPARK):
                    raise _lost("Spark") from error
                raise

    try:
        with ThreadPoolExecutor(1) as thread:
            first = thread.submit(context.parallelize([0], 1).first)
            if not wait([first], SECONDS_TO_START).done:
                context.cancelAllJobs()
                raise _no_worker("Spark", address)
        yield run
    finally:
        context.stop()


@contextmanager
def _dask(address: str, flags: Sequence[str]) -> Iterator["Engine"]:
    import distributed

    # In a thread that may be left behind: the package waits for ever for a greeting.
    started: Future[Any] = Future()
    connect = partial(_set, started, lambda: distributed.Client(address, timeout=SECONDS_TO_ANSWER))
    Thread(target=connect, daemon=True).start()
    try:
        client = started.result(SECONDS_TO_ANSWER)
    except OSError as error:  # As a TimeoutError is.
        raise _no_answer("dask", address) from error
    with client:
        try:
            client.wait_for_workers(1, SECONDS_TO_START)
        except TimeoutError as error:
            raise _no_worker("Dask", address) from error

        def run(function: Callable[[T], R], items: Sequence[T], shared: Path) -> Generator[R, None, None]:
            # As the result of a task, which is made again if the worker that has it is lost; sent once to each worker.
            sent = client.submit(lambda given: given, function, pure=False)
            futures = client.map(lambda item, call: call(item), items, call=sent, pure=False)
            try:
                for future in futures:
                    yield future.result()
            except distributed.scheduler.KilledWorker as error:
                raise _lost("Dask") from error
            finally:
                client.cancel(futures)

        yield run


@contextmanager
def _ray(address: str, flags: Sequence[str]) -> Iterator["Engine"]:
    import logging

    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # Else it tries for a quarter of an hour.
    import ray

    try:
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
    except (RuntimeError, ConnectionError) as error:
        raise _no_answer("ray", address) from error
    task = ray.remote(lambda function, item: function(item))

    def run(function: Callable[[T], R], items: Sequence[T], shared: Path) -> Generator[R, None, None]:
        sent = ray.put(function)
        results = [task.remote(sent, item) for item in items]
        try:
            for result in results:
                yield ray.get(result)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
            raise _lost("Ray") from error

    try:
        if not ray.wait([task.remote(str, 0)], timeout=SECONDS_TO_START)[0]:
            raise _no_worker("Ray", address)
        yield run
    finally:
        ray.shutdown()


@contextmanager
def _beam(address: str, flags: Sequence[str]) -> Iterator["Engine"]:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    portable = ["--runner=PortableRunner", f"--job_endpoint={address}"] if address else []
    coder = beam.coders.PickleCoder()

    def finish(pipeline: Any) -> None:
        result = pipeline.run()
        state = result.wait_until_finish() or result.state
        if state != beam.runners.runner.PipelineState.DONE:
            raise RuntimeError(f"Expected the pipeline to end as DONE. It ended as {state}.")

    def run(function: Callable[[T], R], items: Sequence[T], shared: Path) -> Generator[R, None, None]:
        # A pipeline returns nothing: results come back through the shared folder.
        folder = shared / f"results-{uuid4().hex}"
        folder.mkdir()
        pipeline = beam.Pipeline(options=PipelineOptions([*portable, *flags]))
        numbered = pipeline | beam.Create(list(enumerate(items))) | beam.Reshuffle()
        _ = numbered | beam.MapTuple(_Save(function, folder))
        with ThreadPoolExecutor(1) as thread:
            done = thread.submit(finish, pipeline)
            try:
                for number in range(len(items)):
                    while not (folder / str(number)).exists() and not done.done():
                        wait([done], _SECONDS_TO_LOOK)
                    if not (folder / str(number)).exists():
                        done.result()
                    yield coder.decode((folder / str(number)).read_bytes())
            finally:
                (folder / "stop").touch()

    yield run


class _Save:
    """Calls a function, and writes what it returns into a file, which is whole or not there."""

    def __init__(self, function: Callable[[Any], Any], folder: Path) -> None:
        self._function, self._folder = function, folder

    def __call__(self, number: int, item: Any) -> None:
        import apache_beam as beam

        from atrank_tf.files import whole_file

        if (self._folder / "stop").exists():  # Nobody waits for it: another item has failed.
            return
        content = beam.coders.PickleCoder().encode(self._function(item))
        with whole_file(self._folder / str(number), concurrent=True) as partial:
            Path(partial).write_bytes(content)


CLUSTERS = {
    "spark": Cluster("pyspark", "the master of a Spark cluster", "MASTER", _spark),
    "dask": Cluster("distributed", "the scheduler of a Dask cluster", "DASK_SCHEDULER_ADDRESS", _dask),
    "ray": Cluster("ray", "the head of a Ray cluster", "RAY_ADDRESS", _ray),
    "beam": Cluster("apache_beam", "the job service of a Beam runner", "", _beam),
}
"""Name of an engine, and of the extra that it needs -> how it is reached."""


def _set(future: Future[R], call: Callable[[], R]) -> None:
    try:
        future.set_result(call())
    except Exception as error:
        future.set_exception(error)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), SECONDS_TO_ANSWER).close()
    except OSError:
        return False
    return True


def _no_answer(name: str, address: str) -> OSError:
    return OSError(
        f"Expected {CLUSTERS[name].what} that answers at {address}. Nothing does: is it running, and is it there?"
    )


def _no_worker(name: str, address: str) -> OSError:
    return OSError(
        f"Expected that a worker of the {name} cluster at {address} would begin within {SECONDS_TO_START} seconds. "
        "None did: has it workers, with a core that is free?"
    )


def _lost(name: str) -> OSError:
    return OSError(
        f"Workers of the {name} cluster were lost again and again at the same work. Have they too little memory? More "
        "--shards need less at a time."
    )
