"""Decides which columns of catalogs, users and impressions are features, and which tables they share."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import chain, count

import polars as pl

from atrank_tf.description.columns import Column, share_values
from atrank_tf.description.words import AMOUNT_WORDS, ID_WORDS, plain
from atrank_tf.schema import NAMES_OF_REQUESTS

_FEW = 20
"""Whole numbers of at most so many values are kinds, as stars are."""
_WITH_UNIT = r"^(\p{Sc} ?-?[\d.,]+|-?[\d.,]+ ?(\p{Sc}|%|[A-Za-z]{1,4}))$"
_MANY = 50
_SOME = 20
"""Fewer rows that are filled in say nothing of what was chosen."""
LONG_TAIL = 10.0
"""A column's numbers have a long tail if 1 of 100 is beyond so many times the middle one."""


@dataclass(frozen=True)
class Side:
    """A column that says something of objects, users, or candidates in their lists.

    Args:
        column: the column.
        table: the embedding table of a categorical column; "" for a numeric one.
        note: what was found, in words.
        question: what is not sure; "" for nothing.
        links: how the schema calls a column of ids that only say which objects belong together; "" for any other.
        number: 2, 3, ... where other columns of the table would have the same name in the schema.
    """

    column: Column
    table: str
    note: str
    question: str = ""
    links: str = ""
    number: int = 1

    @property
    def name(self) -> str:
        """How the schema calls it: as the file, where inputs and weights can be named after that."""
        return self.links or f"{name_of(self.column)}{self.number if self.number > 1 else ''}"

    @property
    def max_values(self) -> int:
        """As many values as nearly all objects have at most; all of what links."""
        if self.links and self.column.has_several:
            return max(int(self.column.lists.list.len().max()), 2)  # type: ignore[arg-type]
        return self.column.max_values

    @property
    def has_tail(self) -> bool:
        """Whether the logarithms of a column of numbers are read."""
        return not self.table and self.column.tail > LONG_TAIL


@dataclass
class Tables:
    """The embedding tables, and whose values are in them.

    Args:
        uses: name -> (file, column) of each use.
    """

    uses: dict[str, list[tuple[str, Column]]] = field(default_factory=dict)

    def add(self, column: Column, file: str, owner: str, name: str = "") -> str:
        """Returns the table of a column: one that a column of another file has with the same values, else a new one."""
        for known, uses in self.uses.items():
            if all(other != file for other, _ in uses) and any(share_values(column, each) for _, each in uses):
                uses.append((file, column))
                return known
        name = name or slug("_".join(word for word in column.words if word not in ID_WORDS) or column.name)
        others = (f"{owner}_{name}{number}" for number in count(2))
        taken = next(free for free in chain((name, f"{owner}_{name}"), others) if free not in self.uses)
        self.uses[taken] = [(file, column)]
        return taken

    def values(self, name: str) -> int:
        """Returns about how many values a table has: those of the column with most."""
        return max(column.distinct if not column.has_several else len(column.tokens) for _, column in self.uses[name])


def slug(text: str) -> str:
    """Returns a text as a name that the schema takes: letters, digits, and single underscores between them."""
    name = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]+", "_", plain(text))).strip("_").lower()
    return name.lstrip("0123456789_") or f"x{name}"


def name_of(column: Column) -> str:
    """Returns the name of a column, as a slug where inputs and weights cannot be named after it."""
    fits = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", column.name) and "__" not in column.name and column.name[-1] != "_"
    return column.name if fits else slug(column.name)


def dimension(values: int, most: int) -> int:
    """Returns the dimension of an embedding: about twice the root of the number of values, a power of two."""
    return min(max(2 ** round(math.log2(max(values, 2)) / 2 + 1), 4), most)


def sort_sides(
    columns: tuple[Column, ...],
    table_of: Callable[[Column], str],
    *,
    names_inputs: bool,
    label: Column | None = None,
    key: str = "",
) -> tuple[list[Side], list[str]]:
    """Divides columns into features, numbers, and those that are left out.

    Args:
        columns: the columns.
        table_of: gives a categorical column its embedding table.
        names_inputs: whether the columns' names become names of inputs, as those of users and of impressions do.
        label: of impressions, what was chosen: a column that tells it is left out.
        key: how the schema calls the ids, which no side may be called.

    Returns:
        The sides, and why columns are left out.
    """
    sides, left_out = [], []
    for column in columns:
        reason = _reason_to_leave_out(column, names_inputs) or (_gives_away(column, label) if label else "")
        if reason:
            left_out.append(f"{column.name}: {reason}")
        elif column.is_numeric and not _is_kind(column):
            sides.append(_number(column))
        else:
            sides.append(Side(column, table_of(column), _words_of_values(column), _asks_for_a_point(column)))
    return _apart(sides, key), left_out


def _apart(sides: list[Side], key: str) -> list[Side]:
    """Gives each side a name that no other of its table has: `List Price` and `list_price` are one in the schema."""
    taken = {side.name for side in sides}
    apart: list[Side] = []
    for side in sides:
        if side.name == key or any(side.name == other.name for other in apart):
            side = next(free for n in count(2) if (free := replace(side, number=n)).name not in taken)
            taken.add(side.name)
        apart.append(side)
    return apart


def _reason_to_leave_out(column: Column, names_inputs: bool) -> str:
    if column.missing > 0.98 or column.distinct < 2:
        return f"{column.distinct} different values in {column.rows - round(column.missing * column.rows):,} rows"
    if names_inputs and column.name in NAMES_OF_REQUESTS:
        return "a name that every request has; rename it"
    if column.timestamp_format is not None and not (column.is_numeric and ID_WORDS & set(column.words)):
        return "a timestamp; write how long ago it was as a number, if that matters"
    if column.is_list and isinstance(column.values.dtype, pl.List) and column.values.dtype.inner.is_float():
        return "lists of fractions; write numbers as columns of their own, and kinds as texts or whole numbers"
    if column.is_key and column.rows > _MANY and ID_WORDS & set(column.words):
        return "an id of its own in each row"
    if column.is_numeric or column.has_several:
        return ""
    if column.distinct > _FEW and float(column.present.str.contains(_WITH_UNIT).mean() or 0.0) > 0.9:  # type: ignore[arg-type]
        return f"numbers with a unit ({column.examples(1)}): write them as numbers, if they are amounts"
    if column.distinct > (0.5 if column.distinct > 50 else 0.9) * column.rows and column.distinct > _FEW:
        return f"{column.distinct:,} different texts in {column.rows:,} rows: a title, not a kind"
    if float(column.present.str.len_chars().quantile(0.99) or 0) > 500:
        return "long texts"
    return ""


def _gives_away(column: Column, label: Column) -> str:
    """Returns why a column of impressions tells what was chosen afterwards; "" if it does not."""
    chosen = label.numbers > 0
    if column.yes:
        filled = column.texts == column.yes
    else:
        filled = (column.numbers.fill_null(0) != 0) if column.is_numeric else column.texts.is_not_null()
    filled = filled.fill_null(False)
    yes, no = (_mean(filled.filter(part)) for part in (chosen, ~chosen))
    of_filled, of_all = _mean(chosen.filter(filled)), _mean(chosen)
    if abs(yes - no) < 0.8 and not (filled.sum() >= _SOME and of_filled >= 0.95 and of_all < 0.8):
        return ""
    return (
        f"filled in for {yes:.0%} of what was chosen and {no:.0%} of the rest, so it seems to be known only "
        "afterwards; add it if it is known when the list is made"
    )


def _mean(flags: pl.Series) -> float:
    return float(flags.mean() or 0.0)  # type: ignore[arg-type]


def _is_kind(column: Column) -> bool:
    """Returns whether numbers are names of kinds: ids and codes, and a few whole numbers."""
    if not column.is_whole:
        return False
    return bool(ID_WORDS & set(column.words)) or column.distinct <= _FEW


def _number(column: Column) -> Side:
    known = column.numbers.drop_nulls()
    low, middle, high = (float(known.quantile(q) or 0.0) for q in (0.0, 0.5, 1.0))
    note = f"{low:g} to {high:g}, half below {middle:g}"
    if column.missing:
        note += f", {column.missing:.1%} missing"
    question = ""
    if column.tail > LONG_TAIL:
        note += f"; a long tail, 1 of 100 beyond {column.tail:,.0f} times the middle, so logarithms are read"
    if column.is_whole and not AMOUNT_WORDS & set(column.words) and column.density > 0.5:
        question = (
            f"{column.name} has {column.distinct:,} whole numbers. Are they amounts (as it is), or names of kinds? "
            "Then move it to features, with a table."
        )
    return Side(column, "", note, question)


def _asks_for_a_point(column: Column) -> str:
    if not len(column.present) or not column.present.str.contains(r"^-?\d+,\d+$").all():
        return ""
    return (
        f"{column.name} has values as {column.present[0]}, taken for two kinds each. Are they numbers with a decimal "
        "comma? Then save them with a point."
    )


def _words_of_values(column: Column) -> str:
    note = f"{len(column.tokens):,} values: {', '.join(str(token)[:24] for token in _frequent(column))}, ..."
    if column.has_several:
        note += f"; at most {column.max_values} are kept"
        note += f", separated by {column.separator!r}" if column.separator else ""
    if column.missing > 0.001:
        note += f"; {column.missing:.1%} missing"
    return note


def _frequent(column: Column) -> list[str]:
    counted = column.lists.explode().drop_nulls().alias("x").value_counts(sort=True)
    return [str(value).replace("\n", " ") for value in counted["x"].head(3)]
