"""Decides what each table is: behaviors, impressions, a catalog, a profile of users, or nothing that is read."""

from dataclasses import dataclass, field

import polars as pl

from atrank_tf.description.columns import Column, overlap, same_name, share_values
from atrank_tf.description.events import Events, find_events, rest_of, times_of, user_of
from atrank_tf.description.tables import Table
from atrank_tf.description.words import ID_WORDS, OBJECT_WORDS, REQUEST_WORDS, TIME_WORDS, USER_WORDS, bare, words_of

_COMMON = 0.05
"""Tables of one kind of things have more than this share of their ids in common."""


@dataclass(frozen=True)
class Objects:
    """A table with one row for each object of an entity, or for each user.

    Args:
        table: the table.
        key: its ids.
        rest: the other columns.
    """

    table: Table
    key: Column
    rest: tuple[Column, ...]


@dataclass
class Roles:
    """What the tables of a folder are.

    Args:
        behaviors: tables of what users did.
        impressions: tables of what users were shown.
        catalogs: tables of objects.
        profile: the table of users.
        unused: file, or file and column, -> why it is not used.
    """

    behaviors: list[Events] = field(default_factory=list)
    impressions: list[Events] = field(default_factory=list)
    catalogs: list[Objects] = field(default_factory=list)
    profile: Objects | None = None
    unused: dict[str, str] = field(default_factory=dict)


def find_roles(tables: list[Table]) -> Roles:
    """Decides what each table is.

    Raises:
        ValueError: no table has a user, a moment and an object.
    """
    found = {table.file: find_events(table, tables) for table in tables}
    events = [event for event in found.values() if event is not None]
    if not events:
        raise ValueError(_no_events(tables))
    roles = Roles()
    events = [event for event in events if not _is_catalog_of_others(event, events)]
    roles.impressions += [event for event in events if event.label is not None]
    for event in events:
        if event.label is None:
            shown = [each.table.file for each in roles.impressions if _are_rows_of_lists(event, each)]
            if shown:
                says = f"a row for each that was shown in {shown[0]}, and nothing done with it."
                roles.unused[event.table.file] = says
            else:
                roles.behaviors.append(event)
    used = [event.table for event in events]
    for table in tables:
        if table not in used:
            _place(table, events, roles)
        roles.unused |= {f"{table.file}, {name}": why for name, why in table.unread.items()}
    return roles


def is_same_entity(one: Column, other: Column) -> bool:
    """Returns whether two columns of objects hold the same kind of objects."""
    return (same_name(one, other) and overlap(one, other) > _COMMON) or share_values(one, other)


def shown_and_chosen(one: Events, other: Events) -> Column | None:
    """Returns the id of lists, if one log of behaviors says what lists had and the other what was chosen of them."""
    for name, column in one.table.columns.items():
        chosen = other.table.columns.get(name)
        if chosen is None or not REQUEST_WORDS & set(column.words) or not column.is_name:
            continue
        pairs = [
            pl.DataFrame({"r": c.texts, "id": e.object.texts}).unique() for c, e in ((column, one), (chosen, other))
        ]
        lists = pairs[0].group_by("r").len()["len"]
        of_lists = len(pairs[1].join(pairs[0], on=["r", "id"])) / max(len(pairs[1]), 1)
        if of_lists > 0.9 and len(pairs[1]) < 0.5 * len(pairs[0]) and float(lists.median() or 0.0) >= 2:  # type: ignore[arg-type]
            return column
    return None


def _is_catalog_of_others(event: Events, events: list[Events]) -> bool:
    """Returns whether a table has one row for each object that others act on, as posts that readers like.

    Its own users wrote them; that is a fact of the object.
    """
    others = [other for other in events if other is not event and not is_same_entity(other.object, event.object)]
    return any(_fit(key, event.table, other.object) >= 0.3 for key in event.table.keys for other in others)


def _are_rows_of_lists(event: Events, impressions: Events) -> bool:
    """Returns whether a table says something else of lists as they were shown, and not what users did."""
    lists = impressions.request
    if lists is None or lists is impressions.time or lists.name not in event.table.columns:
        return False
    as_many = event.table.rows >= 0.9 * impressions.table.rows
    return as_many and overlap(event.table.columns[lists.name], lists) >= 0.9


def _place(table: Table, events: list[Events], roles: Roles) -> None:
    """Takes a table without a user and a moment of its own for a catalog, a profile, or nothing."""
    for key in table.keys:
        of_users = any(is_same_entity(key, e.user) or _fit(key, table, e.user) > _COMMON for e in events)
        of_objects = any(same_name(key, e.object) and not same_name(key, e.user) for e in events)
        if of_users and not of_objects and not roles.profile:
            roles.profile = Objects(table, key, rest_of(table, key))
            return
    best = max(table.keys, key=lambda key: max(_fit(key, table, event.object) for event in events), default=None)
    if best is not None and max(_fit(best, table, event.object) for event in events) > _COMMON:
        roles.catalogs.append(Objects(table, best, rest_of(table, best)))
        return
    roles.unused[table.file] = _why_unused(table, events)


def _why_unused(table: Table, events: list[Events]) -> str:
    for event in events:
        if says := _may_be_joined(table, event.table):
            return says
    for column in table.columns.values():
        for event in events:
            if column.is_name and not column.is_key and is_same_entity(column, event.object):
                return f"several rows for each {column.name}. Write one row for each, its values joined by a separator."
    for key in table.keys:
        for event in events:
            for of_event in (event.user, event.object):
                if same_name(key, of_event):
                    return (
                        f"{key.name} has values as {key.examples(2)}, and {of_event.name} of {event.table.file} as "
                        f"{of_event.examples(2)}: fewer than 1 of 20 are the same. Write them alike."
                    )
    return "no user, timestamp and object, nor one row for each object that users act on."


def _may_be_joined(table: Table, moments: Table) -> str:
    """Returns how a table's rows may get a user and a moment, as lines of orders get those of their order; or ""."""
    for key in moments.keys:
        for column in table.columns.values():
            if column.is_name and not column.is_key and _fit(key, moments, column) >= 0.3:
                return (
                    f"its {column.name} is {key.name} of {moments.file}, which says who and when. Join the two, if a "
                    "row is something that the user did."
                )
    return ""


def _fit(key: Column, table: Table, thing: Column) -> float:
    """Returns the share of values that a catalog's key and objects have in common; 0 if neither names nor values agree.

    A key that is called just id is named by its file.
    """
    named = same_name(key, thing) or (
        set(bare(key.words)) <= ID_WORDS and bool(set(bare(words_of(table.stem))) & set(bare(thing.words)))
    )
    common = overlap(key, thing)
    return common if named or share_values(key, thing) else 0.0


def _no_events(tables: list[Table]) -> str:
    """Returns what each table lacks, and why, to be read as behaviors."""
    lines, reasons = [], []
    for table in tables:
        user, times = user_of(table, tables), times_of(table)
        if user and times:
            found = ((other, _may_be_joined(other, table)) for other in tables if other is not table)
            reasons += [f"{other.file}: {says.rstrip('.')}" for other, says in found if says]
        lines.append(
            f"{table.file}: user {user.name if user else 'none'}, timestamp {times[0].name if times else 'none'}, "
            f"{'object none, ' if user and times else ''}columns {', '.join(table.columns)}"
        )
        if user in table.keys:
            reasons.append(f"each {user.name} stands in one row of {table.file}")
        reasons += [why for column in table.columns.values() if (why := _why_unread(column, bool(times)))]
    says = f" {'; '.join(reasons)}." if reasons else " Name columns so that they say it (user_id, timestamp, item_id)."
    return (
        "Expected a table of behaviors: a user, a timestamp (Unix time, or ISO 8601 as 2024-01-31 14:05) and an object "
        f"in each row. Found {'; '.join(lines)}.{says}"
    )


def _why_unread(column: Column, timed: bool) -> str:
    """Returns why a column is not what its name says; "" if nothing speaks against it."""
    words = set(column.words)
    if not timed and TIME_WORDS & words and column.timestamp_format is None:
        return f"{column.name} has {column.examples(1)}, which is not read as a time"
    if (USER_WORDS | OBJECT_WORDS) & words and column.distinct < 2:
        return f"{column.name} has one value"
    if (USER_WORDS | OBJECT_WORDS) & words and column.is_numeric and not column.is_whole:
        return f"{column.name} has {column.examples(1)}: write ids as whole numbers or texts, none as a fraction"
    if column.has_several and column.separator:
        return f"{column.name} has several values in a row ({column.examples(1)}): write a row for each"
    return ""
