"""Sums over timelines, chunk by chunk, and what the report says of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from atrank_tf.data.catalog import Catalog
from atrank_tf.data.targets import Behaviors, Chunk
from atrank_tf.report.bins import DAY, LATEST_DAY, NUMBERS, day_series, days, gap_bins
from atrank_tf.report.sums import Sums
from atrank_tf.report.target_measures import nothing_known
from atrank_tf.schema import UNKNOWN, Entity, Group, Schema

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the objects, the most frequent first, at which the popularity curve is told."""
_USERS, _ONE_MOMENT, _GAPS = "users", "users of one moment", "gaps"
_COUNTS = ("future", "midnights", "users_cut", "users_elsewhere", "users_of_others")
"""Of a group. `users_of_others` are in another group, whether or not in this one; `users_elsewhere` are in both."""


def timeline_lengths(schema: Schema) -> dict[str, int]:
    """Returns the names of the sums, and how many numbers each has; the schema is prepared."""
    lengths = {_USERS: 1, _ONE_MOMENT: 1, _GAPS: len(gap_bins(schema.time))}
    for name, group in schema.groups.items():
        of_group = {"by_object": schema.entities[group.entity].rows, "by_day": LATEST_DAY + 1, "per_user": len(NUMBERS)}
        of_group |= {"actions": len(group.actions), **dict.fromkeys(_COUNTS, 1)}
        lengths |= {f"group {name} {what}": length for what, length in of_group.items()}
    return lengths


def add_timelines(sums: Sums, chunk: Chunk, schema: Schema, now: int) -> None:
    """Adds the users of a chunk of NumPy arrays; what is later than `now` (Unix seconds) is of the future."""
    active = {name: np.diff(rows.splits) > 0 for name, rows in chunk.groups.items()}
    groups_of_user = np.sum([*active.values()], axis=0)
    for name, group in schema.groups.items():
        _add_group(sums, f"group {name}", chunk.groups[name], group, now)
        of_others = groups_of_user > active[name]
        sums.add(f"group {name} users_of_others", of_others.sum())
        sums.add(f"group {name} users_elsewhere", (of_others & active[name]).sum())
    user = np.concatenate([rows.user for rows in chunk.groups.values()])
    timestamp = np.concatenate([rows.timestamp for rows in chunk.groups.values()])
    order = np.lexsort((timestamp, user))
    user, timestamp = user[order], timestamp[order]
    sums.add(_GAPS, gap_bins(schema.time).count(np.diff(timestamp)[user[1:] == user[:-1]]))
    _, begins, counts = np.unique(user, return_index=True, return_counts=True)
    ends = begins + counts - 1
    sums.add(_USERS, len(chunk.user_id))
    sums.add(_ONE_MOMENT, ((counts > 1) & (timestamp[begins] == timestamp[ends])).sum())


def _add_group(sums: Sums, name: str, rows: Behaviors, group: Group, now: int) -> None:
    lengths = np.diff(rows.splits)
    sums.add_each(f"{name} by_object", rows.id)
    sums.add_each(f"{name} by_day", days(rows.timestamp))
    sums.add(f"{name} actions", np.bincount(rows.action, minlength=len(group.actions) + 2)[2:])
    sums.add(f"{name} per_user", NUMBERS.count(lengths))
    sums.add(f"{name} future", (rows.timestamp > now).sum())
    sums.add(f"{name} midnights", (rows.timestamp % DAY == 0).sum())
    sums.add(f"{name} users_cut", (lengths > group.max_length).sum())


def timelines_report(sums: Sums, schema: Schema, catalogs: Mapping[str, Catalog]) -> dict[str, Any]:
    """Returns what the report says of timelines, as JSON types; `catalogs`: entity -> what is known of its objects."""
    return {
        "users": int(sums[_USERS][0]),
        "users_of_one_moment": int(sums[_ONE_MOMENT][0]),
        "gaps": dict(zip(gap_bins(schema.time).labels, sums[_GAPS].tolist(), strict=True)),
        "groups": {
            name: _group_report(sums, f"group {name}", group, schema.entities[group.entity], catalogs[group.entity])
            for name, group in schema.groups.items()
        },
    }


def _group_report(sums: Sums, name: str, group: Group, entity: Entity, catalog: Catalog) -> dict[str, Any]:
    by_object = sums[f"{name} by_object"]
    return {
        "behaviors": int(by_object.sum()),
        "objects": int((by_object > 0).sum()),
        "unknown": int(by_object[catalog.table_rows == UNKNOWN].sum()) if entity.id.table else None,
        "bare": int(by_object[_bare(entity, catalog)].sum()) if entity.features else None,
        **{what: int(sums[f"{name} {what}"][0]) for what in _COUNTS},
        "max_length": group.max_length,
        "actions": dict(zip(group.actions, sums[f"{name} actions"].tolist(), strict=True)),
        "by_day": day_series(sums[f"{name} by_day"]),
        "per_user": dict(zip(NUMBERS.labels, sums[f"{name} per_user"].tolist(), strict=True)),
        "popularity": popularity_curve(by_object),
    }


def popularity_curve(by_object: np.ndarray) -> list[list[float]]:
    """Returns pairs: a share of the objects acted on, the most frequent first, and their share of the behaviors."""
    counts = np.sort(by_object[by_object > 0])[::-1]
    if not len(counts):
        return []
    covered = np.cumsum(counts) / counts.sum()
    indices = [max(1, round(share * len(counts))) for share in SHARES]
    return [[share, round(float(covered[index - 1]), 6)] for share, index in zip(SHARES, indices, strict=True)]


def _bare(entity: Entity, catalog: Catalog) -> np.ndarray:
    """Returns the objects of which no side feature is known, bool [objects]."""
    return np.all([nothing_known(catalog.features[column]) for column in entity.features], axis=0)
