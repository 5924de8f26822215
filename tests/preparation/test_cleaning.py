"""The rules of cleaning: what is refused, what is dropped under which reason, what is converted."""

import datetime
import re
from dataclasses import replace

import polars as pl
import pytest

from atrank_tf.preparation.cleaning import OF_1970, behaviors_reader, catalog_reader, clean_log, impressions_reader
from atrank_tf.preparation.log_reader import combine_checks
from atrank_tf.preparation.logs import LogFile
from atrank_tf.preparation.open_log import Piece
from atrank_tf.schema import Features, IdFeature, schema_from_dict

SCHEMA = schema_from_dict(
    {
        "tables": {"item": {"dim": 2}, "brand": {"dim": 2}},
        "entities": {
            "item": {
                "id": {"column": "item_id", "table": "item"},
                "features": {"brand": "brand", "tags": {"table": "brand", "max_values": 3}},
                "dense": ["price"],
            }
        },
        "groups": {"click": {"entity": "item", "actions": ["view", "buy"]}},
        "tasks": {
            "next": {
                "group": "click",
                "candidates": "impressions",
                "context": {"features": {"slot": "brand"}, "dense": ["score"]},
            }
        },
    }
)
ITEM = SCHEMA.entities["item"]


def log(tmp_path, kind, name, content):
    """Writes CSV text, or a dict of columns as Parquet."""
    if isinstance(content, str):
        path = tmp_path / f"{name}.csv"
        path.write_text(content)
    else:
        path = tmp_path / f"{name}.parquet"
        pl.DataFrame(content, strict=False).write_parquet(path)
    return LogFile(kind=kind, name=name, path=path)


def cleaned(reader):
    """Cleans as an engine does that knows two pieces of the file only."""
    parts = [reader.check_columns(Piece(0, 0, 1)), reader.check_columns(Piece(0, 1, reader.rows))]
    assert combine_checks(parts) == reader.check_columns()
    checks = combine_checks(parts)
    if "unknown action" in reader.reasons:
        named = reader.unknown_actions().sort(["rows", "action"], descending=[True, False])
        checks = replace(checks, unknown_actions=tuple(named.iter_rows()))
    return clean_log(reader, checks)


def behaviors(tmp_path, content, group=SCHEMA.groups["click"]):
    return cleaned(behaviors_reader(log(tmp_path, "behaviors", "click", content), group, ITEM, tmp_path / "copies"))


def impressions(tmp_path, content):
    file = log(tmp_path, "impressions", "next", content)
    return cleaned(impressions_reader(file, SCHEMA.tasks["next"], ITEM, tmp_path / "copies"))


def catalog(tmp_path, content, features=ITEM):
    file = log(tmp_path, "catalog", "item", content)
    return cleaned(catalog_reader(file, features, "id", "item_id", tmp_path / "copies"))


def clicks(**columns):
    return {"user_id": [1, 2], "item_id": [5, 6], "action": ["view", "buy"], "timestamp": [10, 20]} | columns


def shown(**columns):
    rows = {"request_id": ["r", "r"], "user_id": [1, 1], "item_id": [5, 6], "timestamp": [10, 10], "label": [1, 0]}
    return rows | {"slot": ["top", None], "score": [0.5, None]} | columns


def test_clean_rows_have_standard_columns(tmp_path):
    clean = behaviors(tmp_path, "item_id,timestamp,user_id,action\n0,10,u,buy\n7,20,v,view\n")
    assert clean.frame.collect().rows(named=True) == [
        {"row": 1, "user": "u", "id": "0", "action": 3, "timestamp": 10},
        {"row": 2, "user": "v", "id": "7", "action": 2, "timestamp": 20},
    ]
    assert clean.integer_ids
    assert (clean.report.read, clean.report.kept, clean.report.dropped) == (2, 2, {})


def test_columns_may_have_other_names(tmp_path):
    raw = {"entity": "item", "actions": ["view"], "columns": {"user_id": "who", "timestamp": "when", "action": "what"}}
    group = schema_from_dict(
        {
            "tables": {"item": {"dim": 1}},
            "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
            "groups": {"click": raw},
            "tasks": {"next": {"group": "click", "negatives": {"uniform": 1}}},
        }
    ).groups["click"]
    assert len(behaviors(tmp_path, "who,item_id,when,what\n1,2,3,view\n", group).frame.collect()) == 1
    with pytest.raises(ValueError, match=r'Missing column "when" in .*click\.csv\.'):
        behaviors(tmp_path, "who,item_id,timestamp,what\n1,2,3,view\n", group)


def test_each_row_is_dropped_under_its_first_reason(tmp_path):
    text = (
        "user_id,item_id,action,timestamp\n"
        "u,5,view,10\n"
        ",5,view,10\n"  # 2
        ",,,\n"  # 3
        "u,,view,10\n"  # 4
        "u,5,,10\n"  # 5
        "u,5,view,\n"  # 6
        "u,5,view,soon\n"  # 7
        "u,5,view,0\n"  # 8
        "u,5,view,-3\n"  # 9
        "u,5,veiw,10\n"  # 10
        "u,5,veiw,11\n"  # 11
        "u,5,sell,11\n"  # 12
        "u,5,buy,11.9\n"
    )
    clean = behaviors(tmp_path, text)
    assert clean.report.dropped == {
        "missing user id": [2, 2],
        "missing object id": [1, 4],
        "missing action": [1, 5],
        "missing timestamp": [1, 6],
        "timestamp that cannot be read": [1, 7],
        "timestamp not after 1970-01-01": [2, 8],
        "unknown action": [3, 10],
    }
    assert (clean.report.read, clean.report.kept) == (13, 2)
    assert clean.report.notes == [
        'Unknown action "veiw" in 2 rows. Did you mean "view"? Valid: buy, view.',
        'Unknown action "sell" in 1 rows. Valid: buy, view.',
        OF_1970,
    ]
    assert clean.frame.collect()["timestamp"].to_list() == [10, 11]


def test_nan_and_null_are_missing_in_parquet(tmp_path):
    clean = behaviors(
        tmp_path,
        {
            "user_id": [1.0, float("nan"), 3.0, 4.0],
            "item_id": [5.0, 6.0, None, 7.0],
            "action": ["view"] * 4,
            "timestamp": [10.0, 20.0, 30.0, float("nan")],
        },
    )
    assert clean.report.dropped == {
        "missing user id": [1, 2],
        "missing object id": [1, 3],
        "missing timestamp": [1, 4],
    }
    assert clean.frame.collect().row(0, named=True) == {"row": 1, "user": "1", "id": "5", "action": 2, "timestamp": 10}
    assert clean.integer_ids


@pytest.mark.parametrize(
    ("timestamps", "expected"),
    [
        ([datetime.datetime(1970, 1, 1, 0, 1), datetime.datetime(1970, 1, 2)], [60, 86_400]),
        ([datetime.date(1970, 1, 2), datetime.date(1970, 1, 3)], [86_400, 172_800]),
        ([datetime.datetime(1970, 1, 2, tzinfo=datetime.UTC), None], [86_400]),
        ([10.0, 20.9], [10, 20]),
        (["10", "20.9"], [10, 20]),
        (["1e3", "20"], [1000, 20]),
        (["1970-01-02", "1970-01-02T00:00:01Z"], [86_400, 86_401]),
        (["1970-01-02 00:01", "1970-01-02 01:00:05.999 UTC"], [86_460, 90_005]),
        (["1970-01-02T02:00:00+01:30", "1970-01-02 02:00:00-0100"], [88_200, 97_200]),
        (["1970-01-02T02:00:00+02", "86401"], [86_400, 86_401]),
        (["1970-01-02 02:00:00 +0200", "1970-01-02 00:00 Z"], [86_400, 86_400]),
    ],
)
def test_timestamps_become_whole_seconds(tmp_path, timestamps, expected):
    assert behaviors(tmp_path, clicks(timestamp=timestamps)).frame.collect()["timestamp"].to_list() == expected


def test_a_zone_is_taken_into_account(tmp_path):
    moments = pl.Series([datetime.datetime(2020, 6, 1)] * 2).dt.replace_time_zone("Europe/Berlin")
    expected = int(datetime.datetime(2020, 5, 31, 22, tzinfo=datetime.UTC).timestamp())
    assert behaviors(tmp_path, clicks(timestamp=moments)).frame.collect()["timestamp"].to_list() == [expected] * 2


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"timestamp": [10, 1_600_000_000_000]},
         r'before the year 2100 \(milliseconds\? .*\) in column "timestamp" of .*, row 2\. Received: 16000000'),
        ({"timestamp": ["01.03.2024", "soon"]},
         r'Expected Unix seconds or ISO 8601 \(else say timestamp_format in the schema\) in column "timestamp" of .*, '
         r"row 1\. Received: '01\.03\.2024'\."),
        ({"timestamp": [True, False]}, r'Expected Unix seconds in column "timestamp" of .*\. Received: Boolean\.'),
        ({"item_id": [5.0, 6.5]},
         r'Expected ids that are whole numbers or text in column "item_id" of .*, row 2\. Received: 6\.5\.'),
        ({"item_id": [5.0, 2.0**53]},
         r'Expected ids that floats hold exactly, below 2\^53 or 2\^24 \(write larger ones as integers or text\), in '
         r'column "item_id" of .*, row 2\. Received: 9007199254740992\.0\.'),
        ({"item_id": [-(2.0**63), 6.0]}, r"floats hold exactly.*, row 1\. Received: -9\.223372036854776e\+18\."),
        ({"user_id": pl.Series([1, 2**24], dtype=pl.Float32)}, r"hold exactly.*, row 2\. Received: 16777216\.0\."),
        ({"item_id": ["5", "a\0"]},
         r'Expected text of at most 1,000 characters, none of them NUL \(cut or drop others\), in column "item_id" of '
         r".*, row 2\. Received: 'a\\x00'\."),
        ({"user_id": ["é" * 1_001, "v"]}, r"row 1\. Received: 'é{199}\.\.\. \(1,003 characters\)\."),
        ({"user_id": [0.5, None]}, r'whole numbers or text in column "user_id" of .*, row 1\. Received: 0\.5\.'),
        ({"item_id": [[5], [6]]}, r'Expected one id per row in column "item_id" of .*\. Received: List'),
        ({"action": ["sell", "veiw"]},
         r'Expected usable rows in .*All 2 were dropped: 2 with unknown action .* one of the two is misspelt'),
        ({"timestamp": [None, None]}, r"All 2 were dropped: 2 with missing timestamp \(first: row 1\)\."),
    ],
)  # fmt: skip
def test_refused_behaviors(tmp_path, columns, match):
    with pytest.raises(ValueError, match=match):
        behaviors(tmp_path, clicks(**columns))


def test_fractions_among_integers_of_a_csv_file(tmp_path):
    text = "user_id,item_id,action,timestamp\n1,5,view,1\n1,6.50,view,1\n"
    with pytest.raises(ValueError, match=r"whole numbers or text .*, row 2\. Received: '6\.50'\."):
        behaviors(tmp_path, text)


@pytest.mark.parametrize(
    ("content", "ids", "integers"),
    [
        ("5\n-6\n0", ["5", "-6", "0"], True),
        ("5.0\n6.00\n7", ["5", "6", "7"], True),
        ("007\n8", ["007", "8"], False),
        ("5\n6.5\nx", ["5", "6.5", "x"], False),
        ("123.1700000000\n45.1600000007", ["123.1700000000", "45.1600000007"], False),
        ("5\n9223372036854775808", ["5", "9223372036854775808"], False),
        ("1e5\n3", ["1e5", "3"], False),
        ("1.0\nNaN\nnan\n\n2.0", ["1", "2"], True),
        ("x\nNaN\nnano", ["x", "nano"], False),
        ("9007199254740991.0\n\n-9007199254740991.0", ["9007199254740991", "-9007199254740991"], True),
        ("1.5e+18\nx", ["1.5e+18", "x"], False),
        ("9007199254740992.0\nx", ["9007199254740992.0", "x"], False),
    ],
)
def test_which_ids_of_a_csv_file_are_integers(tmp_path, content, ids, integers):
    rows = "".join(f"{value},u,view,10\n" for value in content.split("\n"))
    clean = behaviors(tmp_path, f"item_id,user_id,action,timestamp\n{rows}")
    assert clean.frame.collect()["id"].to_list() == ids
    assert clean.integer_ids == integers


@pytest.mark.parametrize(
    "printed", ["1.2345678901234568e+18", "1e+16", "9007199254740992.0", "-9007199254740993.0", "9223372036854775808.0"]
)
def test_integers_that_a_csv_file_has_lost(tmp_path, printed):
    """As pandas writes a column of large integers of which one cell is empty."""
    text = f"user_id,item_id,action,timestamp\n1,7.0,view,1\n1,,view,1\n1,{printed},view,1\n"
    with pytest.raises(ValueError, match=rf"floats hold exactly, .*, row 3\. Received: '{re.escape(printed)}'\."):
        behaviors(tmp_path, text)


@pytest.mark.parametrize(
    ("values", "ids", "integers"),
    [
        (["5", "6"], ["5", "6"], False),
        (pl.Series([5, 2**63], dtype=pl.UInt64), ["5", "9223372036854775808"], False),
        (pl.Series([5, 6], dtype=pl.UInt8), ["5", "6"], True),
        (pl.Series(["a", "b"], dtype=pl.Categorical), ["a", "b"], False),
        (pl.Series(["5.00", "6.00"]).cast(pl.Decimal(10, 2)), ["5", "6"], False),
        (pl.Series(["0.00", "-120.50"]).cast(pl.Decimal(10, 2)), ["0", "-120.5"], False),
        (pl.Series([2**60, 2**60 + 1]).cast(pl.Decimal(20, 0)), [str(2**60), str(2**60 + 1)], False),
        (pl.Series([700, 2**60 + 4]).cast(pl.Decimal(20, 0)), ["700", str(2**60 + 4)], False),
        (pl.Series([2**60, 2**60 + 1]).cast(pl.Decimal(38, 9)), [str(2**60), str(2**60 + 1)], False),
        (pl.Series([700, 2**53 - 1], dtype=pl.Float64), ["700", "9007199254740991"], True),
        (["NaN", "nan"], ["NaN", "nan"], False),
        (["é" * 1_000, "b"], ["é" * 1_000, "b"], False),
    ],
)
def test_a_parquet_file_says_what_its_ids_are(tmp_path, values, ids, integers):
    clean = behaviors(tmp_path, clicks(item_id=values))
    assert clean.frame.collect()["id"].to_list() == ids
    assert clean.integer_ids == integers


def test_an_empty_text_is_missing_whatever_its_type(tmp_path):
    clean = behaviors(tmp_path, clicks(item_id=pl.Series(["", "b"], dtype=pl.Categorical)))
    assert clean.report.dropped == {"missing object id": [1, 1]}
    assert clean.frame.collect()["id"].to_list() == ["b"]


def test_clean_impressions(tmp_path):
    clean = impressions(tmp_path, shown())
    assert clean.frame.collect().rows(named=True) == [
        {"row": 1, "feature/slot": ["top"], "dense/score": 0.5, "user": "1", "id": "5", "request": "r",
         "timestamp": 10, "label": 1},
        {"row": 2, "feature/slot": [], "dense/score": None, "user": "1", "id": "6", "request": "r",
         "timestamp": 10, "label": 0},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("request_id", "missing request id"),
        ("user_id", "missing user id"),
        ("item_id", "missing object id"),
        ("timestamp", "missing timestamp"),
    ],
)
def test_dropped_impressions(tmp_path, column, reason):
    clean = impressions(tmp_path, shown(**{column: [None, shown()[column][1]]}))
    assert clean.report.dropped == {reason: [1, 1]}
    assert clean.frame.collect()["row"].to_list() == [2]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([2.0**53, 2.0**53 + 1], r"ids that floats hold exactly, .*, row 1\. Received: 9007199254740992\.0\."),
        ([1.0, 1.5], r'whole numbers or text in column "request_id" of .*, row 2\. Received: 1\.5\.'),
        ([[1], [2]], r'Expected one id per row in column "request_id" of .*\. Received: List'),
        (["r", "s" * 1_001], r'at most 1,000 characters, .*, in column "request_id" of .*, row 2\.'),
    ],
)
def test_request_ids_are_ids(tmp_path, values, match):
    with pytest.raises(ValueError, match=match):
        impressions(tmp_path, shown(request_id=values))


@pytest.mark.parametrize("labels", [[True, False], [1.0, 0.0], ["1", "0.0"]])
def test_labels_of_any_type(tmp_path, labels):
    assert impressions(tmp_path, shown(label=labels)).frame.collect()["label"].to_list() == [1, 0]


@pytest.mark.parametrize("label", [2, -1, None, 0.5, "yes"])
def test_labels_other_than_0_and_1(tmp_path, label):
    match = rf'Expected a label of 0 or 1 in column "label" of .*, row 2\. Received: {label!r}\.'
    with pytest.raises(ValueError, match=match):
        impressions(tmp_path, shown(label=["1", label] if isinstance(label, str) else [1, label]))


def test_clean_catalog(tmp_path):
    clean = catalog(tmp_path, "item_id,brand,tags,price\n1,big brand,a b  c d,2.5\n2,,,\n,x,y,1\n")
    assert clean.frame.collect().rows(named=True) == [
        {"row": 1, "feature/brand": ["big brand"], "feature/tags": ["a", "b", "c"], "dense/price": 2.5, "id": "1"},
        {"row": 2, "feature/brand": [], "feature/tags": [], "dense/price": None, "id": "2"},
    ]
    assert clean.report.dropped == {"missing object id": [1, 3]}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([["a", None, "", "b"], None], [["a", "b"], []]),
        ([[3, 4, 5, 6], []], [["3", "4", "5"], []]),
        ([[3.0, float("nan")], [1.5]], [["3"], ["1.5"]]),
        ([7, None], [["7"], []]),
        (["a b", ""], [["a", "b"], []]),
        (pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2)), [["1", "2"], ["3", "4"]]),
    ],
)
def test_several_values_in_parquet(tmp_path, tags, expected):
    rows = catalog(tmp_path, {"item_id": [1, 2], "brand": ["x", "y"], "tags": tags, "price": [1, 2]}).frame.collect()
    assert rows["feature/tags"].to_list() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["12.0", "NaN", "", "5.00"], [["12"], [], [], ["5"]]),
        (["12.5", "12.0", "7"], [["12.5"], ["12"], ["7"]]),
        (["12.0", "v1"], [["12.0"], ["v1"]]),
    ],
)
@pytest.mark.parametrize("column", ["brand", "tags"])
def test_integers_that_a_csv_file_writes_as_decimals(tmp_path, column, values, expected):
    cells = [f"{value}," if column == "brand" else f",{value}" for value in values]
    lines = [f"{number},{cell},1" for number, cell in enumerate(cells)]
    rows = catalog(tmp_path, "\n".join(["item_id,brand,tags,price", *lines])).frame.collect()
    assert rows[f"feature/{column}"].to_list() == expected


def test_decimals_are_left_alone_where_a_point_separates_values(tmp_path):
    tags = {"tags": IdFeature(table="brand", max_values=2, separator=".")}
    rows = catalog(tmp_path, "item_id,tags\n1,12.0\n2,3.0\n", Features(features=tags)).frame.collect()
    assert rows["feature/tags"].to_list() == [["12", "0"], ["3", "0"]]


@pytest.mark.parametrize("bad", ["x" * 1_001, "a\0b"])
@pytest.mark.parametrize(
    ("column", "cells"), [("brand", ["x", "{}"]), ("tags", ["a", "y {}"]), ("tags", [["a"], ["y", "{}"]])]
)
def test_values_that_arrays_of_text_cannot_keep(tmp_path, column, cells, bad):
    cells = [cell.format(bad) if isinstance(cell, str) else [value.format(bad) for value in cell] for cell in cells]
    rows = {"item_id": [1, 2], "brand": ["x", "x"], "tags": ["a", "a"], "price": [1.0, 2.0]} | {column: cells}
    match = rf'Expected text of at most 1,000 characters, none of them NUL .*, in column "{column}" of .*, row 2\.'
    with pytest.raises(ValueError, match=match):
        catalog(tmp_path, rows)


def test_a_text_of_several_values_may_be_longer_than_one_of_them(tmp_path):
    text = " ".join(f"tag{number}" for number in range(300))
    rows = catalog(tmp_path, {"item_id": [1], "brand": ["x"], "tags": [text], "price": [1.0]}).frame.collect()
    assert rows["feature/tags"].to_list() == [["tag0", "tag1", "tag2"]]


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"brand": [["x"], ["y"]]},
         r'Expected one value per row in column "brand" of .*\. Received: List.* Set max_values above 1'),
        ({"price": ["1.5", "cheap"]}, r"a finite number that float32 holds.* in .*, row 2\. Received: 'cheap'\."),
        ({"price": [1.0, float("inf")]}, r'that float32 holds.* in column "price" of .*, row 2\. Received: inf\.'),
        ({"price": [3.4e38, 3.5e38]}, r"that float32 holds.* in .*, row 2\. Received: 3\.5e\+38\."),
        ({"item_id": [None, None]}, r"All 2 were dropped: 2 with missing object id \(first: row 1\)\."),
    ],
)  # fmt: skip
def test_refused_catalogs(tmp_path, columns, match):
    rows = {"item_id": [1, 2], "brand": ["x", "y"], "tags": [["a"], ["b"]], "price": [1.0, 2.0]} | columns
    with pytest.raises(ValueError, match=match):
        catalog(tmp_path, rows)


def test_a_catalog_without_features_needs_only_its_ids(tmp_path):
    assert catalog(tmp_path, "item_id,other\nx,1\n", Features()).frame.collect().columns == ["row", "id"]


def test_an_action_that_is_misspelt_in_the_schema_is_corrected_there(tmp_path):
    group = replace(SCHEMA.groups["click"], actions=("veiw", "buy", "sell"))
    clean = behaviors(tmp_path, clicks(action=["view", "buy"], timestamp=[1_700_000_000] * 2), group)
    assert clean.report.notes == [
        'Unknown action "view" in 1 rows. The schema has "veiw", which is in no row: one of the two is misspelt.',
        'No row has the action "sell" of [groups.click].',
    ]


@pytest.mark.parametrize("since_1970", [19_800, 19_800 * 24, 19_800 * 24 * 60])
def test_days_hours_and_minutes_are_noticed(tmp_path, since_1970):
    clean = behaviors(tmp_path, clicks(timestamp=[since_1970, since_1970 + 1]))
    assert clean.report.notes == [OF_1970]
    assert behaviors(tmp_path, clicks(timestamp=[since_1970, 31_536_000])).report.notes == []


def test_a_decimal_comma(tmp_path):
    with pytest.raises(ValueError, match=r"as 1234\.5 \(no decimal comma\), or .*: '3,50'\."):
        catalog(tmp_path, "item_id;brand;tags;price\n5;x;y;3,50\n")
