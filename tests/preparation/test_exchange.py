"""Workers that share nothing but a store write the records of the local engine, and leave nothing behind."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fake_stores import FakeStore
from records_content import content_of
from worker_functions import OtherMachines

from atrank_tf import stores
from atrank_tf.preparation import passes, prepare
from atrank_tf.preparation.exchange import through_stores
from atrank_tf.schema import Schema, load_schema
from atrank_tf.stores import StoreCopy, put_files, stored_files, stored_folders


@pytest.fixture(scope="module")
def schema(schema_file: Path) -> Schema:
    return load_schema(str(schema_file))


class Market:
    """Logs in a bucket, copied to this machine as the command does it, and two other machines."""

    def __init__(self, bucket: str, logs: Path, folder: Path) -> None:
        names = [path.relative_to(logs) for path in logs.rglob("*.*")]
        put_files({logs / name: f"{bucket}/logs/{name.as_posix()}" for name in names})
        self.copies = {}
        for name in ("logs", "records", "records_later"):
            (folder / name).mkdir(parents=True)
            self.copies[name] = StoreCopy(f"{bucket}/{name}", folder / name)
        self.roots = [copy.root for copy in self.copies.values()]
        self.machines = OtherMachines(self.roots, folder / "disks")

    def path(self, name: str) -> str:
        return str(self.copies[name].path)


@pytest.fixture
def market(bucket: str, logs: Path, tmp_path: Path) -> Market:
    return Market(bucket, logs, tmp_path / "copies")


@pytest.mark.parametrize("bucket", ["gs", pytest.param("s3", marks=pytest.mark.slow)], indirect=True)
def test_workers_that_share_no_folder_write_the_same_records(
    bucket: str, logs: Path, schema: Schema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of CSV files, which the launching process converts, and of Parquet files as they stand in the store."""
    monkeypatch.setattr(passes, "PIECE_ROWS", 300)
    expected = content_of(prepare(str(logs), schema, str(tmp_path / "expected")).path)
    bucket = f"{bucket}/shop [1]"  # No pattern, though it looks like one.
    market = Market(bucket, logs, tmp_path / "copies")
    with through_stores(market.machines, market.roots) as engine:
        made = prepare(market.path("logs"), schema, market.path("records"), engine=engine)
    assert content_of(made.path) == expected
    assert min(market.machines.did) > 10
    assert not market.machines.files(0) and not market.machines.files(1)
    assert stored_folders(bucket) == ["logs"]


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_logs_are_added_to_records_in_a_store(market: Market, logs: Path, schema: Schema, tmp_path: Path) -> None:
    """What stands is fetched by the workers, too."""
    later = tmp_path / "later"
    (later / "behaviors").mkdir(parents=True)
    rows = pl.read_csv(logs / "behaviors/purchase.csv").head(50)
    rows.with_columns(pl.col("timestamp") + 10_000_000).write_csv(later / "behaviors/purchase.csv")
    with through_stores(market.machines, market.roots) as engine:
        before = prepare(market.path("logs"), schema, market.path("records"), engine=engine)
    market.copies["records"].put()
    expected = content_of(prepare(str(later), schema, str(tmp_path / "expected"), append=before.path).path)
    with through_stores(market.machines, market.roots) as engine:
        made = prepare(str(later), schema, market.path("records_later"), engine=engine, append=before.path)
    assert content_of(made.path) == expected


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_logs_alone_may_be_in_a_store(bucket: str, market: Market, logs: Path, schema: Schema, tmp_path: Path) -> None:
    roots = market.roots[:1]
    machines = OtherMachines(roots, tmp_path / "disks")
    with through_stores(machines, roots) as engine:
        made = prepare(market.path("logs"), schema, str(tmp_path / "records"), engine=engine)
    assert content_of(made.path) == content_of(prepare(str(logs), schema, str(tmp_path / "expected")).path)
    assert stored_folders(bucket) == ["logs"] and not machines.files(0)


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_what_a_killed_process_left_in_the_store_goes(
    bucket: str, market: Market, schema: Schema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    (tmp_path / "left").touch()
    left = ("records.partial-here-999999999", "records.partial-here-1", "records.partial-there-999999999")
    put_files({tmp_path / "left": f"{bucket}/{left[0]}/a"})
    put_files({tmp_path / "left": f"{bucket}/{left[1]}/a"})  # Process 1 runs.
    put_files({tmp_path / "left": f"{bucket}/{left[2]}/a"})
    with through_stores(market.machines, market.roots) as engine:
        prepare(market.path("logs"), schema, market.path("records"), engine=engine)
    assert sorted(stored_folders(bucket)) == ["logs", left[1], left[2]]


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_an_error_leaves_nothing_in_the_store(bucket: str, market: Market, schema: Schema) -> None:
    path = Path(market.path("logs"), "behaviors/redemption.parquet")
    pl.read_parquet(path).with_columns(coupon_id=pl.col("coupon_id") + 0.5).write_parquet(path)
    market.copies["logs"].put()
    with (
        pytest.raises(ValueError, match="ids that are whole numbers or text"),
        through_stores(market.machines, market.roots) as engine,
    ):
        prepare(market.path("logs"), schema, market.path("records"), engine=engine)
    assert stored_folders(bucket) == ["logs"]


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_a_worker_without_the_package_of_the_store_says_so(
    market: Market, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(function: Any, items: Any, shared: Path) -> Any:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "gcsfs.core", None)
            yield from market.machines(function, items, shared)

    with (
        pytest.raises(OSError, match=r"needs a package that is not installed: pip install 'atrank-tf\[gcs\]'"),
        through_stores(without, market.roots) as engine,
    ):
        prepare(market.path("logs"), schema, market.path("records"), engine=engine)


def test_a_store_that_is_lost_is_one_line(
    start_store: Callable[[str], FakeStore],
    make_bucket: Callable[[FakeStore], str],
    logs: Path,
    schema: Schema,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stores, "_ATTEMPTS", 1)
    store = start_store("s3")
    market = Market(make_bucket(store), logs, tmp_path / "copies")

    def lost(function: Any, items: Any, shared: Path) -> Any:
        store.kill()
        yield from market.machines(function, items, shared)

    with (
        pytest.raises(OSError, match=r"Expected a store that answers, for s3://"),
        through_stores(lost, market.roots) as engine,
    ):
        prepare(market.path("logs"), schema, market.path("records"), engine=engine)


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_files_of_a_store_are_fetched_whole(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1" * 1000)
    put_files({tmp_path / "one": f"{bucket}/deep/er/one"})
    stores.fetch_files({tmp_path / "other/two": f"{bucket}/deep/er/one"})
    assert (tmp_path / "other/two").read_bytes() == b"1" * 1000
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["two"]
    assert stored_folders(bucket) == ["deep"] and stored_folders(f"{bucket}/none") == []
    stores.remove_stored(f"{bucket}/deep")
    assert not stored_files(bucket)
    with pytest.raises(OSError, match=rf"{bucket}/deep/er/one"):
        stores.fetch_files({tmp_path / "three": f"{bucket}/deep/er/one"})
    assert not (tmp_path / "three").exists()
