"""What the values of a column tell, by hand-made columns."""

import datetime

import polars as pl
import pytest

from atrank_tf.description.columns import Column, overlap, same_name, share_values
from atrank_tf.description.words import bare, words_of


def column(name, values, *, typed=False):
    return Column(name, pl.Series(name, values), typed=typed)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("username", ("user", "name")),
        ("Catégorie d'achat", ("categorie", "d", "achat")),
        ("商品编号", ("商品编号",)),
        ("customerID", ("customer", "id")),
        ("visitorid", ("visitor", "id")),
        ("event_time2", ("event", "time", "2")),
        ("Order No.", ("order", "no")),
        ("paid", ("paid",)),
    ],
)
def test_words_of_names(name, words):
    assert words_of(name) == words


def test_bare_words_are_without_ids_and_plurals():
    assert bare(("product", "ids")) == bare(("products", "id")) == bare(("product",)) == ("product",)
    assert bare(("id",)) == ("id",)
    assert bare(("news",)) == ("news",)


@pytest.mark.parametrize(
    ("name", "values", "form", "first"),
    [
        ("t", ["1704067200", "1704067260"], "", 1704067200),
        ("t", [1704067200123, 1704067260000], "millisecond", 1704067200),
        ("t", [1704067200123456], "microsecond", 1704067200),
        ("t", ["2024-01-01T00:00:00Z", "2024-01-02T10:00:00Z"], "", 1704067200),
        ("t", ["2024/01/01", "2024/01/31"], "%Y/%m/%d", 1704067200),
        ("t", ["20240101", "20231231"], "%Y%m%d", 1704067200),
        ("t", ["01.01.2024 00:00", "31.12.2023 10:00"], "%d.%m.%Y %H:%M", 1704067200),
        ("t", ["01/31/2024", "02/01/2024"], "%m/%d/%Y", 1706659200),
        ("t", ["31/01/2024", "01/02/2024"], "%d/%m/%Y", 1706659200),
        ("t", ["31.12.24", "01.01.25"], "%d.%m.%y", 1735603200),
        ("t", ["12/31/24 10:00", "01/01/25 10:00"], "%m/%d/%y %H:%M", 1735639200),
        ("t", ["2024-01-31 10:00:00 -0500", "2024-02-01 10:00:00 -0500"], "", 1706713200),
        ("t", ["2024-01-31 10:00:00.000 Z"], "", 1706695200),
        ("t", ["2024/01/31 10:00", "2024/02/01 09:00"], "%Y/%m/%d %H:%M", 1706695200),
        ("t", ["31-01-2024 10:00", "01-02-2024 10:00"], "%d-%m-%Y %H:%M", 1706695200),
        ("t", ["31 Jan 2024", "01 Feb 2024"], "%d %b %Y", 1706659200),
        ("t", ["Jan 31, 2024 10:00", "Feb 01, 2024 10:00"], "%b %d, %Y %H:%M", 1706695200),
        ("t", ["31/Jan/2024 10:00:00 +0100"], "%d/%b/%Y %H:%M:%S%#z", 1706691600),
        ("t", ["20240131101500", "20231231101500"], "%Y%m%d%H%M%S", 1706696100),
        ("t", ["01/31/2024 12:30 AM", "02/01/2024 1:05 PM"], "%m/%d/%Y %I:%M %p", 1706661000),
        ("t", ["01/31/2024 12:30:01 AM", "02/01/2024 01:05:00 PM"], "%m/%d/%Y %I:%M:%S %p", 1706661001),
        ("day", ["19723", "19724"], "day", 1704067200),
        ("day", ["3", "4"], "day", 259200),
        ("timestamp", ["7344000", "7344060"], "", 7344000),
        ("t", [datetime.date(2024, 1, 1)], "", 1704067200),
    ],
)
def test_timestamps_are_known_by_their_values(name, values, form, first):
    times = column(name, values)
    assert times.timestamp_format == form
    assert times.seconds()[0] == first


@pytest.mark.parametrize(
    "values", [["19723", "5"], ["a", "b"], ["0", "1"], ["1.5", "2.5"], ["", ""], [None], ["007"], ["3", "4"]]
)
def test_what_is_no_time(values):
    assert column("day_count", values).timestamp_format is None


def test_day_and_month_that_could_be_the_other_way_round():
    assert column("t", ["01/02/2024", "03/04/2024"]).is_ambiguous_date
    assert not column("t", ["01/02/2024", "31/04/2024", "31/01/2024"]).is_ambiguous_date


@pytest.mark.parametrize(
    ("values", "separator"),
    [
        (["Action|Drama", "Drama", "Action", "Drama|War", "War|Action", "War"], "|"),
        (["12 15", "12", "15 18", "18 12", "15", "18"], " "),
        (["N12 N15", "N12", "N15 N18", "N18 N12", "N15", "N18"], " "),
        (["red wine", "white wine", "red beer", "white beer"], ""),
        (["BREAD:ITALIAN/FRENCH", "FROZEN/ICE", "CHEESE", "SOAP/BODY"], ""),
        (["1", "2", "3"], ""),
    ],
)
def test_what_separates_values(values, separator):
    found = column("x", values)
    assert found.separator == separator
    assert found.max_values == (2 if separator else 1)


def test_lists_have_several_values():
    found = column("x", [["a", "b", "c"], ["a"], []], typed=True)
    assert found.has_several and found.max_values == 3
    assert set(found.tokens) == {"a", "b", "c"}


@pytest.mark.parametrize("values", [["0", "1", "1"], [0, 1], [True, False], ["0.0", "1.0"]])
def test_flags(values):
    assert column("x", values).is_flag


def test_numbers_and_names():
    assert column("x", ["1", "2.0", ""]).is_whole
    assert not column("x", ["007", "8"]).is_numeric
    assert column("x", ["007", "8"]).is_name
    assert not column("x", ["1.5", "2"]).is_name
    assert column("x", ["5", "6", "8"]).density == 0.75


def test_a_text_beyond_what_an_id_may_have_names_nothing():
    assert column("x", ["a" * 1000, "b"]).is_name
    assert not column("x", ["a" * 1001, "b"]).is_name


def test_a_time_of_day_is_neither_a_moment_nor_a_name():
    for values in (["14:05", "9:30"], ["14:05:59", "09:30:00"], [datetime.time(14, 5), datetime.time(9, 30)]):
        found = column("clock", values)
        assert found.is_time_of_day and found.timestamp_format is None and not found.is_name
    assert not column("score", ["3-1", "2-2"]).is_time_of_day


def test_whole_days():
    assert column("t", ["2024-01-01", "2024-01-02"]).is_whole_days
    assert not column("t", ["2024-01-01", "2024-01-02T10:00"]).is_whole_days


@pytest.mark.parametrize(
    ("values", "yes"),
    [(["Yes", "no"], "Yes"), ([True, False], "true"), ([0, 1], "1"), (["N", "Y"], "Y"), (["a", "b"], ""), (["1"], "")],
)
def test_what_means_yes(values, yes):
    assert column("x", values).yes == yes


def test_two_keys_called_id_are_of_two_tables():
    users, things = (
        column("id", [f"k{number}" for number in range(9)]),
        column("id", [f"k{number}" for number in range(9)]),
    )
    assert not same_name(users, things)
    assert same_name(users, column("id", ["k1", "k1", "k2"])), "values that stand several times refer to a key"


def test_what_google_analytics_names_visitors_by_is_no_number():
    visitors = column("user_pseudo_id", ["1234567890.1704067200", "98765.1704067300"])
    assert visitors.is_name and not visitors.is_numeric and visitors.timestamp_format is None
    assert column("price", ["12.5", "1.1704067"]).is_numeric


def test_the_tail_is_the_99th_of_a_hundred_over_the_middle():
    assert column("x", [*range(1, 102)]).tail == pytest.approx(100 / 51)
    assert column("x", [-1, 5, 500]).tail == 0


def test_columns_with_the_same_values():
    many = [f"sku{number}" for number in range(40)]
    one, other = column("sku", many), column("article", many[:30])
    assert overlap(one, other) == 1
    assert share_values(one, other)
    counted = column("user_id", [*range(100)]), column("item_id", [*range(50)])
    assert not share_values(*counted), "whole numbers that count up overlap with any others"
    assert share_values(column("item_id", [*range(100)]), column("itemId", [*range(50)]))
    assert not share_values(column("age", ["20", "30"]), column("size", ["20", "30"]))
