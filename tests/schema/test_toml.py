"""Schema files: TOML in, TOML out, and errors that name the file."""

import datetime

import pytest

from atrank_tf.schema import Candidates, IdFeature, SplitKind, Ties, dump_schema, dump_toml, load_schema, load_toml

TEXT = """
[tables]
product = { dim = 64, min_count = 5 }
category = { dim = 32 }
odd-name = { dim = 1 }

[entities.product]
id = { column = "product_id", table = "product" }
features = { category = "category", "odd \\"column\\"" = { table = "odd-name", max_values = 3, separator = "|" } }
dense = ["price", "weight"]

[entities.query]
id = { column = "text", table = "category" }

[groups.purchase]
entity = "product"
actions = ["regular", "discounted"]
columns = { user_id = "household" }

[groups.search]
entity = "query"
actions = ["type"]
max_length = 20

[tasks.next_purchase]
group = "purchase"
actions = ["regular"]
negatives = { uniform = 4, popularity = 1, unseen = false, exclude = "ever_chosen" }
ties = "ordered"

[tasks.next_search]
group = "search"
candidates = "impressions"
context = { features = { slot = "category" }, dense = ["score"] }

[user]
features = { age = "category" }
dense = ["income"]

[time]
unit = "hour"

[split]
kind = "by_time"
validation_from = 2017-08-08
test_from = 2017-10-30T12:00:00Z
"""


def write(tmp_path, text):
    path = tmp_path / "schema.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_schema_is_read(tmp_path):
    schema = load_schema(write(tmp_path, TEXT))
    assert schema.entities["product"].features["category"] == IdFeature(table="category")
    assert schema.entities["product"].features['odd "column"'].separator == "|"
    assert list(schema.entities["product"].dense) == ["price", "weight"]
    assert schema.tasks["next_purchase"].ties is Ties.ORDERED
    assert schema.tasks["next_search"].candidates is Candidates.IMPRESSIONS
    assert schema.split.kind is SplitKind.BY_TIME
    assert schema.split.validation_from == datetime.datetime(2017, 8, 8, tzinfo=datetime.UTC).timestamp()
    assert schema.split.test_from == datetime.datetime(2017, 10, 30, 12, tzinfo=datetime.UTC).timestamp()


def test_dump_and_load_give_the_same_schema(tmp_path):
    schema = load_schema(write(tmp_path, TEXT))
    again = load_schema(write(tmp_path, dump_schema(schema)))
    assert again == schema
    # Order is content: it is the order of the model's inputs.
    assert list(again.tables) == list(schema.tables)
    assert list(again.groups) == list(schema.groups)
    assert dump_schema(again) == dump_schema(schema)


def test_defaults_are_not_written(tmp_path):
    text = dump_schema(load_schema(write(tmp_path, TEXT)))
    assert "max_length = 20" in text
    assert "max_length = 100" not in text


def test_a_wrong_key_names_the_file(tmp_path):
    path = write(tmp_path, TEXT.replace("max_length", "max_lenght"))
    with pytest.raises(
        ValueError, match=r'Unknown key "max_lenght" in \[groups\.search\].*"max_length".*\(in .*schema'
    ):
        load_schema(path)


def test_no_toml(tmp_path):
    with pytest.raises(ValueError, match=r"schema\.toml is not valid TOML: .*line 1"):
        load_schema(write(tmp_path, "tables = \n[time]"))


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "1" * 5_000])
def test_toml_that_python_cannot_hold(tmp_path, text):
    with pytest.raises(ValueError, match=r"schema\.toml is not valid TOML: "):
        load_schema(write(tmp_path, text))


def test_no_utf8(tmp_path):
    path = tmp_path / "schema.toml"
    path.write_bytes(b"a = '\xff'")
    with pytest.raises(ValueError, match="is not valid TOML"):
        load_toml(str(path))


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_no_file(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=r"Expected a TOML file at .*\. Found none\."):
        load_toml(str(tmp_path / name))


def test_tables_of_any_values_are_read_back(tmp_path):
    tables = {
        "model": {"name": "x", "on": True, "off": False, "rate": 1e-6, "sizes": [64, 32], "weights": {"a b": 0.5}},
        "a b": {},
        "\x7f": {"\x00\x7f": '\x7f\\"\n'},
    }
    assert load_toml(write(tmp_path, dump_toml(tables))) == tables


def test_an_experiment_in_place_of_a_schema(tmp_path):
    (tmp_path / "experiment.toml").write_text('[model]\nname = "atrank"\n[training]\nepochs = 1\n')
    with pytest.raises(
        ValueError, match=r'Unknown key "model" .* This is an experiment file, which train takes; prepare'
    ):
        load_schema(str(tmp_path / "experiment.toml"))
