"""Logs -> records: every number by hand on logs of a few rows, and the laws on larger ones."""

import hashlib
import math
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from atrank_tf.data import Records
from atrank_tf.datasets import SOURCES
from atrank_tf.preparation import summary
from atrank_tf.preparation.logs import LogFile
from atrank_tf.preparation.make_records import _number_of_shards, are_current
from atrank_tf.preparation.make_records import prepare as prepare_parts
from atrank_tf.schema import load_schema, schema_from_dict

prepare = partial(prepare_parts, empty_parts=True)
"""Of a few rows, which are not of all parts."""
SPORTS = Path(__file__).parents[3] / "shared/data/amazon_sports"


def raw_schema(**changes):
    return {
        "tables": {
            "item": {"dim": 2, "min_count": 2},
            "brand": {"dim": 2},
            "coupon": {"dim": 2},
            "age": {"dim": 2, "min_count": 2},
            "slot": {"dim": 2},
        },
        "entities": {
            "item": {"id": {"column": "item_id", "table": "item"}, "features": {"brand": "brand"}, "dense": ["price"]},
            "coupon": {
                "id": {"column": "code", "table": "coupon"},
                "features": {"items": {"table": "item", "max_values": 2}, "brand": "brand"},
            },
        },
        "groups": {
            "click": {"entity": "item", "actions": ["view", "buy"]},
            "redeem": {"entity": "coupon", "actions": ["use"]},
        },
        "tasks": {
            "next": {"group": "click", "negatives": {"uniform": 1}},
            "offer": {
                "group": "redeem",
                "candidates": "impressions",
                "context": {"features": {"slots": {"table": "slot", "max_values": 2}}, "dense": ["score"]},
            },
        },
        "user": {"features": {"age": "age"}, "dense": ["income"]},
        "split": {"kind": "by_time", "validation_from": 100, "test_from": 200},
    } | changes


FILES = {
    "behaviors/click.csv": """user_id,item_id,action,timestamp
u1,5,view,30
u2,5,buy,10
u1,0,view,10
u1,5,buy,30
u1,5,view,30
u1,7,view,150
u1,8,view,150
,5,view,1
""",
    "behaviors/redeem.csv": "user_id,code,action,timestamp\nu1,C1,use,40\nu3,C2,use,300\n",
    "catalog/item.csv": "item_id,brand,price\n9,z,1.0\n5,x,3.0\n0,y,\n5,again,9\n7,x,2.0\n",
    "catalog/coupon.csv": "code,items,brand\nC1,5 0 9,y\nC3,9,w\n",
    "catalog/user.csv": "user_id,age,income\nu1,old,10\nu4,old,30\nu3,young,\nu1,young,99\n",
    "impressions/offer.csv": """request_id,user_id,timestamp,code,label,slots,score
r2,u1,120,C1,0,top,1
r1,u1,35,C2,0,top low,2
r1,u1,35,C1,1,low,
r1,u1,36,C2,1,,5
r1,u4,20,C1,0,,4
""",
}


def write(folder, files=FILES):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(folder)


def timelines(records):
    """Returns user -> key -> list, in the order of the records."""
    found = {}
    for file in records.files:
        for serialized in tf.data.TFRecordDataset(file).as_numpy_iterator():
            features = tf.train.Example.FromString(serialized).features.feature
            content = {k: list(getattr(f, f.WhichOneof("kind")).value) for k, f in features.items()}
            found[content.pop("user_id")[0].decode()] = content
    return found


def content_of(folder):
    """Returns relative path -> hash of each file but those that tell of the run: its time, places of dropped rows."""
    of_the_run = {"manifest.json", "report.json", "report.html"}
    files = [path for path in Path(folder).rglob("*") if path.is_file() and path.name not in of_the_run]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("given", [{"logs": "gs://bucket/logs"}, {"records": "gs://bucket/records"}])
def test_a_folder_in_a_store(tmp_path, monkeypatch, given):
    places = {"logs": write(tmp_path / "logs"), "records": "records"} | given
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"Expected a path of a file system\. Received: gs://bucket/"):
        prepare(places["logs"], schema_from_dict(raw_schema()), places["records"])
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return prepare(write(folder / "logs"), schema_from_dict(raw_schema()), str(folder / "records"))


def test_objects(small):
    item, coupon = small.catalogs["item"], small.catalogs["coupon"]
    # Before 100: item 5 three times (the repeated view is dropped), item 0 once; 7, 8 and 9 never.
    assert item.ids.tolist() == [5, 0, 7, 8, 9]
    assert item.counts.tolist() == [0, 0, 3, 1, 0, 0, 0]
    assert coupon.ids.tolist() == ["C1", "C2", "C3"]
    assert coupon.counts.tolist() == [0, 0, 1, 0, 0]


def test_vocabularies(small):
    # Item 5: 3 behaviors, and coupon C1 that lists it: shown twice, + 1 for the catalog. Item 0: 1 + 3. The
    # third item of C1 is cut. Item 9: C3 is never shown, 1. So 9, 7 and 8 stay below 2.
    assert small.vocabularies["item"].tolist() == ["5", "0"]
    assert small.catalogs["item"].table_rows.tolist() == [0, 1, 2, 3, 1, 1, 1]
    # C1 was shown twice, and chosen once of these; C2 shown once before 100; C3 never.
    assert small.vocabularies["coupon"].tolist() == ["C1", "C2"]
    # x: item 5 (3 + 1) and item 7 (0 + 1); y: item 0 (1 + 1) and C1 (2 + 1); w and z: the catalog's 1.
    assert small.vocabularies["brand"].tolist() == ["x", "y", "w", "z"]
    assert small.vocabularies["age"].tolist() == ["old"]
    # The repeated candidate and the request of 120 do not count.
    assert small.vocabularies["slot"].tolist() == ["low", "top"]


def test_catalogs(small):
    item, coupon = small.catalogs["item"], small.catalogs["coupon"]
    assert item.features["brand"].tolist() == [[0], [1], [2], [3], [2], [1], [5]]
    np.testing.assert_array_equal(item.dense["price"], np.float32([np.nan, np.nan, 3, np.nan, 2, np.nan, 1]))
    assert coupon.features["items"].tolist() == [[0, 0], [1, 0], [2, 3], [1, 0], [1, 0]]
    assert coupon.features["brand"].tolist() == [[0], [1], [3], [1], [4]]


def test_the_schema_has_its_sizes(small):
    schema = small.schema
    assert schema.prepared
    assert {name: table.rows for name, table in schema.tables.items()} == {
        "item": 4,
        "brand": 6,
        "coupon": 4,
        "age": 3,
        "slot": 4,
    }
    assert {n: (e.rows, e.id.dtype) for n, e in schema.entities.items()} == {
        "item": (7, "int64"),
        "coupon": (5, "string"),
    }
    price = schema.entities["item"].dense["price"]
    assert (price.mean, price.variance) == pytest.approx((2, 2 / 3))
    income = schema.user.dense["income"]
    assert (income.mean, income.variance) == pytest.approx((20, 100))
    score = schema.tasks["offer"].context.dense["score"]
    # Of the counted candidates: 2 and 4, one missing.
    assert (score.mean, score.variance) == pytest.approx((3, 1))


def test_timelines(small):
    found = timelines(small)
    nan = pytest.approx(np.nan, nan_ok=True)
    assert found["u1"] == {
        "click/id": [3, 2, 2, 4, 5],
        "click/action": [2, 2, 3, 2, 2],
        "click/timestamp": [10, 30, 30, 150, 150],
        "redeem/id": [2],
        "redeem/action": [2],
        "redeem/timestamp": [40],
        "offer/timestamp": [35, 120],
        "offer/row_lengths": [2, 1],
        "offer/candidates": [3, 2, 2],
        "offer/label": [1, 1, 0],
        "offer/slots": [3, 2, 2, 0, 3, 0],
        "offer/score": [2.0, nan, 1.0],
        "user/age": [2],
        "user/income": [10.0],
    }
    assert found["u2"]["click/id"] == [2]
    assert (found["u2"]["user/age"], found["u2"]["user/income"]) == ([1], [nan])
    assert (found["u3"]["user/age"], found["u3"]["user/income"]) == ([1], [nan])


def test_users_of_impressions_alone_are_kept_and_those_of_the_catalog_alone_are_not(small):
    write_only = timelines(small)
    assert set(write_only) == {"u1", "u2", "u3", "u4"}
    assert write_only["u4"]["click/id"] == []
    assert write_only["u4"]["offer/candidates"] == [2]
    assert len({tuple(sorted(keys)) for keys in write_only.values()}) == 1


@pytest.mark.parametrize("others", [{}, {"age": "age"}])
def test_the_id_of_a_user_is_a_feature_that_stands_in_no_file(tmp_path, others):
    raw = raw_schema(user={"features": {"user_id": "user", **others}})
    raw["tables"] = {**raw["tables"], "user": {"dim": 2}}
    files = {name: content for name, content in FILES.items() if others or name != "catalog/user.csv"}
    if not others:
        del raw["tables"]["age"]
    records = prepare(write(tmp_path / "logs", files), schema_from_dict(raw), str(tmp_path / "records"), shards=8)
    assert records.schema.tables["user"].rows == 2 + 4  # Everybody with a behavior or a request.
    assert {user: found["user/user_id"] for user, found in timelines(records).items()} == {
        "u1": [2],
        "u2": [3],
        "u3": [4],
        "u4": [5],
    }


def test_numbers_with_a_long_tail_are_measured_by_their_logarithms(tmp_path):
    raw = raw_schema(user={"features": {"age": "age"}, "dense": {"income": {"transform": "log"}}})
    raw["entities"]["item"] = raw["entities"]["item"] | {"dense": {"price": {"transform": "log"}}}
    context = {"features": {"slots": {"table": "slot", "max_values": 2}}, "dense": {"score": {"transform": "log"}}}
    raw["tasks"]["offer"] = raw["tasks"]["offer"] | {"context": context}
    records = prepare(write(tmp_path / "logs"), schema_from_dict(raw), str(tmp_path / "records"))
    price = records.schema.entities["item"].dense["price"]
    logs = np.log1p([1.0, 3.0, 2.0])
    assert (price.mean, price.variance) == pytest.approx((logs.mean(), logs.var()))
    assert price.middle == pytest.approx(np.exp(logs.mean()) - 1)
    # What is kept are the numbers themselves.
    np.testing.assert_array_equal(records.catalogs["item"].dense["price"][[4, 6]], np.float32([2, 1]))
    for found, values in ((records.schema.user.dense["income"], [10, 30]), (_score_of(records), [2, 4])):
        assert (found.mean, found.variance) == pytest.approx((np.log1p(values).mean(), np.log1p(values).var()))


def _score_of(records):
    return records.schema.tasks["offer"].context.dense["score"]


def test_duplicates_that_are_real_repeats_are_kept(tmp_path, small):
    raw = raw_schema()
    raw["groups"]["click"] = raw["groups"]["click"] | {"keep_duplicates": True}
    records = prepare(write(tmp_path / "logs"), schema_from_dict(raw), str(tmp_path / "records"))
    assert timelines(records)["u1"]["click/timestamp"] == [10, 30, 30, 30, 150, 150]
    assert records.catalogs["item"].counts[2] == small.catalogs["item"].counts[2] + 1
    assert "exact duplicate" not in records.manifest["files"]["behaviors/click"]["dropped"]


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ("r1,u1,35,C2,0,top low,2\nr1,u1,35,C1,1,top low,2", None),
        ("r1,u1,35,C2,0,top low,\nr1,u1,35,C1,1,top low,", None),
        (
            "r1,u1,35,C2,0,top low,2\nr1,u1,35,C1,1,top low,3",
            "'r1' has another in row 3 than in row 2 of impressions/offer",
        ),
        (
            "r1,u1,35,C2,0,top low,2\nr1,u1,35,C1,1,top low,",
            "'r1' has another in row 3 than in row 2 of impressions/offer",
        ),
    ],
)
def test_what_is_of_the_request_is_the_same_in_all_its_rows(tmp_path, second, problem):
    """Another user's request may have the same id."""
    head = FILES["impressions/offer.csv"].split("\n")[:2]
    files = {**FILES, "impressions/offer.csv": "\n".join([*head, second, "r1,u4,20,C1,0,,4\n"])}
    raw = raw_schema()
    raw["tasks"]["offer"]["of_request"] = ["score"]
    logs = write(tmp_path / "logs", files)
    if problem is None:
        prepare(logs, schema_from_dict(raw), str(tmp_path / "records"))
        return
    with pytest.raises(
        ValueError, match=rf"Expected one score in each request: .*of_request\. Found: request {problem}"
    ):
        prepare(logs, schema_from_dict(raw), str(tmp_path / "records"))


def test_the_manifest_counts_everything(small):
    manifest = small.manifest
    assert manifest["users"] == 4
    assert manifest["behaviors"] == {"click": 6, "redeem": 2}
    assert manifest["requests"] == {"offer": {"requests": 3, "candidates": 4, "positives": 2}}
    assert manifest["unknown_rate"] == {"click": pytest.approx(2 / 6, abs=1e-5), "redeem": 0.0}
    clicks = manifest["files"]["behaviors/click"]
    assert (clicks["read"], clicks["kept"]) == (8, 6)
    assert clicks["dropped"] == {
        "missing user id": {"rows": 1, "first_row": 8},
        "exact duplicate": {"rows": 1, "first_row": 5},
    }
    dropped = {label: list(report["dropped"]) for label, report in manifest["files"].items() if report["dropped"]}
    assert dropped == {
        "catalog/item": ["repeated id"],
        "catalog/user": ["repeated id"],
        "behaviors/click": ["missing user id", "exact duplicate"],
        "impressions/offer": ["candidate repeated in a request"],
    }


def test_the_summary_says_what_was_dropped_and_why(small):
    text = summary(small)
    assert "4 users" in text
    assert "1 dropped: exact duplicate (first: row 5 of click.csv)" in text
    assert "task offer: 3 requests, 4 candidates, 2 of them positive" in text
    assert re.search(rf"^report: {small.path}/report.html, \d+ of \d+ checks to look at$", text, re.MULTILINE)


@pytest.mark.parametrize("newest_first", [False, True])
def test_the_moment_of_a_request_does_not_depend_on_the_order_of_its_rows(tmp_path, newest_first):
    head = "request_id,user_id,timestamp,code,label,slots,score\n"
    # C1 was shown at 50 and taken at 99: the history of the request ends before 50.
    rows = ["r,u1,50,C1,0,,\n", "r,u1,99,C1,1,,\n"]
    files = {**FILES, "impressions/offer.csv": head + "".join(rows[::-1] if newest_first else rows)}
    records = prepare(write(tmp_path / "logs", files), schema_from_dict(raw_schema()), str(tmp_path / "records"))
    assert timelines(records)["u1"]["offer/timestamp"] == [50]
    assert timelines(records)["u1"]["offer/label"] == [1]


def test_a_feature_that_names_ids_finds_them_whatever_a_csv_file_writes(tmp_path):
    schema = schema_from_dict(raw_schema())
    rows = {"code": ["C1", "C3", "C2"], "items": [5, 9, None], "brand": ["y", "w", None]}
    tables = []
    for kind in ("parquet", "csv"):
        logs = tmp_path / kind
        write(logs, {name: content for name, content in FILES.items() if name != "catalog/coupon.csv"})
        frame = pl.DataFrame(rows)
        if kind == "csv":  # As pandas, which has no integers in a column with an empty cell.
            frame = frame.with_columns(pl.col("items").cast(pl.Float64))
        (frame.write_csv if kind == "csv" else frame.write_parquet)(logs / f"catalog/coupon.{kind}")
        tables.append(prepare(str(logs), schema, str(tmp_path / f"records_{kind}")).vocabularies["item"].tolist())
    assert tables == [["5"], ["5"]]  # 9 and 0 are seen once.


def test_leave_last_out_counts_everything(tmp_path):
    schema = schema_from_dict(raw_schema(split={"kind": "leave_last_out"}))
    records = prepare(write(tmp_path / "logs"), schema, str(tmp_path / "records"))
    assert records.catalogs["item"].counts.tolist() == [0, 0, 3, 1, 1, 1, 0]
    assert records.catalogs["coupon"].counts.tolist() == [0, 0, 1, 1, 0]


def test_unknown_actions_and_ignored_files_are_reported(tmp_path):
    files = {**FILES, "behaviors/old.csv": "x\n1\n"}
    files["behaviors/click.csv"] += "u9,5,veiw,5\n"
    records = prepare(write(tmp_path / "logs", files), schema_from_dict(raw_schema()), str(tmp_path / "records"))
    assert records.manifest["ignored"] == ["behaviors/old.csv"]
    text = summary(records)
    assert 'Unknown action "veiw" in 1 rows. Did you mean "view"? Valid: buy, view.' in text
    assert "ignored, the schema names no use for it: behaviors/old.csv" in text


def test_ids_that_are_text_in_one_file_are_text(tmp_path):
    logs = tmp_path / "logs"
    write(logs)
    pl.DataFrame({"item_id": ["5", "7"], "brand": ["x", "y"], "price": [1, 2]}).write_parquet(
        logs / "catalog/item.parquet"
    )
    (logs / "catalog/item.csv").unlink()
    records = prepare(str(logs), schema_from_dict(raw_schema()), str(tmp_path / "records"))
    assert records.schema.entities["item"].id.dtype == "string"
    # Order as text, and still the same objects in both files.
    assert records.catalogs["item"].ids.tolist() == ["5", "0", "7", "8"]
    assert records.catalogs["item"].features["brand"].tolist() == [[0], [1], [2], [1], [3], [1]]


def test_the_same_inputs_are_current_and_nothing_is_done(tmp_path):
    logs, schema, path = write(tmp_path / "logs"), schema_from_dict(raw_schema()), str(tmp_path / "records")
    assert not are_current(logs, schema, path)
    prepare(logs, schema, path)
    assert are_current(logs, schema, path)
    mark = Path(path).stat().st_ino
    prepare(logs, schema, path)
    assert Path(path).stat().st_ino == mark
    prepare(logs, schema, path, overwrite=True)
    assert Path(path).stat().st_ino != mark


@pytest.mark.parametrize("change", ["logs", "schema", "shards"])
def test_other_inputs_are_prepared_anew(tmp_path, change):
    logs, schema, path = write(tmp_path / "logs"), schema_from_dict(raw_schema()), str(tmp_path / "records")
    prepare(logs, schema, path)
    shards = 0
    if change == "logs":
        write(tmp_path / "logs", {"behaviors/redeem.csv": "user_id,code,action,timestamp\nu1,C1,use,40\n"})
    elif change == "schema":
        schema = schema_from_dict(raw_schema(time={"unit": "hour"}))
    else:
        shards = 3
    assert not are_current(logs, schema, path, shards=shards)
    records = prepare(logs, schema, path, shards=shards)
    assert are_current(logs, schema, path, shards=shards)
    if change == "logs":
        assert records.manifest["behaviors"]["redeem"] == 1
    if change == "shards":
        assert len(records.files) == 3


def test_a_failure_leaves_older_records_whole(tmp_path):
    logs, schema, path = write(tmp_path / "logs"), schema_from_dict(raw_schema()), str(tmp_path / "records")
    prepare(logs, schema, path)
    before = content_of(path)
    write(tmp_path / "logs", {"behaviors/click.csv": "user_id,item_id,action,timestamp\nu,1,view,1e15\n"})
    with pytest.raises(ValueError, match="before the year 2100"):
        prepare(logs, schema, path)
    assert content_of(path) == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["logs", "records"]


def test_negative_shards(tmp_path):
    with pytest.raises(ValueError, match=r"shards must not be negative\. Received: shards=-1\."):
        prepare("x", schema_from_dict(raw_schema()), str(tmp_path), shards=-1)


@pytest.mark.parametrize(("kind", "name", "row_bytes"), [("behaviors", "click", 12), ("impressions", "offer", 22)])
def test_large_logs_are_divided_by_what_their_rows_take(kind, name, row_bytes):
    """A request's row has two values and a number of context, too."""
    file, kept = LogFile(kind=kind, name=name, path=Path("x.csv")), 100_000_000
    log = SimpleNamespace(reader=SimpleNamespace(file=file), report=SimpleNamespace(kept=kept))
    assert _number_of_shards([log], schema_from_dict(raw_schema())) == math.ceil(kept * row_bytes / 2**26)


def test_shards_never_outnumber_few_users(small):
    assert len(small.files) == small.manifest["shards"] == 2


@pytest.fixture(scope="module")
def many_rows():
    rng = np.random.default_rng(0)
    size = 5_000
    return pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in rng.integers(0, 300, size)],
            "item_id": rng.zipf(1.5, size) % 1000,
            "action": rng.choice(["view", "buy"], size),
            "timestamp": rng.integers(1, 250, size),
        }
    )


def test_more_users_than_shards_fill_8_shards_in_the_order_of_their_ids(tmp_path, many_rows):
    logs = write(tmp_path / "logs", {k: v for k, v in FILES.items() if "click" not in k})
    many_rows.write_parquet(tmp_path / "logs/behaviors/click.parquet")
    records = prepare(logs, schema_from_dict(raw_schema()), str(tmp_path / "records"))
    assert len(records.files) == 8
    for file in records.files:
        found = timelines(type("One", (), {"files": [file]}))
        assert 20 < len(found) < 60
        assert list(found) == sorted(found)


def test_nothing_depends_on_the_order_of_other_users_rows_nor_on_the_format(tmp_path, many_rows):
    schema, contents = schema_from_dict(raw_schema()), []
    for place, rows in enumerate((many_rows, many_rows.sort("user_id", maintain_order=True))):
        logs = tmp_path / f"logs{place}"
        write(logs, {k: v for k, v in FILES.items() if "click" not in k})
        (rows.write_parquet if place else rows.write_csv)(logs / f"behaviors/click.{'parquet' if place else 'csv'}")
        prepare(str(logs), schema, str(tmp_path / f"records{place}"))
        contents.append(content_of(tmp_path / f"records{place}"))
    assert contents[0] == contents[1]


def test_the_timelines_are_those_of_a_plain_computation(tmp_path, many_rows):
    logs = write(tmp_path / "logs", {k: v for k, v in FILES.items() if "click" not in k})
    many_rows.write_parquet(tmp_path / "logs/behaviors/click.parquet")
    records = prepare(logs, schema_from_dict(raw_schema()), str(tmp_path / "records"))
    found = timelines(records)
    row_of = {item: row + 2 for row, item in enumerate(records.catalogs["item"].ids.tolist())}
    expected = {}
    seen = set()
    for user, item, action, timestamp in many_rows.iter_rows():
        if (user, item, action, timestamp) not in seen:
            seen.add((user, item, action, timestamp))
            expected.setdefault(user, []).append((timestamp, row_of[item], 2 + ["view", "buy"].index(action)))
    assert records.manifest["behaviors"]["click"] == len(seen) < len(many_rows)
    for user, rows in expected.items():
        rows.sort(key=lambda row: row[0])
        columns = (found[user][f"click/{key}"] for key in ("timestamp", "id", "action"))
        assert list(zip(*columns, strict=True)) == rows


def write_clicks(logs, kind, parts):
    """Writes a logs folder whose clicks are in parts, or in one file if there is one part."""
    write(logs, {name: content for name, content in FILES.items() if "click" not in name})
    path = logs / f"behaviors/click.{kind}"
    if len(parts) > 1:
        path = path.with_suffix("")
        path.mkdir(exist_ok=True)
    for number, rows in enumerate(parts):
        own = path / f"part-{number}.{kind}" if len(parts) > 1 else path
        (rows.write_parquet if kind == "parquet" else rows.write_csv)(own)
    return str(logs)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_log_in_parts_makes_the_records_of_the_whole_log(tmp_path, many_rows, kind):
    contents = []
    for parts in ([many_rows], list(many_rows.iter_slices(1_700))):
        logs = write_clicks(tmp_path / f"logs{len(parts)}", kind, parts)
        records = prepare(logs, schema_from_dict(raw_schema()), f"{logs}_records")
        contents.append((content_of(records.path), records.manifest["files"]["behaviors/click"]["dropped"]))
    assert contents[0] == contents[1]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_what_is_wrong_in_a_part_is_named_by_its_part_and_its_row_there(tmp_path, many_rows, kind):
    schema, path = schema_from_dict(raw_schema()), str(tmp_path / "records")
    parts = list(many_rows.iter_slices(1_700))
    logs = write_clicks(tmp_path / "logs", kind, parts)
    prepare(logs, schema, path)
    assert are_current(logs, schema, path)
    (tmp_path / f"logs/behaviors/click/part-2.{kind}").unlink()
    assert not are_current(logs, schema, path)
    bad = many_rows.head(1).with_columns(timestamp=pl.lit(10**15))
    for number, rows, row in ((0, [parts[0], bad], 1_701), (1, [bad, parts[1]], 1)):
        write_clicks(tmp_path / "logs", kind, [*parts[:number], pl.concat(rows), *parts[number + 1 :]])
        assert not are_current(logs, schema, path)
        with pytest.raises(ValueError, match=rf"the year 2100 .*click/part-{number}\.{kind}, row {row}\. Received"):
            prepare(logs, schema, path)


@pytest.mark.slow
def test_sports_records_agree_with_the_published_numbers(tmp_path):
    if not SPORTS.is_dir():
        pytest.skip(f"{SPORTS} is not here: it may not be distributed")
    schema = load_schema(SOURCES["amazon_reviews_2014/sports_and_outdoors"].schema)
    records = Records(prepare(str(SPORTS), schema, str(tmp_path / "records")).path)
    assert records.manifest["users"] == 35_598
    assert records.manifest["behaviors"] == {"review": 296_337}
    assert records.schema.entities["item"].rows == 18_357 + 2
    assert records.schema.tables["category"].rows == 959 + 2
    assert records.catalogs["item"].counts.sum() == 296_337


def test_one_long_id_makes_no_other_wide(tmp_path):
    items = [*(f"{number:036}" for number in range(3_000)), "x" * 1000]
    rows = [f"u{number % 9},{item},view,{number + 1}" for number, item in enumerate(items)]
    files = FILES | {"behaviors/click.csv": "\n".join(["user_id,item_id,action,timestamp", *rows])}
    records = prepare(write(tmp_path / "logs", files), schema_from_dict(raw_schema()), str(tmp_path / "records"))
    assert set(items) <= set(records.catalogs["item"].ids.tolist())
    assert (tmp_path / "records/catalog/item.npz").stat().st_size < 100 * len(items)  # Of fixed width: above 4,000.
