"""Looks at one column of a log: what it holds, whether it tells times, ids, several values, or numbers with a tail."""

from functools import cached_property

import polars as pl

from atrank_tf.description.words import CLOCK_WORDS, ID_WORDS, OBJECT_WORDS, TIME_WORDS, bare, words_of
from atrank_tf.preparation.column_types import INTEGER, LONGEST, VISITOR, formatted_seconds, number, text
from atrank_tf.schema import LATEST, SECONDS

OLDEST = 631_152_000
"""1990, in Unix seconds."""
_SECONDS = (OLDEST, LATEST)
"""1990 to 2100: where whole numbers may be Unix seconds."""
_DAYS = (
    *(separator.join(parts) for separator in "-/." for parts in (("%d", "%m", "%Y"), ("%m", "%d", "%Y"))),
    *(separator.join(parts) for separator in "-/." for parts in (("%d", "%m", "%y"), ("%m", "%d", "%y"))),
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d-%b-%Y", "%d %b %Y", "%d/%b/%Y", "%b %d, %Y", "%b %d %Y"),
)
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f", " %I:%M %p", " %I:%M:%S %p")
_TEXT_FORMATS = tuple(f"{day}{time}{zone}" for day in _DAYS for time in _TIMES for zone in ("", " UTC", "%#z", " %#z"))
"""Beside ISO 8601, which needs no format."""
_EARLIEST = -2_208_988_800
"""1900, in Unix seconds: what a format reads as an earlier moment has another format."""
_ISO_DAY = r"^\d{4}-\d\d-\d\d"
_DATE = r"^(\d{1,4}[-/. ]|[A-Za-z]{3} \d{1,2})"
_TIME_OF_DAY = r"^\d{1,2}:\d\d(:\d\d(\.\d+)?)?$"
_DAY = SECONDS["day"]
_SEPARATORS = ("|", ";", ",", ">", "/", " ")
_TRIED = 10_000
"""Values that formats and separators are tried on."""
_MOST_VALUES = 16
"""Most values of an object that are kept."""


class Column:
    """One column, and what its values tell.

    Args:
        name: its name in the file.
        values: its values, as the file has them.
        typed: whether the file says what its columns hold (Parquet).
    """

    def __init__(self, name: str, values: pl.Series, *, typed: bool) -> None:
        self.name, self.values, self.typed = name, values, typed
        self.words = words_of(name)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.values)

    @cached_property
    def is_list(self) -> bool:
        """Whether a value is a list of values."""
        return isinstance(self.values.dtype, pl.List | pl.Array)

    @cached_property
    def texts(self) -> pl.Series:
        """The values as text, as prepare reads them; null where there is none."""
        frame = self.values.alias("x").to_frame()
        if self.is_list:
            return frame.select(pl.col("x").list.len().cast(pl.String)).to_series()
        if isinstance(self.values.dtype, pl.Boolean):
            return self.values.cast(pl.String)
        return frame.select(text("x", self.values.dtype)).to_series()

    @cached_property
    def present(self) -> pl.Series:
        """The texts without missing ones."""
        return self.texts.drop_nulls()

    @cached_property
    def distinct(self) -> int:
        """Number of different values; of lists, of different single ones."""
        return len(self.tokens) if self.is_list else self.present.n_unique()

    @property
    def missing(self) -> float:
        """Share of rows without a value."""
        return 1 - len(self.present) / max(self.rows, 1)

    @cached_property
    def numbers(self) -> pl.Series:
        """The values as numbers; null where there is none, infinite where it is no number."""
        return self.values.alias("x").to_frame().select(number("x", self.values.dtype)).to_series()

    @cached_property
    def is_numeric(self) -> bool:
        """Whether every value is a number; 007 is none."""
        if self.is_list or self.values.dtype.is_temporal() or isinstance(self.values.dtype, pl.Boolean):
            return False
        known = self.numbers.drop_nulls()
        if self.values.dtype.is_integer():
            return len(known) > 0
        if not len(known) or not known.is_finite().all():
            return False
        return not self.present.str.contains(r"^0\d").any() and not self.present.str.contains(VISITOR).all()

    @cached_property
    def is_whole(self) -> bool:
        """Whether every value is a whole number."""
        if self.values.dtype.is_integer():
            return self.is_numeric
        return self.is_numeric and bool(self.present.str.replace(r"\.0+$", "").str.contains(INTEGER).all())

    @cached_property
    def is_flag(self) -> bool:
        """Whether every value is 0 or 1, and both occur."""
        if isinstance(self.values.dtype, pl.Boolean):
            return self.distinct == 2
        return self.distinct == 2 and set(self.present.unique()) in ({"0", "1"}, {"0.0", "1.0"})

    @cached_property
    def yes(self) -> str:
        """The value that means yes, of a column of nothing but yes and no; "" of any other column."""
        values = {value.lower(): value for value in self.present.unique()} if self.distinct == 2 else {}
        pairs = (("1", "0"), ("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"))
        return next((values[yes] for yes, no in pairs if set(values) == {yes, no}), "")

    @cached_property
    def timestamp_format(self) -> str | None:
        """How its timestamps are read: `timestamp_format` of the schema. None if it tells no times."""
        dtype = self.values.dtype
        if isinstance(dtype, pl.Date | pl.Datetime):
            return ""
        if self.is_list or not len(self.present) or self.is_flag:
            return None
        if self.is_numeric:
            return self._format_of_numbers()
        some = self.present.sample(min(_TRIED, len(self.present)), seed=1)
        if float(some.str.contains(_ISO_DAY).mean() or 0.0) > 0.98 and _fits(some, ""):  # type: ignore[arg-type]
            return ""
        if not some.str.contains(_DATE).any():
            return None
        return next((form for form in _TEXT_FORMATS if _fits(some[:1], form) and _fits(some, form)), None)

    def seconds(self) -> pl.Series:
        """Returns Unix seconds; null where they cannot be read."""
        frame = self.values.alias("x").to_frame()
        return frame.select(formatted_seconds("x", self.values.dtype, self.timestamp_format or "")).to_series()

    @cached_property
    def is_ambiguous_date(self) -> bool:
        """Whether day and month could be the other way round in every row."""
        form = self.timestamp_format or ""
        return form.startswith("%d/%m") and _fits(self.present.unique(), form.replace("%d/%m", "%m/%d"))

    @cached_property
    def is_whole_days(self) -> bool:
        """Whether every timestamp is a midnight (UTC): the day is known, and not when on it."""
        return bool((self.seconds() % _DAY == 0).all())

    @cached_property
    def is_time_of_day(self) -> bool:
        """Whether it tells a time of day alone, as 14:05 does."""
        if isinstance(self.values.dtype, pl.Time):
            return len(self.present) > 0
        return self.timestamp_format is None and len(self.present) > 0 and self.present.str.contains(_TIME_OF_DAY).all()

    @cached_property
    def is_name(self) -> bool:
        """Whether its values may name things: text or whole numbers, each of at most 1,000 characters."""
        if self.is_list or self.is_flag or self.distinct < 2:
            return False
        if self.is_whole:
            return True
        may_be = not (self.is_numeric or self.values.dtype.is_temporal() or self.is_time_of_day)
        return may_be and not (self.keys.str.len_chars() > LONGEST).any()

    @cached_property
    def is_key(self) -> bool:
        """Whether its values are all different, but for a few rows that stand twice."""
        return self.is_name and self.missing < 0.01 and self.distinct >= 0.98 * self.rows

    @cached_property
    def keys(self) -> pl.Series:
        """Its different values, as texts."""
        return self.present.str.replace(r"^(-?\d+)\.0+$", "$1").unique() if self.is_numeric else self.present.unique()

    @cached_property
    def density(self) -> float:
        """Of the whole numbers between the smallest and the largest, the share that occurs; 0 for texts."""
        if not self.is_whole:
            return 0.0
        known = self.numbers.drop_nulls()
        return self.distinct / (float(known.max()) - float(known.min()) + 1)  # type: ignore[arg-type]

    @cached_property
    def separator(self) -> str:
        """What separates several values of a text; "" where a text is one value.

        Something does if its parts come back: they are clearly fewer than the different texts. A space separates
        numbers and codes with a digit only: words are names more often.
        """
        if self.is_list or self.is_numeric or self.timestamp_format is not None:
            return ""
        some = self.keys.sample(min(_TRIED, len(self.keys)), seed=1)
        for separator in _SEPARATORS:
            parts = some.str.split(separator)
            several = float((parts.list.len() > 1).mean() or 0.0)  # type: ignore[arg-type]
            tokens = parts.explode()
            if several < 0.1 or tokens.n_unique() > 0.7 * len(some):
                continue
            if separator != " " or bool(tokens.str.contains(r"\d").all()):
                return separator
        return ""

    @cached_property
    def lists(self) -> pl.Series:
        """The values of each row as a list of texts; of a single-valued column at most one."""
        if self.is_list:
            return self.values.cast(pl.List(pl.String))
        if self.separator:
            return self.texts.str.split(self.separator)
        plain = self.texts.str.replace(r"^(-?\d+)\.0+$", "$1").alias("x").to_frame()
        return plain.select(pl.concat_list("x").list.drop_nulls()).to_series()

    @cached_property
    def tokens(self) -> pl.Series:
        """Its different single values."""
        if not (self.is_list or self.separator):
            return self.keys
        return self.lists.explode().drop_nulls().unique()

    @property
    def has_several(self) -> bool:
        """Whether a row may have several values."""
        return self.is_list or bool(self.separator)

    @cached_property
    def max_values(self) -> int:
        """As many values as 99 of 100 rows have at most, from 2 to 16; 1 for a single-valued column."""
        if not self.has_several:
            return 1
        return min(max(int(self.lists.list.len().quantile(0.99) or 0), 2), _MOST_VALUES)

    @cached_property
    def tail(self) -> float:
        """The 99th of a hundred numbers as a multiple of the middle one; 0 where some are negative or most are 0."""
        known = self.numbers.drop_nulls()
        middle, high = known.quantile(0.5), known.quantile(0.99)
        if not middle or high is None or float(known.min()) < 0:  # type: ignore[arg-type]
            return 0.0
        return high / middle

    def examples(self, most: int = 3) -> str:
        """Returns its most frequent values in words."""
        shown = self.present.value_counts(sort=True)[:most]
        return ", ".join(str(value)[:30] for value in shown[shown.columns[0]])

    def _format_of_numbers(self) -> str | None:
        known = self.numbers.drop_nulls()
        known = known.filter(known != 0)  # Where there is no time, some write 0.
        if not len(known):
            return None
        low, high = (float(known.quantile(share) or 0.0) for share in (0.01, 0.99))
        named = bool(TIME_WORDS & set(self.words))
        for earliest, latest, digits in ((19_900_101, 21_001_231, "%Y%m%d"), (1.99e13, 2.101e13, "%Y%m%d%H%M%S")):
            if self.is_whole and low >= earliest and high <= latest and _fits(self.keys, digits):
                return digits
        for factor, form in ((1, ""), (1e3, "millisecond"), (1e6, "microsecond"), (1e9, "nanosecond")):
            if low >= _SECONDS[0] * factor and high <= _SECONDS[1] * factor:
                return form
        if named and low >= _SECONDS[0] / 86_400 and high <= _SECONDS[1] / 86_400:
            return "day"
        if self.is_whole and low > 0 and self.distinct > 1:  # Of a clock that began at some other moment.
            if self.words and set(self.words) <= CLOCK_WORDS:
                return ""
            return self.words[0] if len(self.words) == 1 and self.words[0] in SECONDS else None
        return None


def overlap(one: Column, other: Column) -> float:
    """Returns the share of the values of the column with fewer of them that the other has too."""
    small, large = sorted((one.tokens, other.tokens), key=len)
    return float(small.is_in(large.implode()).mean() or 0.0) if len(small) else 0.0  # type: ignore[arg-type]


def share_values(one: Column, other: Column) -> bool:
    """Returns whether two columns name the same things: their values say so, or their names where values cannot.

    Whole numbers that count up from a start overlap with any others that do, and so do a few texts.
    """
    common = overlap(one, other)
    if same_name(one, other):
        return common >= 0.3
    counted = max(one.density, other.density) > 0.2 or min(len(one.tokens), len(other.tokens)) < 20
    return common >= 0.8 and not counted


def same_name(one: Column, other: Column) -> bool:
    """Returns whether the names of two columns are the same but for "id" and the plural.

    Two keys that are called just id are of two tables, and say nothing.
    """
    nameless = one.is_key and other.is_key and set(one.words) <= ID_WORDS - OBJECT_WORDS
    return bare(one.words) == bare(other.words) != () and not nameless


def _fits(texts: pl.Series, form: str) -> bool:
    read = texts.alias("x").to_frame().select(formatted_seconds("x", texts.dtype, form)).to_series()
    return len(texts) > 0 and float(read.is_between(_EARLIEST, LATEST).sum()) >= 0.98 * len(texts)
