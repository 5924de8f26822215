"""Rows divided by user: the same division everywhere, nothing lost."""

import polars as pl
import pytest

from atrank_tf.preparation.staging import Staging, shard_column, shard_of


def test_the_shard_of_a_user_never_changes():
    # CRC-32 of the UTF-8 bytes, the check value of the algorithm among them.
    assert shard_of("123456789", 2**32) == 0xCBF43926
    assert [shard_of(user, 7) for user in ("u1", "ü", "")] == [5, 4, 0]


@pytest.mark.parametrize("shards", [1, 5])
def test_every_row_is_in_the_shard_of_its_user(tmp_path, shards):
    rows = pl.DataFrame({"user": [f"u{number % 23}" for number in range(400)], "row": range(400)})
    staging = Staging(tmp_path, shards)
    staging.write("behaviors/click", rows.lazy())
    parts = [staging.read("behaviors/click", shard) for shard in range(shards)]
    for shard, part in enumerate(parts):
        assert part.columns == ["user", "row"]
        assert {shard_of(user, shards) for user in part["user"]} == {shard}
    assert pl.concat(parts).sort("row").equals(rows.select("user", "row"))


def test_a_shard_without_rows(tmp_path):
    staging = Staging(tmp_path, 2**20)
    staging.write("behaviors/click", pl.LazyFrame({"user": ["u"]}))
    assert staging.read("behaviors/click", shard_of("u", 2**20)) is not None
    assert staging.read("behaviors/click", 1 + shard_of("u", 2**20)) is None
    assert staging.read("behaviors/other", 0) is None


def test_no_rows_have_no_shards():
    assert pl.DataFrame(schema={"user": pl.String}).select(shard_column("user", 3)).schema == {"shard": pl.Int32}


def test_rows_are_replaced(tmp_path):
    staging = Staging(tmp_path, 1)
    staging.write("x", pl.LazyFrame({"user": ["u", "v"]}))
    staging.replace("x", 0, pl.DataFrame({"user": ["v"]}))
    assert staging.read("x", 0)["user"].to_list() == ["v"]
