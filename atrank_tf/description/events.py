"""Finds what a table of behaviors or impressions says: who, when, with what, what they did; and what is not sure.

docs/describe.md states the rules. Names are hints in words of English; what values say counts more.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from time import time as now

import polars as pl

from atrank_tf.description.columns import OLDEST, Column, share_values
from atrank_tf.description.tables import Table
from atrank_tf.description.words import (
    ACTION_WORDS,
    AMOUNT_WORDS,
    ID_WORDS,
    LABEL_WORDS,
    LATER_WORDS,
    OBJECT_WORDS,
    REQUEST_WORDS,
    TIME_WORDS,
    TRACE_WORDS,
    USER_WORDS,
)
from atrank_tf.schema import SECONDS

_MOST_ACTIONS = 30
_FEW = 8
"""Most values of a column without a word for actions that may hold them."""
_KINDS = 20
"""Objects of a column that no word and no catalog speaks for are at least so many: fewer are kinds, as a tier is."""
_DAY = SECONDS["day"]


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


def find_events(table: Table, tables: list[Table]) -> Events | None:
    """Returns what a table says of users; None if it has no user, no timestamp, no object, or each user once.

    Args:
        table: the table.
        tables: all tables of the folder.
    """
    user, times = user_of(table, tables), times_of(table)
    if user is None or not times or (user in table.keys and table.rows > 1):
        return None
    time = _first(times, user)
    columns = [column for column in table.columns.values() if column not in (user, time)]
    nested = [column for column in columns if column.is_name and _is_nested(column, user)]
    columns = [c for c in columns if c.distinct < 2 or not _tells(user, c)]  # Without facts of the user.
    objects = _objects(table, columns, nested, tables)
    if not objects:
        return None
    thing = objects[0]
    request, label = _request_and_label(table, user, time, thing, nested, columns)
    action, doubts = None, []
    if not label:
        named = _action(columns, thing)
        choice = None if named else _choice(columns)
        action = named or choice
        doubts = [*_doubtful_values(columns, choice, action, thing)]
    questions = (
        *_doubtful_objects(objects),
        *_doubtful_users(user, thing, table),
        *_doubtful_times(time, times, table),
        *doubts,
    )
    rest = rest_of(table, user, time, thing, request, label, action)
    return Events(table, user, time, thing, action, request, label, rest, questions)


def rest_of(table: Table, *used: Column | None) -> tuple[Column, ...]:
    """Returns the columns of a table that are not in use."""
    return tuple(column for column in table.columns.values() if column not in used)


def user_of(table: Table, tables: list[Table]) -> Column | None:
    """Returns the column that says who: by its name, else the names that most tables with times share."""
    names = [column for column in table.columns.values() if column.is_name or column.is_whole]
    named = [column for column in names if USER_WORDS & set(column.words) and column.timestamp_format is None]
    if named:
        ids = [column for column in named if ID_WORDS & set(column.words) or len(column.words) == 1]
        return max(ids or named, key=lambda c: (c.missing < 0.5, not TRACE_WORDS & set(c.words), c.distinct))
    if any(USER_WORDS & set(column.words) for other in tables for column in other.columns.values()):
        return None
    timed = [other for other in tables if times_of(other)]
    others = OBJECT_WORDS | AMOUNT_WORDS | ACTION_WORDS
    names = [column for column in names if column.timestamp_format is None and not others & set(column.words)]
    names = [column for column in names if column not in table.keys] or names  # A number of its own for each row.
    found = [
        (sum(column.name in other.columns for other in timed), -place, column) for place, column in enumerate(names)
    ]
    return max(found, key=lambda each: each[:2])[2] if found else None


def times_of(table: Table) -> list[Column]:
    """Returns the columns that may say when, the likeliest first: named so, not of what comes later, many moments."""
    times = [column for column in table.columns.values() if column.timestamp_format is not None]
    sure = [column for column in times if not column.is_numeric or TIME_WORDS & set(column.words)]
    return sorted(sure or times, key=lambda c: (c.missing < 0.5, not _is_later(c), c.distinct), reverse=True)


def _first(times: list[Column], user: Column) -> Column:
    """Returns the moment at which the user acted: the earliest of those that differ about as much as the likeliest."""
    likely = times[0]
    alike = [c for c in times if (c.missing < 0.5, _is_later(c)) == (likely.missing < 0.5, _is_later(likely))]
    alike = [c for c in alike if 2 * c.distinct >= likely.distinct and not _tells(user, c)]
    before = [c for c in alike if all(_share(c.seconds() <= other.seconds()) > 0.95 for other in alike)]
    return max(before, key=lambda c: c.distinct, default=likely)


def _share(flags: pl.Series) -> float:
    return float(flags.mean() or 0.0)  # type: ignore[arg-type]


def _is_later(column: Column) -> bool:
    """Returns whether a column is named as what is written, or happens, after the user acted."""
    return bool(LATER_WORDS & set(column.words))


def _objects(table: Table, columns: list[Column], nested: list[Column], tables: list[Table]) -> list[Column]:
    """Returns the column of objects, and behind it those that may be it as well."""
    others = [other for other in tables if other is not table]
    found: list[tuple[int, bool, int, bool, Column]] = []
    for column in columns:
        words = set(column.words)
        if not column.is_name or column.timestamp_format is not None or column.missing > 0.5 or column.has_several:
            continue
        if AMOUNT_WORDS & words or (ACTION_WORDS & words and column.distinct <= _MOST_ACTIONS):
            continue
        if column in table.keys and words <= ID_WORDS - OBJECT_WORDS:  # The row's own number.
            continue
        known = any(share_values(column, key) for other in others for key in other.keys)
        if not known and (column in nested or column in table.keys):
            continue
        # 3 points for a catalog, 2 for a word for things, 1 for ids; then texts, which count nothing; then more values.
        points = 3 * known + 2 * bool(OBJECT_WORDS & words) + bool(ID_WORDS & words)
        if points or column.distinct >= _KINDS:
            found.append((points, not column.is_numeric, column.distinct, known, column))
    found.sort(key=lambda each: each[:3], reverse=True)
    likely = [column for points, _, _, known, column in found if known or points == found[0][0]]
    # Of a dish and its restaurant the user chose the dish.
    finer = [
        c
        for c, known in ((each[4], each[3]) for each in found)
        if known and c is not likely[0] and _tells(c, likely[0])
    ]
    return [*finer[:1], *(column for column in likely if column not in finer[:1])]


def _doubtful_objects(objects: list[Column]) -> Iterator[str]:
    thing, *others = objects
    if others:
        names = " or ".join(f"{column.name} ({column.distinct:,})" for column in others[:3])
        yield f"The objects are taken to be {thing.name} ({thing.distinct:,} values). Or are they {names}?"


def _doubtful_users(user: Column, thing: Column, table: Table) -> Iterator[str]:
    if not USER_WORDS & set(user.words):
        yield f"No column is named as users are: {user.name} ({user.distinct:,} values) is taken for them."
    if user.distinct < _KINDS:
        yield f"{user.name} has {user.distinct} values. Are they who acted?"
    if user.missing > 0.05:
        others = [c for c in table.columns.values() if c.is_name and c not in (user, thing) and not c.is_key]
        others = [c for c in others if c.missing < user.missing / 2 and c.distinct >= user.distinct and _tells(c, user)]
        instead = f" {' or '.join(c.name for c in others[:3])} is in more rows." if others else ""
        yield f"{user.missing:.0%} of the rows have no {user.name} and are left out.{instead}"


def _doubtful_times(time: Column, times: list[Column], table: Table) -> Iterator[str]:
    days = time.seconds() // _DAY
    others = [c for c in times if c is not time and c.missing < 0.5 and _is_later(c) == _is_later(time)]
    others = [c for c in others if _share(c.seconds() // _DAY == days) < 0.98]
    if others:
        yield f"When it was is read from {time.name}. Or is it {' or '.join(column.name for column in others[:3])}?"
    if time.is_numeric and float(time.seconds().max() or 0) < OLDEST:  # type: ignore[arg-type]
        unit = time.timestamp_format or "second"
        yield f"{time.name} is read in {unit}s, which are all before 1990. Is that its unit?"
    if float(time.seconds().median() or 0) > now():  # type: ignore[arg-type]
        yield f"Most of {time.name} is yet to come. Are they days of a spreadsheet, since 1899-12-30? Then write dates."
    if time.is_ambiguous_date:
        yield f"{time.name} is read as day/month. If it is month/day: {time.timestamp_format} is wrong."
    clock = next((column.name for column in table.columns.values() if column.is_time_of_day), "")
    if clock and time.is_whole_days:
        yield (
            f"{time.name} is the day alone, and {clock} is not read: within a day nothing is known to come first. "
            "Write both in one column, as 2024-01-31 14:05."
        )


def _choice(columns: list[Column]) -> Column | None:
    """Returns a column of yes and no, named as a choice, that says which rows of a table without lists are choices."""
    named = [column for column in columns if LABEL_WORDS & set(column.words) and column.yes]
    return next((column for column in named if column.missing == 0), None)


def _doubtful_values(
    columns: list[Column], choice: Column | None, action: Column | None, thing: Column
) -> Iterator[str]:
    """Yields questions on columns that may say which rows are no choices, or of which kind they are."""
    if choice is not None:
        write = "" if choice.is_flag else " 1 and 0 there, and"
        yield (
            f"Rows where {choice.name} is not {choice.yes} are left out. If they are what was shown beside a "
            f"choice, write{write} in all rows of a list the same time, or an id of the list."
        )
    for column in columns:
        below = _share(column.numbers < 0) if AMOUNT_WORDS & set(column.words) and column.is_numeric else 0.0
        if 0 < below < 0.3:
            yield (
                f"In {max(below, 0.001):.1%} of the rows {column.name} is below 0. If they take something back, leave "
                "them out of the log."
            )
        if {"rating", "score", "stars"} & set(column.words) and column.is_numeric and 2 < column.distinct <= 100:
            yield f"Every row is a choice, whatever its {column.name}. If low ones are none, leave them out of the log."
        elif not action and _may_be_action(column, thing):
            values = f"{column.examples(_FEW)}{', ...' if column.distinct > _FEW else ''}"
            yield (
                f"Is {column.name} ({values}) the kind of behavior? Then write columns = {{ action = "
                f'"{column.name}" }} in the group, and its values as actions. Now all rows are of one kind.'
            )


def _may_be_action(column: Column, thing: Column) -> bool:
    """Returns whether a column may hold actions: a few texts that are no facts of objects; more if it is named so."""
    most = 10 * _MOST_ACTIONS if ACTION_WORDS & set(column.words) else _FEW
    texts = not (column.is_numeric or column.has_several or column.is_list) and column.timestamp_format is None
    return texts and 2 <= column.distinct <= most and column.missing == 0 and not _tells(thing, column)


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
