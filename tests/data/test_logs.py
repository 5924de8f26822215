"""The logs folder: what is found, what is refused before a row is cleaned."""

import gzip

import polars as pl
import pytest

from atrank_tf.data.logs import find_logs, open_log
from atrank_tf.schema import schema_from_dict

SCHEMA = {
    "tables": {"item": {"dim": 2}, "query": {"dim": 2}, "brand": {"dim": 2}},
    "entities": {
        "item": {"id": {"column": "item_id", "table": "item"}, "features": {"brand": "brand"}},
        "query": {"id": {"column": "text", "table": "query"}},
    },
    "groups": {"click": {"entity": "item", "actions": ["view"]}, "search": {"entity": "query", "actions": ["type"]}},
    "tasks": {"next": {"group": "click", "candidates": "impressions"}},
}
FILES = ("behaviors/click.csv", "behaviors/search.csv", "catalog/item.csv", "impressions/next.csv")


def folder(tmp_path, *files):
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("user_id,item_id\n1,2\n3,4\n")
    return str(tmp_path)


def found(tmp_path, *files, schema=SCHEMA):
    return find_logs(folder(tmp_path, *files), schema_from_dict(schema))


def opened(tmp_path, name, columns=None):
    logs = find_logs(str(tmp_path), schema_from_dict(SCHEMA))
    return open_log(logs.used[name], columns or {"user": "user_id", "id": "item_id"}, tmp_path / "copies")


def test_files_are_found_by_name(tmp_path):
    logs = found(tmp_path, *FILES)
    assert set(logs.used) == {name.removesuffix(".csv") for name in FILES}
    assert logs.used["catalog/item"].path == tmp_path / "catalog/item.csv"
    assert logs.ignored == ()


def test_a_catalog_is_needed_only_for_side_features(tmp_path):
    assert "catalog/query" not in found(tmp_path, *FILES).used
    assert "catalog/query" in found(tmp_path, "catalog/query.csv").used


def test_what_no_name_asks_for_is_ignored_and_reported(tmp_path):
    more = ("behaviors/old.parquet", "behaviors/click.txt", "catalog/user.csv", "impressions/x.csv.gz")
    logs = found(tmp_path, *FILES, *more, "behaviors/.hidden")
    assert logs.ignored == tuple(sorted(more))


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected a logs folder at .*nowhere\. Found none\."):
        find_logs(str(tmp_path / "nowhere"), schema_from_dict(SCHEMA))


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_lists_what_is_there(tmp_path, missing):
    others = [name for name in FILES if name != missing]
    match = rf"Expected {missing.removesuffix('.csv')} \(\.parquet, \.csv, \.csv\.gz\) in .*\. Found .*{others[0]}"
    with pytest.raises(FileNotFoundError, match=match):
        found(tmp_path, *others)


def test_an_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="Found nothing"):
        found(tmp_path)


def test_the_user_catalog_is_needed_for_user_features(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected catalog/user"):
        found(tmp_path, *FILES, schema={**SCHEMA, "user": {"features": {"age": "brand"}}})


def test_two_files_for_one_name(tmp_path):
    match = r"Expected one file for behaviors/click in .*\. Found behaviors/click\.parquet, behaviors/click\.csv\."
    with pytest.raises(ValueError, match=match):
        found(tmp_path, *FILES, "behaviors/click.parquet")


def test_an_entity_that_is_called_user(tmp_path):
    people = {"user": {"id": {"column": "friend", "table": "query"}}}
    schema = {**SCHEMA, "entities": SCHEMA["entities"] | people, "user": {"features": {"age": "brand"}}}
    with pytest.raises(ValueError, match=r"\[entities\.user\] and \[user\] would both read catalog/user\."):
        found(tmp_path, *FILES, schema=schema)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_rows_are_numbered_from_1_in_every_format(tmp_path, ending):
    folder(tmp_path, *FILES)
    (tmp_path / "behaviors/click.csv").unlink()
    path = tmp_path / f"behaviors/click.{ending}"
    frame = pl.DataFrame({"user_id": [7, 8], "other": ["x", "y"], "item_id": ["a", ""]})
    if ending == "parquet":
        frame.write_parquet(path)
    else:
        text = frame.write_csv().encode()
        path.write_bytes(gzip.compress(text) if ending == "csv.gz" else text)
    rows = opened(tmp_path, "behaviors/click").collect()
    assert rows.columns == ["row", "user", "id"]
    assert rows["row"].to_list() == [1, 2]
    assert rows["user"].cast(pl.String).to_list() == ["7", "8"]


def test_a_missing_column_says_which_was_meant(tmp_path):
    folder(tmp_path, *FILES)
    (tmp_path / "behaviors/click.csv").write_text("userid,item_id\n1,2\n")
    match = r'Missing column "user_id" in .*click\.csv\. Did you mean "userid"\? Valid: item_id, userid\.'
    with pytest.raises(ValueError, match=match):
        opened(tmp_path, "behaviors/click")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", r"click\.csv cannot be read: empty CSV\."),
        ("user_id,item_id\n", r"Expected rows in .*click\.csv\. Found none\."),
        ("user_id,item_id\n1,2\n1,2,3\n", r"click\.csv cannot be read: found more fields"),
    ],
)
def test_a_file_that_holds_nothing_usable(tmp_path, content, match):
    folder(tmp_path, *FILES)
    (tmp_path / "behaviors/click.csv").write_text(content)
    with pytest.raises(ValueError, match=match):
        opened(tmp_path, "behaviors/click")


def test_a_broken_parquet_file(tmp_path):
    folder(tmp_path, *FILES[1:], "behaviors/click.parquet")
    with pytest.raises(ValueError, match=r"click\.parquet cannot be read: "):
        opened(tmp_path, "behaviors/click")
