"""`python -m atrank_tf.prepare`: a logs folder and a schema -> records."""

import sys
from contextlib import ExitStack
from pathlib import Path

from absl import flags

from atrank_tf import command
from atrank_tf.preparation.clusters import CLUSTERS, check_cluster, cluster_engine

_PACKAGE = Path(__file__).parent
_SIMULATED = ("hotel_lists", "market")
"""Schemas in the package whose logs `simulate` makes."""

_LOGS = flags.DEFINE_string("logs", None, "Logs folder, or the name of ready logs, as complete_journey.", required=True)
_SCHEMA = flags.DEFINE_string("schema", None, "Schema file (TOML). Ready logs have one.")
_RECORDS = flags.DEFINE_string("records", None, "Records folder to write.", required=True)
_LOGS_CACHE = flags.DEFINE_string(
    "logs_cache", None, "Where the folders of ready logs are kept. Default: `logs` beside the records folder."
)
_RAW = flags.DEFINE_string(
    "raw", None, "Folder with raw files of ready logs. What is missing is downloaded, where a program may do that."
)
_APPEND = flags.DEFINE_string(
    "append",
    None,
    "Records to which the logs are added, as those of yesterday; --records may be the same folder. Files of which "
    "there is nothing new may be missing.",
)
_SHARDS = flags.DEFINE_integer(
    "shards", 0, "Number of TFRecord files. Default: files of about 64 MB, and 8 at least.", lower_bound=0
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Make the records anew even if they are current.")
_EMPTY_PARTS = flags.DEFINE_bool(
    "empty_parts", False, "Take a [split] that leaves training, validation or test of a task without a target."
)
_ENGINE = flags.DEFINE_enum(
    "engine",
    "local",
    ["local", *CLUSTERS],
    "What reads the rows: this machine, or a cluster. Apache Beam takes its own flags beside these (--runner=...).",
)
_ENGINE_ADDRESS = flags.DEFINE_string(
    "engine_address",
    "",
    "Where the cluster is: spark://HOST:7077, tcp://HOST:8786 of Dask, HOST:6379 of Ray, Beam's job service. "
    "Default: what MASTER, DASK_SCHEDULER_ADDRESS or RAY_ADDRESS says.",
)
_PROCESSES = flags.DEFINE_integer(
    "processes", 1, "Processes of --engine=local; each needs a gigabyte or two.", lower_bound=1
)

command.check_paths(_LOGS_CACHE, _RAW)
command.reads(_LOGS, _SCHEMA, _APPEND)
command.writes(_RECORDS, last=("manifest.json",), contents=r"manifest\.json", unfinished=b'{"format": "unfinished"}')


def check() -> None:
    """Looks for the logs, and reads the schema."""
    from atrank_tf.schema import load_schema, suggestion

    logs = Path(_LOGS.value)
    # Ready logs have a schema in the package, named as they are; what they are called exactly, their room says.
    named = (path.name.removesuffix(".schema.toml") for path in _PACKAGE.glob("datasets/*.schema.toml"))
    ready = [name for name in named if name not in _SIMULATED]
    if not logs.is_dir() and (not _LOGS.value or logs.parts[0] not in ready):
        raise FileNotFoundError(
            f"Expected a logs folder, or the name of ready logs, for --logs. Received: {_LOGS.value!r}. "
            f"{suggestion(_LOGS.value, ready)}"
        )
    if _APPEND.value:
        command.check_records(_APPEND.value)
    if logs.is_dir():
        _check_own(_LOGS.value)
    elif _SCHEMA.value:
        load_schema(_SCHEMA.value)
    if _ENGINE.value != "local":
        if _PROCESSES.value != 1:
            raise ValueError(f"--processes is for --engine=local. Received: --engine={_ENGINE.value}.")
        check_cluster(_ENGINE.value, _ENGINE_ADDRESS.value)
    elif _ENGINE_ADDRESS.value:
        raise ValueError(f"--engine_address is for --engine={', '.join(CLUSTERS)}. Received: --engine=local.")


def main(*beam_flags: str) -> None:
    from atrank_tf.preparation import are_current, prepare, summary
    from atrank_tf.preparation.exchange import through_stores
    from atrank_tf.preparation.local_engine import local_engine
    from atrank_tf.schema import load_schema

    records = _RECORDS.value
    logs, schema_file = _logs_and_schema(_LOGS.value)
    schema = load_schema(schema_file)
    append = _APPEND.value or ""
    if not _OVERWRITE.value and are_current(logs, schema, records, shards=_SHARDS.value, append=append):
        sys.stdout.write(f"{records} is current: same logs, same schema\n")
        return
    with ExitStack() as until_made:
        name, copies = _ENGINE.value, command.copies()
        if name == "local":
            engine = until_made.enter_context(local_engine(_PROCESSES.value))
        else:
            engine = until_made.enter_context(cluster_engine(name, _ENGINE_ADDRESS.value, beam_flags))
        if copies and name not in ("local", "beam"):  # Beam's results come back through a shared folder.
            engine = until_made.enter_context(through_stores(engine, copies))
        made = prepare(
            logs,
            schema,
            records,
            shards=_SHARDS.value,
            overwrite=True,
            empty_parts=_EMPTY_PARTS.value,
            engine=engine,
            append=append,
        )
    sys.stdout.write(summary(made))


def _logs_and_schema(logs: str) -> tuple[str, str]:
    """Returns the logs folder and the schema file; ready logs are written if they are not there yet."""
    if Path(logs).is_dir():
        return logs, _SCHEMA.value or ""

    from atrank_tf.datasets import SOURCES, download, write_logs
    from atrank_tf.schema import suggestion

    if logs not in SOURCES:
        raise FileNotFoundError(
            f"Expected a logs folder, or the name of ready logs, for --logs. Received: {logs!r}. "
            f"{suggestion(logs, SOURCES)}"
        )
    source = SOURCES[logs]
    cache = Path(_LOGS_CACHE.value) if _LOGS_CACHE.value else Path(_RECORDS.value).parent / "logs"
    if not (cache / logs).is_dir():
        raw = Path(_RAW.value) if _RAW.value else None
        files = source.raw_files(raw, lambda urls: download(urls, cache / "raw"))
        write_logs(source.logs(files), str(cache / logs))
    return str(cache / logs), _SCHEMA.value or source.schema


def _check_own(logs: str) -> None:
    """Checks the flags that go with a logs folder of one's own, and that the files of its schema are there."""
    from atrank_tf.preparation.logs import find_logs
    from atrank_tf.schema import load_schema

    if not _SCHEMA.value:
        raise ValueError(f"Expected a schema file for --schema, which says what is in {logs}. Received none.")
    for flag in (_RAW, _LOGS_CACHE):
        if flag.value:
            raise ValueError(f"--{flag.name} is for ready logs. {logs} is a folder of your own, read as it is.")
    find_logs(logs, load_schema(_SCHEMA.value), some=bool(_APPEND.value))


if __name__ == "__main__":
    command.run(main, check, passes_on=lambda: flags.FLAGS["engine"].value == "beam")
