"""Raw files found or downloaded; logs written whole or not at all."""

import polars as pl
import pytest

from atrank_tf.datasets import SOURCES, Source, download, write_logs
from atrank_tf.schema import load_schema

ROWS = pl.DataFrame({"user_id": [1, 2], "item_id": [3, 4]})


def source(url):
    return Source(about="", page="https://example.org", schema="", logs=dict, files=("a", "b"), url=url)


def refuse(urls):
    raise AssertionError(urls)


def test_files_that_are_there_are_not_downloaded(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("")
    assert source("http://x/").raw_files(tmp_path, refuse) == {"a": tmp_path / "a", "b": tmp_path / "b"}


def test_only_missing_files_are_downloaded(tmp_path):
    (tmp_path / "b").write_text("")
    asked = []

    def download(urls):
        asked.append(urls)
        return {"a": "/downloads/hash-of-a"}

    found = source("http://x/").raw_files(tmp_path, download)
    assert asked == [{"a": "http://x/a"}]
    assert {name: str(path) for name, path in found.items()} == {"a": "/downloads/hash-of-a", "b": str(tmp_path / "b")}


@pytest.mark.parametrize("given", [True, False])
def test_a_file_is_missing_that_only_a_person_may_download(tmp_path, given):
    (tmp_path / "b").write_text("")
    missing, place = ("a", str(tmp_path)) if given else ("a, b", "which was not given")
    with pytest.raises(FileNotFoundError, match=f"Expected {missing} in the folder of raw files, {place} .*Found none"):
        source("").raw_files(tmp_path if given else None, refuse)


def test_a_file_is_downloaded_once(tmp_path, serve):
    (tmp_path / "public").mkdir()
    (tmp_path / "public/a.gz").write_bytes(b"raw")
    url = serve(tmp_path / "public") + "a.gz"
    (first,) = download({"a.gz": url}, tmp_path / "raw").values()
    (tmp_path / "public/a.gz").unlink()
    (second,) = download({"a.gz": url}, tmp_path / "raw").values()
    assert (first.read_bytes(), second) == (b"raw", first)


def test_logs_are_parquet_files(tmp_path):
    write_logs({"behaviors/click": ROWS.lazy(), "catalog/item": ROWS.lazy()}, str(tmp_path / "of/many/logs"))
    assert pl.read_parquet(tmp_path / "of/many/logs/behaviors/click.parquet").equals(ROWS)
    assert sorted(path.name for path in (tmp_path / "of/many/logs").iterdir()) == ["behaviors", "catalog"]


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    with pytest.raises(FileExistsError, match=r"Expected nothing at .*\. Remove it, or choose another folder\."):
        write_logs({}, str(tmp_path))


def test_a_failure_leaves_nothing(tmp_path):
    broken = ROWS.lazy().select(pl.col("user_id").cast(pl.String).str.to_integer(base=2))
    with pytest.raises(ValueError, match=r"catalog/item cannot be made from the raw files: .*1"):
        write_logs({"behaviors/click": ROWS.lazy(), "catalog/item": broken}, str(tmp_path / "logs"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["complete_journey", "movielens_100k", "taobao_user_behavior", "amazon_reviews_2014/books"]
)
def test_every_source_brings_a_schema(name):
    assert not load_schema(SOURCES[name].schema).prepared
