"""The logs folder: what is found, what is refused before a row is cleaned."""

import gzip

import polars as pl
import pytest

from atrank_tf.preparation.log_reader import LogReader
from atrank_tf.preparation.logs import find_logs
from atrank_tf.preparation.open_log import Piece, as_error, open_log
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


def parts(tmp_path, name, files):
    """Writes the parts of a log: text, or a dict of columns as Parquet."""
    folder(tmp_path, *(file for file in FILES if not file.startswith("behaviors/click")))
    (tmp_path / name).mkdir(parents=True)
    for file, content in files.items():
        path = tmp_path / name / file
        if isinstance(content, dict):
            pl.DataFrame(content).write_parquet(path)
        else:
            path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())


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
    schema["groups"] = {**SCHEMA["groups"], "befriend": {"entity": "user", "actions": ["ask"]}}
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
    rows = opened(tmp_path, "behaviors/click").frame.collect()
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
        ("user_id,item_id\n1,2\n1,2,3\n", r"click\.csv cannot be read: row 2 has 3 values"),
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


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_further_column_may_be_called_row(tmp_path, ending):
    folder(tmp_path, *FILES[1:])
    frame = pl.DataFrame({"row": ["x", "y"], "user_id": ["7", "8"], "item_id": ["a", "b"]})
    (frame.write_parquet if ending == "parquet" else frame.write_csv)(tmp_path / f"behaviors/click.{ending}")
    rows = opened(tmp_path, "behaviors/click").frame.collect()
    assert rows.to_dict(as_series=False) == {"row": [1, 2], "user": ["7", "8"], "id": ["a", "b"]}
    named = opened(tmp_path, "behaviors/click", {"user": "row"}).frame.collect()
    assert named.to_dict(as_series=False) == {"row": [1, 2], "user": ["x", "y"]}


def test_a_column_without_a_name_is_no_other_twice(tmp_path):
    folder(tmp_path, *FILES[1:])
    (tmp_path / "behaviors/click.csv").write_text(",user_id,item_id\n0,7,a\n1,8,b\n")
    assert opened(tmp_path, "behaviors/click").frame.collect()["user"].to_list() == ["7", "8"]


def test_what_says_that_nothing_is_there_is_missing_in_a_csv_file_and_a_text_in_a_parquet_file(tmp_path):
    folder(tmp_path, *FILES[1:])
    users = ["NaN", "nan", "NULL", "null", r"\N", "Nan", "nanna", "N", "Null"]
    frame = pl.DataFrame({"user_id": users, "item_id": ["1", "", None, *"234567"]})
    frame.write_csv(tmp_path / "behaviors/click.csv")
    assert opened(tmp_path, "behaviors/click").frame.collect()["user"].to_list() == [None] * 5 + users[5:]
    (tmp_path / "behaviors/click.csv").unlink()
    frame.write_parquet(tmp_path / "behaviors/click.parquet")
    assert opened(tmp_path, "behaviors/click").frame.collect()["user"].to_list() == users


@pytest.mark.parametrize(("cut", "match"), [(b"", "unexpected end of file"), (b"????5678", "corrupt gzip stream")])
def test_a_damaged_archive_is_named(tmp_path, cut, match):
    folder(tmp_path, *FILES[1:])
    whole = gzip.compress(b"user_id,item_id\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(5_000)))
    (tmp_path / "behaviors/click.csv.gz").write_bytes(whole[:-8] + cut)  # The end is a checksum and a size.
    with pytest.raises(ValueError, match=rf"behaviors/click\.csv\.gz cannot be read: {match}"):
        opened(tmp_path, "behaviors/click")


def test_what_the_system_says_stays_an_error_of_the_system(tmp_path):
    file = found(tmp_path, *FILES).used["behaviors/click"]
    file.path.unlink()
    with pytest.raises(FileNotFoundError, match=r"behaviors/click\.csv"):
        open_log(file, {"user": "user_id"}, tmp_path / "copies")
    with pytest.raises(PermissionError, match="denied"), as_error(file.path):
        raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("name", ["behaviors/click", "behaviors/click.parquet"])
def test_a_folder_of_parts_is_read_as_one_file(tmp_path, name):
    later, earlier = {"item_id": ["c"], "user_id": ["9"]}, {"user_id": ["7", "8"], "item_id": ["a", "b"], "new": [1, 2]}
    parts(tmp_path, name, {"b.parquet": later, "a.parquet": earlier, "_SUCCESS": "", ".a.parquet.crc": "?"})
    opened_log = opened(tmp_path, "behaviors/click")
    expected = {"row": [1, 2, 3], "user": ["7", "8", "9"], "id": ["a", "b", "c"]}
    assert opened_log.frame.collect().to_dict(as_series=False) == expected
    assert opened_log.rows == (2, 1)
    assert find_logs(str(tmp_path), schema_from_dict(SCHEMA)).ignored == ()


def test_of_a_piece_no_other_part_is_opened(tmp_path):
    rows = {name: [f"{name}{row}" for row in range(3)] for name in "abc"}
    written = {f"{name}.parquet": {"user_id": ["u"] * 3, "item_id": ids} for name, ids in rows.items()}
    parts(tmp_path, "behaviors/click", written)
    names = {"user": "user_id", "id": "item_id"}
    reader = LogReader(find_logs(str(tmp_path), schema_from_dict(SCHEMA)).used["behaviors/click"], names, tmp_path)
    reader.ids("id")
    reader.drop_missing("id", "object id")
    assert reader.pieces(2) == [(0, 0, 2), (0, 2, 3), (1, 0, 2), (1, 2, 3), (2, 0, 2), (2, 2, 3)]
    for name in "ac":
        (tmp_path / f"behaviors/click/{name}.parquet").unlink()
    for piece in reader.pieces(2)[2:4]:
        assert reader.check_columns(piece)["missing object id"].rows == 0
    kept = [reader.clean(reader.check_columns(piece), piece).collect() for piece in reader.pieces(2)[2:4]]
    assert pl.concat(kept).to_dict(as_series=False) == {"row": [4, 5, 6], "id": rows["b"]}


def test_parts_may_be_csv_files_packed_or_not(tmp_path):
    days = {"2.csv": "item_id,user_id\nb,8\n", "1.csv.gz": "user_id,item_id\n7,a\n", "3.csv": "user_id,item_id\n"}
    parts(tmp_path, "behaviors/click", days)
    opened_log = opened(tmp_path, "behaviors/click")
    expected = {"row": [1, 2], "user": ["7", "8"], "id": ["a", "b"]}
    assert opened_log.frame.collect().to_dict(as_series=False) == expected
    assert opened_log.rows == (1, 1, 0)


PART = {"user_id": [1], "item_id": [2]}
NULLS = {"user_id": [1], "item_id": pl.Series([None], dtype=pl.Null)}


def test_a_piece_of_a_part_without_any_value_has_the_type_of_the_others(tmp_path):
    parts(tmp_path, "behaviors/click", {"a.parquet": NULLS, "b.parquet": PART})
    opened_log = opened(tmp_path, "behaviors/click")
    pieces = [opened_log.piece(Piece(part, 0, 1)).collect() for part in range(2)]
    assert pl.concat(pieces).equals(opened_log.frame.collect())


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({}, r"Expected files in the folder .*click, all \.parquet or all \.csv and \.csv\.gz\. Found none\."),
        ({"_SUCCESS": ""}, r"Found none\. Those that begin with _ or \. are left out\."),
        ({"a.parquet": PART, "b.csv": "x", "c.csv": "x"}, r"Found a\.parquet, b\.csv\."),
        ({"a.txt": "x", "b.csv": "x"}, r"Found a\.txt, b\.csv\."),
        ({"a.parquet": PART, "b.parquet": {"user_id": [1]}}, r'Missing column "item_id" in .*click/b\.parquet\.'),
        ({"a.parquet": PART, "b.parquet": {"user_id": ["1"], "item_id": [2]}},
         r'Expected Int64 in column "user_id" of .*/b\.parquet, as in a\.parquet\. Received: String\. Write all parts'),
        ({"a.parquet": NULLS, "b.parquet": PART, "c.parquet": {"user_id": [1], "item_id": ["x"]}},
         r'Expected Int64 in column "item_id" of .*/c\.parquet, as in b\.parquet\. Received: String\.'),
        ({"a.csv": "user_id,item_id\n1,2\n", "b.csv": "user_id,item_id\n1,2,3\n"}, r"click/b\.csv cannot be read: "),
        ({"a.parquet": PART, "b.parquet": "x"}, r"click/b\.parquet cannot be read: "),
        ({"a.csv": "user_id,item_id\n", "b.csv": "user_id,item_id\n"}, r"Expected rows in .*click\. Found none\."),
    ],
)  # fmt: skip
def test_parts_that_do_not_go_together(tmp_path, files, match):
    parts(tmp_path, "behaviors/click", files)
    with pytest.raises(ValueError, match=match):
        opened(tmp_path, "behaviors/click")


def test_a_folder_in_a_folder_of_parts(tmp_path):
    parts(tmp_path, "behaviors/click", {"a.parquet": PART})
    (tmp_path / "behaviors/click/old").mkdir()
    with pytest.raises(ValueError, match=r"Found a\.parquet, old\."):
        opened(tmp_path, "behaviors/click")


def test_partitions_are_parts(tmp_path):
    for place in ("date=2024-01-02", "date=2024-01-01/country=DE", "date=2024-01-01/country=CH"):
        (tmp_path / "behaviors/click" / place).mkdir(parents=True)
    folder(tmp_path, *(file for file in FILES if not file.startswith("behaviors/click")))
    for user, place in enumerate(("date=2024-01-01/country=CH", "date=2024-01-01/country=DE", "date=2024-01-02")):
        one = tmp_path / "behaviors/click" / place
        pl.DataFrame({"user_id": [user], "item_id": ["a"]}).write_parquet(one / "part-0.parquet")
        (one / "_SUCCESS").touch()
    assert opened(tmp_path, "behaviors/click").frame.collect()["user"].to_list() == [0, 1, 2]
    assert find_logs(str(tmp_path), schema_from_dict(SCHEMA)).ignored == ()


@pytest.mark.parametrize("order", ["abn", "anb", "nab"])
def test_a_part_of_nulls_has_no_type_of_its_own(tmp_path, order):
    days = {"a": PART, "b": {"user_id": [1], "item_id": [3]}, "n": NULLS}
    parts(tmp_path, "behaviors/click", {f"{day}.parquet": days[name] for day, name in enumerate(order)})
    ids = {"a": 2, "b": 3, "n": None}
    assert opened(tmp_path, "behaviors/click").frame.collect()["id"].to_list() == [ids[name] for name in order]


def test_a_column_of_nulls_alone_is_one_in_each_part(tmp_path):
    parts(tmp_path, "behaviors/click", {"a.parquet": NULLS, "b.parquet": NULLS})
    assert opened(tmp_path, "behaviors/click").frame.collect()["id"].to_list() == [None, None]


def test_a_part_that_is_damaged_in_a_column_is_named(tmp_path):
    parts(tmp_path, "behaviors/click", {f"{name}.parquet": PART for name in "abc"})
    damaged, magic = tmp_path / "behaviors/click/b.parquet", b"\x28\xb5\x2f\xfd"  # Of a compressed page.
    damaged.write_bytes(damaged.read_bytes().replace(magic, b"????"))
    frame = opened(tmp_path, "behaviors/click").frame
    with pytest.raises(ValueError, match=r"click/b\.parquet cannot be read: "), as_error(damaged.parent):
        frame.collect()


def test_a_file_and_a_folder_for_one_name(tmp_path):
    parts(tmp_path, "behaviors/click", {"a.parquet": PART})
    with pytest.raises(ValueError, match=r"Expected one file for .*Found behaviors/click, behaviors/click\.csv\."):
        found(tmp_path, *FILES)


def test_a_folder_of_another_name_is_ignored_and_reported(tmp_path):
    (tmp_path / "behaviors/clicks.parquet").mkdir(parents=True)
    assert found(tmp_path, *FILES).ignored == ("behaviors/clicks.parquet",)
    (tmp_path / "behaviors/click.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"Expected behaviors/click .*\. Found behaviors/clicks\.parquet"):
        find_logs(str(tmp_path), schema_from_dict(SCHEMA))


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_csv_file_may_have_another_separator(tmp_path, separator, quote):
    folder(tmp_path, *FILES)
    lines = [["user_id", "item_id", "note"], ["7", "a,b", "x"], ["8", "c", ""]]
    text = "\n".join(separator.join(f"{quote}{value}{quote}" for value in line) for line in lines)
    (tmp_path / "behaviors/click.csv").write_text(text + "\n")
    rows = opened(tmp_path, "behaviors/click").frame.collect()
    assert rows["user"].to_list() == ["7", "8"] and rows["id"].to_list() == ["a,b", "c"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_file_that_has_a_column_twice(tmp_path, separator):
    folder(tmp_path, *FILES)
    lines = [["user_id", "item_id", "user_id"], ["7", "a", "8"]]
    (tmp_path / "behaviors/click.csv").write_text("".join(separator.join(line) + "\n" for line in lines))
    with pytest.raises(ValueError, match=r'Expected each column once in .*click\.csv\. Received "user_id" twice\.'):
        opened(tmp_path, "behaviors/click")


@pytest.mark.parametrize(
    ("line", "where"),
    [("usé;item", r"the first line, read as Latin-1: 'usé;item'"), ("8,ébène", r"row 3, read as Latin-1: '8,ébène'")],
)
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_a_csv_file_that_is_not_utf_8(tmp_path, line, where, ending):
    folder(tmp_path, *FILES)
    head = ["user_id,item_id", "7,a", "8,b"] if where.startswith("row") else []
    content = "\n".join([*head, line, "9,c", ""]).encode("latin-1")
    (tmp_path / "behaviors/click.csv").unlink()
    (tmp_path / f"behaviors/click.{ending}").write_bytes(gzip.compress(content) if ending == "csv.gz" else content)
    match = rf"Expected UTF-8 in .*click\.{ending}\. Received in {where}\. Save it as UTF-8\."
    with pytest.raises(ValueError, match=match):
        opened(tmp_path, "behaviors/click")


@pytest.mark.parametrize(
    ("name", "head", "columns", "match"),
    [
        (
            "behaviors/click",
            "user,item_id",
            {},
            r'"user_id" in .* Its name in the file may stand in \[groups\.click\.columns\]',
        ),
        (
            "behaviors/click",
            "user_id,item",
            {},
            r'"item_id" in .* "item"\? Valid: .* may stand in \[groups\.click\.columns\] of',
        ),
        (
            "impressions/next",
            "user,item_id",
            {},
            r'"user_id" in .* may stand in \[tasks\.next\.columns\] of the schema\.$',
        ),
        (
            "catalog/item",
            "id,brand",
            {"id": "item_id", "x": "brand"},
            r".* may stand in \[entities\.item\.id\] of the schema",
        ),
        ("catalog/item", "item_id,b", {"id": "item_id", "feature/x": "brand"}, r'"brand" in .*\. Valid: b, item_id\.$'),
    ],
)
def test_a_missing_column_that_the_schema_may_rename(tmp_path, name, head, columns, match):
    folder(tmp_path, *FILES)
    (tmp_path / f"{name}.csv").write_text(f"{head}\n1,2\n")
    with pytest.raises(ValueError, match=f"Missing column {match}"):
        opened(tmp_path, name, columns or {"user": "user_id", "id": "item_id"})


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (["1,2", "3,4,5"], r"click\.csv cannot be read: row 2 has 3 values, and the first line the names of 2\."),
        (
            ["1,2", '3,"4', "5,6"],
            r"click\.csv cannot be read: row 2 has a quotation mark that is not closed in its line\.",
        ),
    ],
)
@pytest.mark.parametrize("separator", [",", ";"])
def test_a_row_that_is_no_row_is_told(tmp_path, rows, match, separator):
    folder(tmp_path, *FILES)
    text = "\n".join(["user_id,item_id", *rows, ""]).replace(",", separator)
    (tmp_path / "behaviors/click.csv").write_text(text)
    with pytest.raises(ValueError, match=match):
        opened(tmp_path, "behaviors/click")


def test_a_missing_file_may_be_there_by_another_name(tmp_path):
    (tmp_path / "clicks_2024.csv").write_text("user_id,item_id\n1,2\n")
    for missing, section in (("behaviors/click", r"groups\.click"), ("catalog/item", r"entities\.item")):
        others = [name for name in FILES if not name.startswith(missing)]
        match = rf"Found .*clicks_2024\.csv\. A file of another name or place is named by file in \[{section}\] of the"
        with pytest.raises(FileNotFoundError, match=match):
            found(tmp_path, *others)
        for name in FILES:
            (tmp_path / name).unlink(missing_ok=True)
    users = {**SCHEMA, "user": {"features": {"age": "brand"}}}
    with pytest.raises(FileNotFoundError, match=r"Expected catalog/user .* by file in \[user\] of the schema"):
        found(tmp_path, *FILES, schema=users)


def test_a_csv_file_without_names(tmp_path):
    folder(tmp_path, *FILES)
    (tmp_path / "behaviors/click.csv").write_text("1,2\n3,4\n")
    with pytest.raises(
        ValueError, match=r"Missing column .* The first line of a CSV file has the names of its columns\.$"
    ):
        opened(tmp_path, "behaviors/click")
