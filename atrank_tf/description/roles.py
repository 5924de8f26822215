"""Decides what each table is: behaviors, impressions, a catalog, a profile of users; and what its columns are.

docs/describe.md states the rules. Names are hints in words of English; what values say counts more.
"""

from dataclasses import dataclass, field

import polars as pl

from atrank_tf.description.columns import OLDEST, Column, overlap, same_name, share_values
from atrank_tf.description.tables import Table
from atrank_tf.description.words import (
    ACTION_WORDS,
    AMOUNT_WORDS,
    ID_WORDS,
    LABEL_WORDS,
    OBJECT_WORDS,
    REQUEST_WORDS,
    TIME_WORDS,
    USER_WORDS,
    bare,
    words_of,
)

_MOST_ACTIONS = 30
_FEW = 8
"""Most values of a column without a word for actions that may hold them."""


@dataclass(frozen=True)
class Events:
    """A table of what users did, or of what they were shown.

    Args:
        table: the table.
        user: who.
        time: when.
        object: with what.
        action: what they did; None if the table is of one kind of action.
        request: what the rows of one request share, of impressions. The time where no column says so.
        label: whether it was chosen, of impressions; None for behaviors.
        rest: the other columns.
        questions: what is not sure.
    """

    table: Table
    user: Column
    time: Column
    object: Column
    action: Column | None
    request: Column | None
    label: Column | None
    rest: tuple[Column, ...]
    questions: tuple[str, ...]

    @property
    def frame(self) -> pl.DataFrame:
        """Columns `user`, `id`, `time` (Unix seconds), and `action` or `request` and `label`; complete rows only."""
        columns = {"user": self.user.texts, "id": self.object.texts, "time": self.time.seconds()}
        if self.label is not None and self.request is not None:
            columns |= {"request": self.request.texts, "label": self.label.numbers.cast(pl.Int8)}
        elif self.action is not None:
            columns["action"] = self.action.texts
        frame = pl.DataFrame(columns).drop_nulls().filter(pl.col("time") > 0)
        return frame if "action" in columns or self.label is not None else frame.with_columns(action=pl.lit(""))


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
        unused: file -> why it is not used.
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
    users = {table.file: _user(table, tables) for table in tables}
    keyed = {table.file: _key_candidates(table) for table in tables}
    roles, events, others = Roles(), [], []
    for table in tables:
        user, time = users[table.file], _time(table)
        unique_user = user is not None and user in keyed[table.file] and table.rows > 1
        if user is None or time is None or unique_user or (found := _events(table, user, time, keyed, tables)) is None:
            others.append(table)
        else:
            events.append(found)
    if not events:
        raise ValueError(_no_events(tables, users))
    roles.impressions += [event for event in events if event.label is not None]
    for event in events:
        if event.label is None:
            shown = [each.table.file for each in roles.impressions if _are_rows_of_lists(event, each)]
            if shown:
                says = f"a row for each that was shown in {shown[0]}, and nothing done with it."
                roles.unused[event.table.file] = says
            else:
                roles.behaviors.append(event)
    for table in others:
        _place(table, keyed[table.file], events, roles)
    return roles


def is_same_entity(one: Column, other: Column) -> bool:
    """Returns whether two columns of objects hold the same kind of objects."""
    return (same_name(one, other) and overlap(one, other) > 0.05) or share_values(one, other)


def _are_rows_of_lists(event: Events, impressions: Events) -> bool:
    """Returns whether a table says something else of lists as they were shown, and not what users did."""
    lists = impressions.request
    if lists is None or lists is impressions.time or lists.name not in event.table.columns:
        return False
    as_many = event.table.rows >= 0.9 * impressions.table.rows
    return as_many and overlap(event.table.columns[lists.name], lists) >= 0.9


def rest_of(table: Table, *used: Column | None) -> tuple[Column, ...]:
    """Returns the columns of a table that are not in use."""
    return tuple(column for column in table.columns.values() if column not in used)


def _user(table: Table, tables: list[Table]) -> Column | None:
    """Returns the column that says who: by its name, else the names that most tables with times share."""
    names = [column for column in table.columns.values() if column.is_name or column.is_whole]
    named = [column for column in names if USER_WORDS & set(column.words) and column.timestamp_format is None]
    if named:
        ids = [column for column in named if ID_WORDS & set(column.words) or len(column.words) == 1]
        return max(ids or named, key=lambda column: column.distinct)
    if any(USER_WORDS & set(column.words) for other in tables for column in other.columns.values()):
        return None
    timed = [other for other in tables if _time(other) is not None]
    others = OBJECT_WORDS | AMOUNT_WORDS | ACTION_WORDS
    names = [column for column in names if column.timestamp_format is None and not others & set(column.words)]
    found = [
        (sum(column.name in other.columns for other in timed), -place, column) for place, column in enumerate(names)
    ]
    return max(found, key=lambda each: each[:2])[2] if found else None


def _time(table: Table) -> Column | None:
    """Returns the column that says when: of those that may, one whose name says so, the one with most moments."""
    times = [column for column in table.columns.values() if column.timestamp_format is not None]
    sure = [column for column in times if not column.is_numeric or TIME_WORDS & set(column.words)]
    return max(sure or times, key=lambda c: (c.missing < 0.5, c.distinct), default=None)


def _key_candidates(table: Table) -> list[Column]:
    """Returns the columns whose values are all different, but for a few rows that stand twice."""
    return [
        column
        for column in table.columns.values()
        if column.is_name and column.missing < 0.01 and column.distinct >= 0.98 * column.rows
    ]


def _events(
    table: Table, user: Column, time: Column, keyed: dict[str, list[Column]], tables: list[Table]
) -> Events | None:
    columns = [column for column in table.columns.values() if column not in (user, time)]
    nested = [column for column in columns if column.is_name and _is_nested(column, user)]
    others = [other for other in tables if other is not table]

    def in_catalog(column: Column) -> bool:
        return any(share_values(column, key) for other in others for key in keyed[other.file])

    candidates: list[tuple[float, Column]] = []
    for column in columns:
        words = set(column.words)
        if not column.is_name or column.timestamp_format is not None or column.missing > 0.5 or column.has_several:
            continue
        if AMOUNT_WORDS & words or (ACTION_WORDS & words and column.distinct <= _MOST_ACTIONS):
            continue
        known = in_catalog(column)
        if not known and (column in nested or column in keyed[table.file]):
            continue
        # One point for each: in a catalog, a word for things, a word for ids; then the number of values.
        points = 3 * known + 2 * bool(OBJECT_WORDS & words) + bool(ID_WORDS & words)
        candidates.append((points + min(column.distinct, 10**6) / 10**6, column))
    if not candidates:
        return None
    candidates.sort(key=lambda each: each[0], reverse=True)
    thing = candidates[0][1]
    questions = []
    doubted = [column for points, column in candidates[1:] if int(points) == int(candidates[0][0])]
    if doubted:
        questions.append(
            f"The objects are taken to be {thing.name} ({thing.distinct:,} values). Or are they "
            f"{' or '.join(f'{column.name} ({column.distinct:,})' for column in doubted[:3])}?"
        )
    if not USER_WORDS & set(user.words):
        questions.append(f"No column is named as users are: {user.name} ({user.distinct:,} values) is taken for them.")
    if time.is_numeric and float(time.seconds().max() or 0) < OLDEST:  # type: ignore[arg-type]
        questions.append(
            f"{time.name} is read in {time.timestamp_format or 'second'}s, which are all before 1990. Is that its unit?"
        )
    if time.is_ambiguous_date:
        questions.append(f"{time.name} is read as day/month. If it is month/day: {time.timestamp_format} is wrong.")
    request, label = _request_and_label(table, user, time, thing, nested, columns)
    action = None if label else _action(columns, thing)
    if not label:
        choice = None if action else _choice(columns)
        action = action or choice
        questions += _doubtful_values(columns, choice, action, thing)
    rest = rest_of(table, user, time, thing, request, label, action)
    return Events(table, user, time, thing, action, request, label, rest, tuple(questions))


def _choice(columns: list[Column]) -> Column | None:
    """Returns a column of yes and no, named as a choice, that says which rows of a table without lists are choices."""
    named = [column for column in columns if LABEL_WORDS & set(column.words) and yes_of(column)]
    return next((column for column in named if column.missing == 0), None)


def yes_of(column: Column) -> str:
    """Returns the value that means yes, of a column of nothing but yes and no; "" of any other column."""
    values = {value.lower(): value for value in column.present.unique()} if column.distinct == 2 else {}
    pairs = (("1", "0"), ("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"))
    return next((values[yes] for yes, no in pairs if set(values) == {yes, no}), "")


def _doubtful_values(columns: list[Column], choice: Column | None, action: Column | None, thing: Column) -> list[str]:
    """Returns questions on columns that may say which rows are no choices, or of which kind they are."""
    found = []
    if choice is not None:
        found.append(
            f"Rows where {choice.name} is not {yes_of(choice)} are left out. If they are what was shown beside a "
            "choice, write 1 and 0 there, and in all rows of a list the same time, or an id of the list."
        )
    for column in columns:
        if {"rating", "score", "stars"} & set(column.words) and column.is_numeric and 2 < column.distinct <= 100:
            found.append(
                f"Every row is a choice, whatever its {column.name}. If low ones are none, leave them out of the log."
            )
        elif not action and _may_be_action(column, thing):
            found.append(
                f"Is {column.name} ({column.examples(_FEW)}) the kind of behavior? Then write columns = {{ action = "
                f'"{column.name}" }} in the group, and its values as actions. Now all rows are of one kind.'
            )
    return found


def _may_be_action(column: Column, thing: Column) -> bool:
    """Returns whether a column without a word for actions may hold them: a few texts that are no facts of objects."""
    texts = not (column.is_numeric or column.has_several or column.is_list) and column.timestamp_format is None
    return texts and 2 <= column.distinct <= _FEW and column.missing == 0 and not _tells(thing, column)


def _is_nested(column: Column, user: Column) -> bool:
    """Returns whether a value belongs to one user, as an order does, in nearly all cases."""
    pairs = pl.DataFrame({"a": column.texts, "b": user.texts}).drop_nulls().n_unique()
    return pairs <= 1.01 * column.distinct and column.distinct > user.distinct


def _action(columns: list[Column], thing: Column) -> Column | None:
    named = [c for c in columns if ACTION_WORDS & set(c.words) and 1 <= c.distinct <= _MOST_ACTIONS and c is not thing]
    named = [c for c in named if c.missing < 0.5 and not c.has_several and (c.distinct == 1 or not _tells(thing, c))]
    return max(named, key=lambda c: (c.words[-1] in ACTION_WORDS, c.distinct), default=None)


def _tells(thing: Column, column: Column) -> bool:
    """Returns whether an object has the same value of a column in all its rows, as a category is."""
    frame = pl.DataFrame({"a": thing.texts, "b": column.texts}).drop_nulls()
    often = frame.filter(pl.len().over("a") > 1)
    return len(often) > 0 and often.n_unique() <= 1.02 * often["a"].n_unique()


def features_in_log(events: Events) -> tuple[Column, ...]:
    """Returns the columns of behaviors that are facts of the object: the same in all rows of an object."""
    return tuple(c for c in events.rest if c.distinct >= 2 and c.timestamp_format is None and _tells(events.object, c))


def _request_and_label(
    table: Table, user: Column, time: Column, thing: Column, nested: list[Column], columns: list[Column]
) -> tuple[Column | None, Column | None]:
    """Returns the columns of request and label of impressions, (None, None) for a table that is none.

    It is one if a column of 0 and 1, named as a choice, differs among the rows of one request.
    """
    flags = [c for c in columns if c.is_flag and c.missing == 0]
    flags = [c for c in flags if LABEL_WORDS & set(c.words)]
    named = [c for c in nested if REQUEST_WORDS & set(c.words) and c is not thing]
    for label in flags:
        for request in (*sorted(named, key=lambda c: c.distinct, reverse=True), time):
            frame = pl.DataFrame({"u": user.texts, "r": request.texts, "y": label.numbers})
            lists = frame.group_by("u", "r").agg(pl.len(), pl.col("y").sum())
            several = lists.filter(pl.col("len") > 1)
            mixed = several.filter((pl.col("y") > 0) & (pl.col("y") < pl.col("len")))
            if len(several) > 0.5 * len(lists) and len(mixed) > 0.02 * len(several):
                return request, label
    return None, None


def _place(table: Table, keys: list[Column], events: list[Events], roles: Roles) -> None:
    """Takes a table without a user and a moment of its own for a catalog, a profile, or nothing."""
    users = [event.user for event in events]
    for key in keys:
        of_users = any(is_same_entity(key, user) or key.name == user.name for user in users)
        of_objects = any(same_name(key, e.object) and not same_name(key, e.user) for e in events)
        if of_users and not of_objects and not roles.profile:
            roles.profile = Objects(table, key, rest_of(table, key))
            return
    best = max(keys, key=lambda key: max(_fit(key, table, event.object) for event in events), default=None)
    if best is not None and max(_fit(best, table, event.object) for event in events) > 0.05:
        roles.catalogs.append(Objects(table, best, rest_of(table, best)))
        return
    for column in table.columns.values():
        for event in events:
            if column.is_name and is_same_entity(column, event.object):
                roles.unused[table.file] = (
                    f"several rows for each {column.name}. Write one row for each, its values joined by a separator."
                )
                return
    roles.unused[table.file] = "no user, timestamp and object, nor one row for each object that users act on."


def _fit(key: Column, table: Table, thing: Column) -> float:
    """Returns the share of values that a catalog's key and objects have in common; 0 if neither names nor values agree.

    A key that is called just id is named by its file.
    """
    named = same_name(key, thing) or (
        set(bare(key.words)) <= ID_WORDS and bool(set(bare(words_of(table.stem))) & set(bare(thing.words)))
    )
    common = overlap(key, thing)
    return common if named or share_values(key, thing) else 0.0


def _no_events(tables: list[Table], users: dict[str, Column | None]) -> str:
    lines = []
    for table in tables:
        user, time = users[table.file], _time(table)
        lines.append(
            f"{table.file}: user {user.name if user else 'none'}, timestamp {time.name if time else 'none'}, "
            f"columns {', '.join(table.columns)}"
        )
        unread = [column for column in table.columns.values() if not time and TIME_WORDS & set(column.words)]
        lines += [f"{column.name} has {column.examples(1)}, which is not read as a time" for column in unread]
    return (
        "Expected a table of behaviors: a user, a timestamp (Unix time, or ISO 8601 as 2024-01-31 14:05) and an object "
        f"in each row. Found {'; '.join(lines)}. Name columns so that they say it (user_id, timestamp, item_id)."
    )
