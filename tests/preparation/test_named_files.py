"""Files and columns that the schema names, in place of those that prepare looks for by itself."""

import copy

import polars as pl
import pytest
import tensorflow as tf

from atrank_tf.preparation import prepare
from atrank_tf.preparation.logs import find_logs
from atrank_tf.schema import schema_from_dict

SCHEMA = {
    "tables": {"item": {"dim": 2}, "brand": {"dim": 2}, "age": {"dim": 2}},
    "entities": {"item": {"id": {"column": "item_id", "table": "item"}, "features": {"brand": "brand"}}},
    "groups": {"buy": {"entity": "item", "actions": ["buy"]}},
    "tasks": {"next": {"group": "buy", "candidates": "impressions"}},
    "user": {"features": {"age": "age"}},
}
DAY = 86_400
BUYS = {
    "user_id": ["u1", "u1", "u1", "u2", "u2", "u2"],
    "item_id": [3, 4, 5, 3, 5, 4],
    "timestamp": [DAY, 2 * DAY, 3 * DAY, DAY, 2 * DAY, 4 * DAY],
}
SHOWN = {
    "user_id": [user for user in BUYS["user_id"] for _ in range(2)],
    "item_id": [item for one in BUYS["item_id"] for item in (one, one % 3 + 3)],
    "timestamp": [second for second in BUYS["timestamp"] for _ in range(2)],
    "label": [1, 0] * 6,
}


def standard(tmp_path):
    """Writes the logs as prepare looks for them; returns the checksums of the records."""
    for kind in ("behaviors", "catalog", "impressions"):
        (tmp_path / "standard" / kind).mkdir(parents=True)
    folder = tmp_path / "standard"
    pl.DataFrame(BUYS | {"action": ["buy"] * 6}).write_csv(folder / "behaviors/buy.csv")
    pl.DataFrame({"item_id": [3, 4, 5], "brand": ["a", "b", "a"]}).write_csv(folder / "catalog/item.csv")
    pl.DataFrame({"user_id": ["u1", "u2"], "age": ["20", "30"]}).write_csv(folder / "catalog/user.csv")
    shown = pl.DataFrame(SHOWN).with_columns(request_id=pl.col("timestamp"))
    shown.write_csv(folder / "impressions/next.csv")
    return prepare(str(folder), schema_from_dict(SCHEMA), str(tmp_path / "of_standard")).manifest["checksums"]


def named():
    """The schema of the same logs in files and columns of other names."""
    schema = copy.deepcopy(SCHEMA)
    schema["entities"]["item"] |= {"file": "things.csv", "columns": {"id": "SKU No."}}
    schema["entities"]["item"]["features"]["brand"] = {"table": "brand", "column": "Brand Name"}
    columns = {"user_id": "who", "id": "what", "timestamp": "when"}
    schema["groups"]["buy"] |= {"file": "sold_*.csv", "columns": columns, "timestamp_format": "%d.%m.%Y"}
    columns = {"user_id": "who", "id": "what", "timestamp": "ms", "request_id": "ms", "label": "taken"}
    schema["tasks"]["next"] |= {"file": "seen", "columns": columns, "timestamp_format": "millisecond"}
    schema["user"] |= {"file": "people.csv", "columns": {"user_id": "who"}}
    return schema


def strangers(tmp_path):
    folder = tmp_path / "export"
    (folder / "seen").mkdir(parents=True)
    when = pl.from_epoch("timestamp", "s").dt.strftime("%d.%m.%Y").alias("when")
    sold = pl.DataFrame(BUYS).select("timestamp", who="user_id", what="item_id").with_columns(when).drop("timestamp")
    sold[:4].write_csv(folder / "sold_1.csv")
    sold[4:].write_csv(folder / "sold_2.csv")
    pl.DataFrame({"SKU No.": [3, 4, 5], "Brand Name": ["a", "b", "a"], "note": ["x"] * 3}).write_csv(
        folder / "things.csv"
    )
    pl.DataFrame({"who": ["u1", "u2"], "age": ["20", "30"]}).write_csv(folder / "people.csv")
    seen = pl.DataFrame(SHOWN).select(
        ms=pl.col("timestamp") * 1_000 + 250, who="user_id", what="item_id", taken="label"
    )
    seen.write_parquet(folder / "seen/part-0.parquet")
    (folder / "notes.csv").write_text("a\n1\n")
    return str(folder)


def test_the_names_of_files_and_columns_change_nothing_in_the_records(tmp_path):
    made = prepare(strangers(tmp_path), schema_from_dict(named()), str(tmp_path / "records"), empty_parts=True)
    of_standard = standard(tmp_path)
    timelines = [name for name in of_standard if name.endswith(".tfrecord")]
    assert timelines
    for name in (*timelines, "catalog/item.npz", "vocabulary/item.npz"):
        assert made.manifest["checksums"][name] == of_standard[name], name
    assert made.manifest["ignored"] == ["notes.csv"]
    assert made.manifest["files"]["behaviors/buy"]["read"] == 6


@pytest.mark.parametrize(
    ("form", "written", "seconds"),
    [
        ("day", "19737", 19737 * DAY),
        ("minute", "28421280.5", 28421280 * 60 + 30),
        ("microsecond", "1705276800000000", 1705276800),
        ("%Y%m%d", "20240115", 1705276800),
        ("%Y-%m-%d %H:%M:%S %z", "2024-01-15 02:00:00 +0200", 1705276800),
    ],
)
def test_timestamps_of_any_format(tmp_path, form, written, seconds):
    (tmp_path / "buy.csv").write_text(f"user_id,item_id,timestamp\nu,1,{written}\n")
    schema = {key: SCHEMA[key] for key in ("tables", "entities", "groups")} | {
        "tables": {"item": {"dim": 2}},
        "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
        "tasks": {"next": {"group": "buy", "negatives": {"uniform": 1}}},
        "groups": {"buy": {"entity": "item", "actions": ["buy"], "file": "buy.csv", "timestamp_format": form}},
    }
    made = prepare(str(tmp_path), schema_from_dict(schema), str(tmp_path / "records"), empty_parts=True)

    (raw,) = tf.data.TFRecordDataset(made.files).as_numpy_iterator()
    example = tf.train.Example.FromString(raw)
    assert list(example.features.feature["buy/timestamp"].int64_list.value) == [seconds]


def test_timestamps_of_another_format_than_the_schema_says(tmp_path):
    (tmp_path / "buy.csv").write_text("user_id,item_id,timestamp\nu,1,2024-01-24T07:50:45Z\n")
    schema = {
        "tables": {"item": {"dim": 2}},
        "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
        "groups": {"buy": {"entity": "item", "file": "buy.csv", "actions": ["buy"], "timestamp_format": "%d.%m.%Y"}},
        "tasks": {"next": {"group": "buy", "negatives": {"uniform": 1}}},
    }
    expected = r"Expected times as timestamp_format = .%d\.%m\.%Y. of the schema says .*, row 1\. Received: '2024"
    with pytest.raises(ValueError, match=expected):
        prepare(str(tmp_path), schema_from_dict(schema), str(tmp_path / "records"))


def test_an_entity_may_take_its_features_from_a_behaviors_file(tmp_path):
    """The first row of each object tells them."""
    (tmp_path / "log.csv").write_text(
        "user_id,item_id,timestamp,brand\nu,1,86400,a\nv,1,86401,a\nu,2,86402,b\nu,1,86403,c\n"
    )
    schema = {
        "tables": {"item": {"dim": 2}, "brand": {"dim": 2}},
        "entities": {"item": SCHEMA["entities"]["item"] | {"file": "log.csv"}},
        "groups": {"buy": {"entity": "item", "actions": ["buy"], "file": "log.csv"}},
        "tasks": {"next": {"group": "buy", "negatives": {"uniform": 1}}},
    }
    made = prepare(str(tmp_path), schema_from_dict(schema), str(tmp_path / "records"), empty_parts=True)
    assert list(made.vocabularies["brand"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"file": "/elsewhere/buy.csv"},
            r"within the logs folder for groups\.buy\.file\. Received: '/elsewhere/buy\.csv'",
        ),
        ({"file": "../buy.csv"}, r"within the logs folder for groups\.buy\.file"),
        ({"timestamp_format": "ms"}, r'Unknown timestamp_format "ms" in \[groups\.buy\]\..*millisecond.*Or a format'),
        ({"columns": {"item": "x"}}, r'Unknown column "item" in \[groups\.buy\.columns\]'),
    ],
)
def test_names_that_are_refused(change, match):
    schema = copy.deepcopy(SCHEMA)
    schema["groups"]["buy"] |= change
    with pytest.raises(ValueError, match=match):
        schema_from_dict(schema)


@pytest.mark.parametrize("name", ["sold.csv", "sold_*.csv"])
def test_a_named_file_that_is_not_there(tmp_path, name):
    (tmp_path / "sales.csv").write_text("a\n1\n")
    schema = copy.deepcopy(SCHEMA)
    schema["entities"]["item"]["file"] = "sales.csv"
    schema["groups"]["buy"]["file"] = name
    schema["user"] = {}
    with pytest.raises(FileNotFoundError, match=r"Expected sold\S* in .*names for behaviors/buy\. Found sales\.csv\."):
        find_logs(str(tmp_path), schema_from_dict(schema | {"tables": {"item": {"dim": 2}, "brand": {"dim": 2}}}))


def test_a_group_of_several_actions_needs_their_column(tmp_path):
    (tmp_path / "buy.csv").write_text("user_id,item_id,timestamp\nu,1,86400\n")
    schema = {
        "tables": {"item": {"dim": 2}},
        "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
        "groups": {"buy": {"entity": "item", "actions": ["buy", "view"], "file": "buy.csv"}},
        "tasks": {"next": {"group": "buy", "negatives": {"uniform": 1}}},
    }
    with pytest.raises(ValueError, match=r'Missing column "action" in .*buy\.csv'):
        prepare(str(tmp_path), schema_from_dict(schema), str(tmp_path / "records"), empty_parts=True)
