"""Refuses data of which a part that is needed has no target: nothing could be trained, chosen or measured on it."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from atrank_tf.data.targets import Part
from atrank_tf.schema import Schema, SplitKind

_SHARES = (0.8, 0.9)
"""Shares of the time with targets before validation and before test, of the split that an error proposes."""


def check_parts(
    report: Mapping[str, Any], schema: Schema, tasks: Iterable[str], parts: Iterable[Part], records: str
) -> None:
    """Checks that each of some parts of the data has targets of each task.

    Args:
        report: what `load_report` gives.
        schema: the schema.
        tasks: names of tasks.
        parts: the parts that are needed.
        records: the records folder, for the message.

    Raises:
        ValueError: a part has no target of a task, or none of which something was chosen; says how many each part has,
            of which days, and what to change.
    """
    needed = [str(part) for part in parts]
    for task in tasks:
        of_parts = report["tasks"][task]["parts"]
        if not all(of_parts[part]["targets"] for part in needed):
            found = ", ".join(f"{counts['targets']:,} in {part}" for part, counts in of_parts.items())
            raise ValueError(
                f'Expected targets of task "{task}" in {" and ".join(needed)}, for {records}. Found {found}. '
                f"{_advice(schema, task, [part['by_day'] for part in of_parts.values() if part['targets']])}"
            )
        if not all(of_parts[part]["positives"] for part in needed):
            found = ", ".join(f"{counts['positives']:,} in {part}" for part, counts in of_parts.items())
            raise ValueError(
                f'Expected impressions of task "{task}" that were chosen in {" and ".join(needed)}, for {records}. '
                f"Found {found}. Is label 1, or true, where something was chosen? Or take a longer part in [split]."
            )


def _advice(schema: Schema, task: str, by_day: list[Mapping[str, Any]]) -> str:
    if not by_day:
        return f"Are the actions of [tasks.{task}] in the log of its group?"
    if schema.split.kind is SplitKind.LEAVE_LAST_OUT:
        return (
            'Under kind = "leave_last_out" the last target of a user is test and the one before it validation, so that '
            'a user needs three for one in training. [split] of the schema may have kind = "by_time" instead.'
        )
    first, last = (
        min(np.datetime64(days["first"]) for days in by_day),
        max(np.datetime64(days["last"]) for days in by_day),
    )
    split = {name: _day(getattr(schema.split, name)) for name in ("validation_from", "test_from")}
    if last < np.datetime64("1971-01-01") <= _day(schema.split.validation_from):
        return f'All targets are of 1970, {first} to {last}. Are timestamps days? Then timestamp_format = "day".'
    says = f"The targets are of {first} to {last}; [split] of the schema has {_listed(split)}."
    proposed = [first + int(share * ((last - first) // np.timedelta64(1, "D"))) for share in _SHARES]
    if first < proposed[0] < proposed[1]:
        says += f" Try {_listed(dict(zip(split, proposed, strict=True)))}."
    return says


def _day(seconds: int) -> np.datetime64:
    return np.datetime64(seconds, "s").astype("datetime64[D]")


def _listed(days: Mapping[str, np.datetime64]) -> str:
    return " and ".join(f"{name} = {day}" for name, day in days.items())
