"""Converts columns of a log, whatever their types, to text, lists of text, Unix seconds and numbers.

Ids and categorical values travel as text until the catalogs are built, whatever type a file holds them in; so the same
product is the same product in a CSV file and in a Parquet file. Missing is null, an empty text or NaN.
"""

import polars as pl

from atrank_tf.schema import PER_SECOND, SECONDS

INTEGER = r"^(?:0|-?[1-9][0-9]*)$"
"""Texts that lose nothing when read as an integer: "007" and "+7" are not among them."""
_WHOLE = r"^(?:0|-?[1-9][0-9]*)\.0+$"
_SCIENTIFIC = r"^-?[0-9](?:\.[0-9]+)?[eE]\+[0-9]+$"
"""As a float beyond 2^53 is printed: "1.2345678901234568e+18"; "1e5" is not among them."""
_FRACTION = r"^-?[0-9]+\.[0-9]*[1-9][0-9]*$"
VISITOR = r"^[0-9]+\.1[0-9]{9}$"
"""No fraction, but a number and a Unix time, as Google Analytics names visitors."""
_ISO_8601 = (
    r"^(?<day>\d{4}-\d\d-\d\d)(?:[T ](?<minute>\d\d:\d\d)(?<second>:\d\d)?(?:[.,]\d+)?)?"
    r" ?(?<zone>Z|[+-]\d\d(?::?\d\d)?)?(?: ?UTC)?$"
)
"""A date, or a moment, as "2024-03-01T12:00:00+01:00", with a space for the "T" or before the zone as some write."""
LONGEST = 1_000
"""Most characters of an id or a value: NumPy gives each of an array as much room as the longest needs."""
_EXACT: dict[type[pl.DataType], int] = {pl.Float16: 2**11, pl.Float32: 2**24, pl.Float64: 2**53}
"""From where on a float stands for several integers."""


def text(name: str, dtype: pl.DataType) -> pl.Expr:
    """Returns a column as text; missing values are null."""
    column = pl.col(name)
    if isinstance(dtype, pl.Decimal):
        digits = column.cast(pl.String)  # Not through a float, which is no single integer beyond 2^53.
        return digits.str.strip_chars_end("0").str.strip_chars_end(".") if dtype.scale else digits
    if dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        as_text = pl.when(column == whole).then(whole.cast(pl.String)).otherwise(column.cast(pl.String))
        return pl.when(column.is_not_nan()).then(as_text)
    if isinstance(dtype, pl.Binary):
        column = column.cast(pl.String, strict=False)
    as_text = column.cast(pl.String)
    return pl.when(as_text != "").then(as_text)


def texts(name: str, dtype: pl.DataType, separator: str, max_values: int) -> pl.Expr:
    """Returns a column as lists of at most `max_values` texts, never null; missing and empty values are left out.

    A text column is split at `separator`, unless `max_values` is 1: then the whole text is the value.
    """
    if isinstance(dtype, pl.List | pl.Array):
        inner = dtype.inner if isinstance(dtype.inner, pl.DataType) else dtype.inner()
        values = _lists(name, dtype).list.eval(text("", inner))
    elif max_values > 1 and not dtype.is_numeric():
        values = text(name, dtype).str.split(separator).list.eval(text("", pl.String()))
    else:
        values = pl.concat_list(text(name, dtype))
    return values.list.drop_nulls().list.head(max_values).fill_null([])


def seconds(name: str, dtype: pl.DataType) -> pl.Expr:
    """Returns a column as whole Unix seconds (UTC), int64; null where it is missing or cannot be read.

    Dates and datetimes are converted, also those that are text as ISO 8601 has them; without a zone they are taken as
    UTC. Fractions of a second are cut off.
    """
    column = pl.col(name)
    if isinstance(dtype, pl.Date):
        return column.cast(pl.Datetime("us")).dt.epoch("s")
    if isinstance(dtype, pl.Datetime):
        return column.dt.epoch("s")
    if dtype.is_integer():
        return column.cast(pl.Int64, strict=False)
    if dtype.is_float():
        return column.floor().cast(pl.Int64, strict=False)
    as_text = column.cast(pl.String)
    return pl.coalesce(
        as_text.cast(pl.Int64, strict=False),
        as_text.cast(pl.Float64, strict=False).floor().cast(pl.Int64, strict=False),
        _seconds_of_iso(as_text),
    )


def formatted_seconds(name: str, dtype: pl.DataType, form: str) -> pl.Expr:
    """Returns a column as whole Unix seconds (UTC), int64, read as `timestamp_format` says; null where it does not fit.

    Args:
        name: the column.
        dtype: its type. Dates and datetimes need no format.
        form: a unit since 1970, a format of texts with %, or "" for what `seconds` reads.
    """
    if not form or isinstance(dtype, pl.Date | pl.Datetime):
        return seconds(name, dtype)
    if "%" in form:
        return pl.col(name).cast(pl.String).str.strptime(pl.Datetime("us"), form, strict=False).dt.epoch("s")
    column = pl.col(name) if dtype.is_numeric() else pl.col(name).cast(pl.String)
    whole, decimal = column.cast(pl.Int64, strict=False), column.cast(pl.Float64, strict=False)
    if form in PER_SECOND:
        scaled, fraction = whole // PER_SECOND[form], decimal / PER_SECOND[form]
    else:
        scaled, fraction = whole * SECONDS[form], decimal * SECONDS[form]
    return pl.when(decimal == whole).then(scaled).otherwise(fraction.floor().cast(pl.Int64, strict=False))


def _seconds_of_iso(column: pl.Expr) -> pl.Expr:
    parts = column.str.extract_groups(_ISO_8601)
    day, minute, second, zone = (parts.struct.field(name) for name in ("day", "minute", "second", "zone"))
    whole = [day, pl.lit("T"), minute.fill_null("00:00"), second.fill_null(":00"), zone.fill_null("Z")]
    return pl.concat_str(whole).str.to_datetime("%Y-%m-%dT%H:%M:%S%#z", strict=False).dt.epoch("s")


def number(name: str, dtype: pl.DataType) -> pl.Expr:
    """Returns a column as float64; null where it is missing, infinite where it cannot be read as a number."""
    column = pl.col(name)
    if dtype.is_numeric() or isinstance(dtype, pl.Boolean):
        return column.cast(pl.Float64).fill_nan(None)
    as_text = text(name, dtype)
    parsed = as_text.cast(pl.Float64, strict=False)
    return pl.when(as_text.is_null()).then(None).otherwise(parsed.fill_null(float("inf"))).fill_nan(None)


def is_missing(name: str, dtype: pl.DataType) -> pl.Expr:
    """Returns whether a value is missing, bool."""
    if dtype.is_integer() or dtype.is_temporal() or dtype.is_nested():
        return pl.col(name).is_null()
    return text(name, dtype).is_null()


def is_unfit(name: str, dtype: pl.DataType, separator: str = "") -> pl.Expr:
    """Returns whether NumPy could not keep a value: it is longer than `LONGEST`, or has a NUL, which NumPy may drop.

    Null is no. A list, or a text with a separator, is unfit if one of its values is.
    """
    if isinstance(dtype, pl.List | pl.Array):
        return _lists(name, dtype).list.eval(is_unfit("", pl.String())).list.any()
    as_text = pl.col(name).cast(pl.String, strict=False)
    length = as_text.str.len_chars()
    if separator:
        length = as_text.str.split(separator).list.eval(pl.element().str.len_chars()).list.max()
    return (length > LONGEST) | as_text.str.contains("\0", literal=True)


def id_conditions(name: str, dtype: pl.DataType, *, typed: bool) -> dict[str, pl.Expr]:
    """Returns the conditions that a column of ids is checked for, each a bool for each row.

    Args:
        name: the column.
        dtype: its type.
        typed: whether the file says what its columns hold, as Parquet does: there a text is a text. In a CSV file
            everything is text, and a column of nothing but integers is a column of integers.

    Returns:
        "text": an id that is no integer that int64 can hold, which makes all ids of the column text. "fraction": an id
        that is a fraction. "inexact": a float that stands for several integers, or was printed as one of them.
        "whole": an integer written as a decimal, as in "12.0".
    """
    column = pl.col(name)
    if dtype.is_integer():
        return {"text": column > 2**63 - 1} if dtype.is_unsigned_integer() else {}
    if dtype.is_float():
        return {
            "fraction": column.is_not_nan() & (column.is_infinite() | (column != column.floor())),
            "inexact": column.is_finite() & (column.abs() >= _EXACT[dtype.base_type()]),
        }
    if typed:
        return {"text": pl.col("row").is_not_null()}
    known = column.cast(pl.String)
    known = pl.when(known != "").then(known)
    integer = known.str.contains(INTEGER) & known.cast(pl.Int64, strict=False).is_not_null()
    fraction, whole, scientific = (known.str.contains(form) for form in (_FRACTION, _WHOLE, _SCIENTIFIC))
    fraction &= ~known.str.contains(VISITOR)
    exact = known.str.replace(r"\.0+$", "").cast(pl.Int64, strict=False).is_between(-(2**53), 2**53, closed="none")
    return {
        "text": ~(integer | fraction | whole | scientific),
        "fraction": fraction,
        "inexact": scientific | (whole & ~exact.fill_null(False)),
        "whole": whole,
    }


def _lists(name: str, dtype: pl.List | pl.Array) -> pl.Expr:
    """Returns a column of lists or of arrays as one of lists."""
    return pl.col(name).cast(pl.List(dtype.inner)) if isinstance(dtype, pl.Array) else pl.col(name)
