"""`python -m atrank_tf.describe`: a folder of logs as they are -> a schema and an experiment file."""

import sys
from pathlib import Path

from absl import flags

from atrank_tf import command

_LOGS = flags.DEFINE_string("logs", None, "Folder of CSV and Parquet files, of any names.", required=True)
_OUTPUT = flags.DEFINE_string("output", ".", "Folder for schema.toml and experiment.toml.")

command.reads(_LOGS)
command.writes(_OUTPUT, contents="")


def check() -> None:
    if not Path(_LOGS.value).is_dir():
        raise FileNotFoundError(f"Expected a folder of logs at {_LOGS.value}. Found none.")
    for name in ("schema.toml", "experiment.toml"):
        if (Path(_OUTPUT.value) / name).exists():
            raise FileExistsError(
                f"Expected no {name} in {_OUTPUT.value}: it may have been edited. Remove it, or take another --output."
            )


def main() -> None:
    from atrank_tf.description import describe, write_description

    found = describe(_LOGS.value)
    write_description(found, _OUTPUT.value)
    for file, what in found.files.items():
        sys.stdout.write(f"{file:<28} {what}\n")
    for question in found.questions:
        sys.stdout.write(f"? {question}\n")
    schema, experiment = (Path(_OUTPUT.value) / name for name in ("schema.toml", "experiment.toml"))
    sys.stdout.write(
        f"\n{schema} and {experiment} say it, with the numbers. Next:\n"
        f"python -m atrank_tf.prepare  --logs={_LOGS.value} --schema={schema} --records=records\n"
        f"python -m atrank_tf.train    --records=records --config={experiment} --model_dir=model\n"
        "python -m atrank_tf.evaluate --records=records --model_dir=model\n"
    )


if __name__ == "__main__":
    command.run(main, check)
