"""Folders of tables: parts that are one, types that nothing reads, files that are none."""

import datetime

import polars as pl
import pytest

from atrank_tf.description.tables import read_tables
from atrank_tf.preparation.logs import parts_of


def test_parts_are_one_table_of_the_columns_that_all_have(tmp_path):
    pl.DataFrame({"a": [1], "b": ["x"], "c": [2]}).write_csv(tmp_path / "log_2024-01.csv")
    pl.DataFrame({"b": ["y"], "a": [3], "new": [4], "c": [5]}).write_csv(tmp_path / "log_2024-02.csv")
    [table], _ = read_tables(str(tmp_path))
    assert table.file == "log*.csv"
    assert table.columns["a"].texts.to_list() == ["1", "3"] and table.columns["b"].texts.to_list() == ["x", "y"]
    assert set(table.columns) == {"a", "b", "c"} and table.unread == {"new": "not in all parts"}


def test_files_of_one_stem_with_hardly_a_column_in_common_are_two_tables(tmp_path):
    pl.DataFrame({"a": [1], "b": ["x"], "c": [2]}).write_csv(tmp_path / "log_1.csv")
    pl.DataFrame({"a": [1], "d": ["x"], "e": [2]}).write_csv(tmp_path / "log_2.csv")
    tables, _ = read_tables(str(tmp_path))
    assert [table.file for table in tables] == ["log_1.csv", "log_2.csv"]


def test_partitions_are_one_table(tmp_path):
    for day in ("2024-01-01", "2024-01-02"):
        place = tmp_path / "views" / f"date={day}"
        place.mkdir(parents=True)
        pl.DataFrame({"user_id": ["a", "b"]}).write_parquet(place / "part-0.parquet")
        (place / "_SUCCESS").touch()
    [table], others = read_tables(str(tmp_path))
    assert (table.file, table.rows, others) == ("views", 4, {})
    assert [part.parent.name for part in parts_of(tmp_path / "views")] == ["date=2024-01-01", "date=2024-01-02"]


def test_a_folder_is_its_parts_only_if_nothing_else_is_in_it(tmp_path):
    (tmp_path / "views").mkdir()
    for number in range(2):
        pl.DataFrame({"user_id": ["a", "b"]}).write_parquet(tmp_path / f"views/part-{number}.parquet")
    assert read_tables(str(tmp_path))[0][0].file == "views"
    (tmp_path / "views/notes.txt").write_text("x")
    assert read_tables(str(tmp_path))[0][0].file == "views/part*.parquet"


def test_types_that_nothing_reads_are_named(tmp_path):
    frame = pl.DataFrame(
        {
            "id": [b"k1", b"k2"],
            "raw": [b"\xff\xfe", b"x"],
            "pair": [{"a": 1}, {"a": 2}],
            "stay": [datetime.timedelta(days=1)] * 2,
            "nested": [[["a"]], [["b"]]],
            "colors": pl.Series([["red", "blue"], ["red", "green"]], dtype=pl.Array(pl.String, 2)),
        }
    )
    frame.write_parquet(tmp_path / "things.parquet")
    [table], _ = read_tables(str(tmp_path))
    assert set(table.unread) == {"raw", "pair", "stay", "nested"}
    assert table.unread["stay"].startswith("of type Duration")
    assert table.columns["id"].texts.to_list() == ["k1", "k2"]
    assert set(table.columns["colors"].tokens) == {"red", "blue", "green"}


def test_files_that_are_no_table_are_named(tmp_path):
    pl.DataFrame({"a": [1]}).write_csv(tmp_path / "a.csv")
    pl.DataFrame({"a": []}).write_csv(tmp_path / "header.csv")
    (tmp_path / "events.tsv").write_text("a\tb\n")
    (tmp_path / "nothing.csv").touch()
    (tmp_path / "_SUCCESS").touch()
    _, others = read_tables(str(tmp_path))
    assert others == {
        "events.tsv": "none of .parquet, .csv, .csv.gz",
        "header.csv": "no rows",
        "nothing.csv": "empty",
    }


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected a folder of logs at .*nothing"):
        read_tables(str(tmp_path / "nothing"))


def test_a_folder_without_tables(tmp_path):
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"Expected tables .* with rows in .*\. Found readme\.txt\."):
        read_tables(str(tmp_path))


def test_parts_whose_types_do_not_go_together(tmp_path):
    pl.DataFrame({"a": [1], "b": ["x"]}).write_parquet(tmp_path / "log_1.parquet")
    pl.DataFrame({"a": [[1]], "b": ["x"]}).write_parquet(tmp_path / "log_2.parquet")
    with pytest.raises(ValueError, match=r"log_1\.parquet cannot be read"):
        read_tables(str(tmp_path))
