"""Taobao UserBehavior: the raw file -> logs."""

import polars as pl
import pytest

from atrank_tf.datasets import SOURCES, write_logs
from atrank_tf.preparation import prepare
from atrank_tf.schema import load_schema

SOURCE = SOURCES["taobao_user_behavior"]
BEGIN, DAY = 1_511_539_200, 86_400  # 2017-11-25 00:00 in Beijing


@pytest.fixture
def logs(taobao_raw):
    return SOURCE.logs({"UserBehavior.csv": taobao_raw / "UserBehavior.csv"})


def test_rows_out_of_the_nine_days_are_left_out(logs):
    assert logs["behaviors/interaction"].collect().rows() == [
        (1, 100, "pv", BEGIN),
        (1, 101, "cart", BEGIN + 60),
        (1, 100, "buy", BEGIN + 7 * DAY),
        (1, 102, "pv", BEGIN + 9 * DAY - 1),
        (2, 101, "fav", BEGIN + DAY),
        (2, 101, "pv", BEGIN + 2 * DAY),
        (2, 102, "buy", BEGIN + 8 * DAY),
        (3, 102, "pv", BEGIN + 3),
    ]
    assert logs["behaviors/interaction"].collect_schema().names() == ["user_id", "item_id", "action", "timestamp"]


def test_an_item_has_one_category(logs):
    # Item 101 has the categories 8 and 9; 103 and 104 are in rows that are left out.
    assert sorted(logs["catalog/item"].collect().rows()) == [(100, 7), (101, 8), (102, 8)]


def test_nothing_is_read_before_it_is_written(logs):
    assert all(isinstance(frame, pl.LazyFrame) for frame in logs.values())


def test_a_raw_file_of_another_kind(tmp_path):
    (tmp_path / "UserBehavior.csv").write_text("user,item,category,behavior,timestamp\n1,2,3,pv,5\n")
    with pytest.raises(ValueError, match="behaviors/interaction cannot be made from the raw files: "):
        write_logs(SOURCE.logs({"UserBehavior.csv": tmp_path / "UserBehavior.csv"}), str(tmp_path / "logs"))


def test_the_logs_fit_the_schema(logs, tmp_path):
    write_logs(logs, str(tmp_path / "logs"))
    records = prepare(str(tmp_path / "logs"), load_schema(SOURCE.schema), str(tmp_path / "records"), empty_parts=True)
    assert (records.manifest["users"], records.manifest["behaviors"]) == (3, {"interaction": 8})
    assert records.manifest["files"]["behaviors/interaction"]["dropped"] == {}
    assert records.schema.split.validation_from == BEGIN + 7 * DAY
    assert records.schema.split.test_from == BEGIN + 8 * DAY
