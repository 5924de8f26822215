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
    for piece in range(4):
        staging.divide("behaviors/click", piece, rows[100 * piece : 100 * piece + 100].lazy())
    parts = [staging.divided("behaviors/click", shard) for shard in range(shards)]
    for shard, part in enumerate(parts):
        assert part.columns == ["user", "row"]
        assert {shard_of(user, shards) for user in part["user"]} == {shard}
    assert pl.concat(parts).sort("row").equals(rows.select("user", "row"))


def test_a_shard_without_rows(tmp_path):
    staging = Staging(tmp_path, 2**20)
    staging.divide("behaviors/click", 0, pl.LazyFrame({"user": ["u"]}))
    staging.divide("behaviors/click", 1, pl.LazyFrame({"user": []}, schema={"user": pl.String}))
    assert staging.divided("behaviors/click", shard_of("u", 2**20)) is not None
    assert staging.divided("behaviors/click", 1 + shard_of("u", 2**20)) is None
    assert staging.divided("behaviors/other", 0) is None
    assert staging.read("behaviors/click", shard_of("u", 2**20)) is None


def test_no_rows_have_no_shards():
    assert pl.DataFrame(schema={"user": pl.String}).select(shard_column("user", 3)).schema == {"shard": pl.Int32}


def test_what_is_kept_is_beside_what_it_was_made_of(tmp_path):
    staging = Staging(tmp_path, 1)
    staging.divide("x", 0, pl.LazyFrame({"user": ["u", "v"]}))
    staging.keep("x", 0, pl.DataFrame({"user": ["v"]}))
    assert sorted(staging.divided("x", 0)["user"]) == ["u", "v"]  # For a worker that has to do it again.
    staging.forget("x", 0)
    assert staging.divided("x", 0) is None
    assert staging.read("x", 0)["user"].to_list() == ["v"]


@pytest.mark.parametrize("at_a_time", [False, True])
def test_a_piece_that_is_divided_twice(tmp_path, monkeypatch, at_a_time):
    staging, frame = Staging(tmp_path, 2), pl.LazyFrame({"user": ["u", "v", "w"]})
    if at_a_time:  # The other one is there between this one's look and its last step.
        other = Staging(tmp_path, 2)
        mkdir = type(tmp_path).mkdir

        def slow(path, *arguments, **named):
            if path.name.startswith("partial-"):
                monkeypatch.undo()
                other.divide("x", 0, frame)
            mkdir(path, *arguments, **named)

        monkeypatch.setattr(type(tmp_path), "mkdir", slow)
    else:
        staging.divide("x", 0, frame)
    staging.divide("x", 0, frame)
    found = [rows for shard in range(2) if (rows := staging.divided("x", shard)) is not None]
    assert sorted(pl.concat(found)["user"]) == ["u", "v", "w"]
    assert [path.name for path in (tmp_path / "divided/x").iterdir()] == ["000000"]


def test_a_piece_that_cannot_be_put_in_its_place(tmp_path, monkeypatch):
    def full(path, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "rename", full)
    with pytest.raises(OSError, match="No space left on device"):
        Staging(tmp_path, 2).divide("x", 0, pl.LazyFrame({"user": ["u"]}))
