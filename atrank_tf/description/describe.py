"""Reads a folder of logs as it is, and writes a schema and an experiment file that fit it."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from atrank_tf.description.decisions import decide
from atrank_tf.description.experiment_text import experiment_text
from atrank_tf.description.roles import find_roles
from atrank_tf.description.schema_text import questions, schema_text
from atrank_tf.description.tables import read_tables
from atrank_tf.files import write_text
from atrank_tf.schema import schema_from_dict


@dataclass(frozen=True)
class Description:
    """A schema and an experiment file for a folder of logs, what each of its files is, and open questions.

    Args:
        schema: text of `schema.toml`.
        experiment: text of `experiment.toml`.
        files: file -> what it is, in words.
        questions: what the numbers did not settle.
    """

    schema: str
    experiment: str
    files: dict[str, str]
    questions: list[str]


def describe(logs: str) -> Description:
    """Drafts a schema and an experiment file for a folder of CSV and Parquet files of any names.

    The tables are held in memory. docs/describe.md states by which rules things are concluded.

    Args:
        logs: the folder.

    Raises:
        FileNotFoundError: there is no folder, or no table in it.
        ValueError: a file cannot be read, or no table tells what users did.
    """
    tables, others = read_tables(logs)
    roles = find_roles(tables)
    roles.unused |= others
    plan = decide(roles)
    schema, experiment = schema_text(plan, logs), experiment_text(plan)
    schema_from_dict(tomllib.loads(schema))
    files = {}
    for event in roles.behaviors:
        files[event.table.file] = (
            f"behaviors: {event.user.name} did something with {event.object.name} at {event.time.name}"
        )
    for event in roles.impressions:
        label = event.label.name if event.label is not None else ""
        files[event.table.file] = (
            f"impressions: {event.object.name} shown to {event.user.name}, chosen where {label} is 1"
        )
    used = {entity.file for entity in plan.entities}
    for objects in roles.catalogs:
        what = "catalog" if objects.table.file in used else "not read, since another says more: a catalog"
        files[objects.table.file] = f"{what}: one row for each {objects.key.name}"
    if roles.profile:
        files[roles.profile.table.file] = f"users: one row for each {roles.profile.key.name}"
    files |= {file: f"not read: {why}" for file, why in roles.unused.items()}
    asked = list(dict.fromkeys(questions(schema)))
    return Description(schema, experiment, dict(sorted(files.items())), asked)


def write_description(description: Description, folder: str) -> None:
    """Writes `schema.toml` and `experiment.toml` into a folder."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    for name, text in (("schema.toml", description.schema), ("experiment.toml", description.experiment)):
        write_text(place / name, text)
