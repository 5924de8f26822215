"""`python -m atrank_tf.prepare`: a logs folder and a schema -> records."""

import sys
from pathlib import Path

from absl import flags

from atrank_tf import command

_LOGS = flags.DEFINE_string("logs", None, "Logs folder, or the name of ready logs, as complete_journey.", required=True)
_SCHEMA = flags.DEFINE_string("schema", None, "Schema file (TOML).", required=True)
_RECORDS = flags.DEFINE_string("records", None, "Records folder to write.", required=True)
_LOGS_CACHE = flags.DEFINE_string(
    "logs_cache", None, "Where the folders of ready logs are kept. Default: `logs` beside the records folder."
)
_SHARDS = flags.DEFINE_integer(
    "shards", 0, "Number of TFRecord files. Default: files of about 64 MB, and 8 at least.", lower_bound=0
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Make the records anew even if they are current.")


def main() -> None:
    from atrank_tf.data.prepare import are_current, prepare
    from atrank_tf.data.summary import summary
    from atrank_tf.schema import load_schema

    schema, records = load_schema(_SCHEMA.value), _RECORDS.value
    logs = _logs_folder(_LOGS.value)
    if not _OVERWRITE.value and are_current(logs, schema, records, shards=_SHARDS.value):
        sys.stdout.write(f"{records} is current: same logs, same schema\n")
        return
    sys.stdout.write(summary(prepare(logs, schema, records, shards=_SHARDS.value, overwrite=True)))


def _logs_folder(logs: str) -> str:
    """Returns the logs folder; ready logs are written if they are not there yet."""
    from atrank_tf.datasets import SOURCES
    from atrank_tf.schema import suggestion

    if Path(logs).is_dir():
        return logs
    if logs not in SOURCES:
        raise FileNotFoundError(
            f"Expected a logs folder, or the name of ready logs, for --logs. Received: {logs!r}. "
            f"{suggestion(logs, SOURCES)}"
        )
    cache = Path(_LOGS_CACHE.value) if _LOGS_CACHE.value else Path(_RECORDS.value).parent / "logs"
    folder = cache / logs
    if not folder.is_dir():
        SOURCES[logs](str(folder))
    return str(folder)


if __name__ == "__main__":
    command.run(main)
