"""Records appended to: those of all logs at once, but for the order of rows and for what is said here."""

import shutil
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
import tensorflow as tf
from damage import damages
from worker_functions import contrary

from atrank_tf.data import Records
from atrank_tf.data.codes import Codes
from atrank_tf.files import load_json, write_json
from atrank_tf.preparation import passes, prepare
from atrank_tf.preparation.staging import shard_of
from atrank_tf.preparation.standing import Standing
from atrank_tf.report import load_report
from atrank_tf.schema import first_difference, load_schema

DAY = 86_400
CUTS = [12, 61]
"""Days after which a night comes."""
SPLITS = [("1970-01-09", "1970-01-11"), ("1970-02-25", "1970-02-27"), ("1970-03-01", "1970-03-15")]
RAW_SPLIT = "validation_from = 1970-03-01\ntest_from = 1970-03-15\n"
BY_TIME = 'kind = "by_time"\n' + RAW_SPLIT
LEAVE_OUT = 'kind = "leave_last_out"\n'


@pytest.fixture(scope="module")
def texts(schema_file):
    """The schema with a vocabulary of users, by the name of its split."""
    text = schema_file.read_text().replace("channel = { dim = 2 }", "channel = { dim = 2 }\nuser = { dim = 2 }")
    text = text.replace('{ age = "age" }', '{ age = "age", user_id = "user" }')
    text = text.replace('dense = ["position"]', 'dense = { position = { transform = "log" } }')
    return {"by_time": text, "leave_last_out": text.replace(BY_TIME, LEAVE_OUT)}


def write_days(logs: Path, folder: Path) -> list[str]:
    """Cuts logs into the part before each day of `CUTS` and the rest; a catalog has what is new in the logs."""
    begins, ends = [0, *CUTS], [*CUTS, 10_000]
    folders = [str(folder / str(begin)) for begin in begins]
    seen: dict[str, set[object]] = {}
    for begin, end, part in zip(begins, ends, folders, strict=True):
        rows = {}
        for path in sorted(path for path in logs.rglob("*") if path.is_file()):
            name, read = path.relative_to(logs).as_posix(), pl.read_csv if path.suffix == ".csv" else pl.read_parquet
            frame = read(path)
            if "timestamp" in frame.columns:
                frame = frame.filter(pl.col("timestamp").is_between(begin * DAY, end * DAY, closed="left"))
            rows[name] = frame
        for name, key in (("product.csv", "product_id"), ("coupon.parquet", "coupon_id"), ("user.parquet", "user_id")):
            acted = pl.concat([frame[key] for label, frame in rows.items() if "catalog" not in label and key in frame])
            known = seen.setdefault(name, set())
            catalog = rows[f"catalog/{name}"]
            # In the end there are also objects that nobody acts on, in a catalog alone.
            new = catalog.filter(~pl.col(key).is_in(known) & (pl.col(key).is_in(acted.implode()) | (end == 10_000)))
            known |= set(new[key])
            rows[f"catalog/{name}"] = new
        for name, frame in rows.items():
            path = Path(part, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if len(frame):
                (frame.write_csv if path.suffix == ".csv" else frame.write_parquet)(path)
    return folders


@pytest.fixture(scope="module")
def days(logs, tmp_path_factory):
    """The logs of three times, one after the other."""
    return write_days(logs, tmp_path_factory.mktemp("days"))


def schema_of(folder: Path, text: str, split: str = RAW_SPLIT):
    path = folder / "schema.toml"
    path.write_text(text.replace(RAW_SPLIT, split))
    return load_schema(str(path))


def night_after_night(days, text, folder, moves, **settings) -> list[Records]:
    """Prepares the first logs and appends the others; `moves`: whether the split by time does."""
    made = []
    for number, day in enumerate(days):
        last = number == len(days) - 1
        dates = "validation_from = {}\ntest_from = {}\n".format(*SPLITS[number])
        schema = schema_of(folder, text, dates if moves else RAW_SPLIT)
        before = {"append": made[-1].path} if made else {"shards": 3}
        made.append(prepare(day, schema, f"{folder}/{number}", **before, empty_parts=not last, **settings))
    return made


def meaning(records: Records):
    """Returns what records say, with ids and values instead of rows."""
    values = {name: ["-", "?", *values.tolist()] for name, values in records.vocabularies.items()}
    ids = {name: ["-", "?", *map(str, catalog.ids.tolist())] for name, catalog in records.catalogs.items()}
    catalogs = {}
    for name, catalog in records.catalogs.items():
        entity = records.schema.entities[name]
        for row, of_id in enumerate(ids[name]):
            sides = {
                column: [
                    int(v) if records.schema.tables[feature.table].coded else values[feature.table][v]
                    for v in catalog.features[column][row]
                    if v
                ]
                for column, feature in entity.features.items()
            }
            dense = {column: repr(float(numbers[row])) for column, numbers in catalog.dense.items()}
            catalogs[name, of_id] = (
                int(catalog.counts[row]),
                values[entity.id.table][catalog.table_rows[row]],
                sides,
                dense,
            )
    timelines = {}
    tables = {f"user/{column}": feature.table for column, feature in records.schema.user.features.items()}
    entities = {f"{name}/id": group.entity for name, group in records.schema.groups.items()}
    for name, task in records.schema.tasks.items():
        tables |= {f"{name}/{column}": feature.table for column, feature in task.context.features.items()}
        entities[f"{name}/candidates"] = records.schema.groups[task.group].entity
    for file, serialized in ((f, e) for f in records.files for e in tf.data.TFRecordDataset(f).as_numpy_iterator()):
        found = {}
        for key, feature in tf.train.Example.FromString(serialized).features.feature.items():
            kind = feature.WhichOneof("kind")
            listed = list(getattr(feature, kind).value)
            names = values[tables[key]] if key in tables else ids[entities[key]] if key in entities else None
            found[key] = [names[row] for row in listed] if names else [repr(value) for value in listed]
        timelines[file.rsplit("/", 1)[-1], found["user_id"][0]] = found
    return {name: sorted(each) for name, each in values.items()}, catalogs, timelines


def report_of(records: Records):
    """Returns the report without its sample of negatives, which are drawn by row, and without the files."""
    report = load_report(records.path)
    for task in report["tasks"].values():
        for part in task["parts"].values():
            del part["candidates"]
    return {key: value for key, value in report.items() if key not in ("files", "checks")}


def compare(found: Records, expected: Records) -> None:
    assert first_difference(found.schema, expected.schema) is None
    assert meaning(found) == meaning(expected)
    assert report_of(found) == report_of(expected)
    for key in ("users", "behaviors", "requests", "unknown_rate", "shards"):
        assert found.manifest[key] == expected.manifest[key], key
    assert list(meaning(found)[2]) == list(meaning(expected)[2])  # The same users in the same order.
    found.verify()


@pytest.mark.parametrize(
    ("split", "moves"),
    [
        ("by_time", True),
        pytest.param("by_time", False, marks=pytest.mark.slow),
        pytest.param("leave_last_out", False, marks=pytest.mark.slow),
    ],
)
def test_night_after_night_makes_the_records_of_all_logs(days, logs, texts, tmp_path, split, moves):
    made = night_after_night(days, texts[split], tmp_path, moves)
    compare(made[-1], prepare(str(logs), schema_of(tmp_path, texts[split]), str(tmp_path / "all"), shards=3))
    for earlier, later in pairwise(made):  # Rows keep their meaning.
        for name, values in earlier.vocabularies.items():
            assert later.vocabularies[name][: len(values)].tolist() == values.tolist()
        for name, catalog in earlier.catalogs.items():
            assert later.catalogs[name].ids[: len(catalog.ids)].tolist() == catalog.ids.tolist()
    assert len(made[0].catalogs["product"]) < len(made[-1].catalogs["product"])
    assert made[0].manifest["users"] < made[-1].manifest["users"]


@pytest.fixture(scope="module")
def first(days, texts, tmp_path_factory):
    """Records of the first logs, whose counts are in two buckets."""
    folder = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "_SHARDS_PER_BUCKET", 2)
        made = prepare(days[0], schema_of(folder, texts["by_time"]), f"{folder}/records", shards=3, empty_parts=True)
    assert len(list(Path(made.path).glob("state/counts-*"))) == 2
    return made


@pytest.fixture
def schema(texts, tmp_path):
    return schema_of(tmp_path, texts["by_time"])


@pytest.fixture
def add(first, schema, tmp_path, monkeypatch):
    """Appends some logs, text by file name, to the first records, or to others."""
    monkeypatch.setattr(passes, "_SHARDS_PER_BUCKET", 2)

    def add(files, name="added", append=first.path, schema=schema, **settings):
        logs = tmp_path / f"logs_{name}"
        for path, text in files.items():
            (logs / path).parent.mkdir(parents=True, exist_ok=True)
            if not (logs / path).exists():
                (logs / path).write_text(text)
        settings = {"empty_parts": True, **settings}
        return prepare(str(logs), schema, str(tmp_path / name), append=append, **settings)

    return add


def buys(*rows):
    return {"behaviors/purchase.csv": "\n".join(["user_id,product_id,action,timestamp", *rows]) + "\n"}


@pytest.mark.slow
def test_on_any_engine_in_any_pieces(first, days, schema, tmp_path, monkeypatch):
    monkeypatch.setattr(passes, "_SHARDS_PER_BUCKET", 2)
    expected = prepare(days[1], schema, f"{tmp_path}/local", append=first.path, empty_parts=True)
    monkeypatch.setattr(passes, "PIECE_ROWS", 37)
    found = prepare(days[1], schema, f"{tmp_path}/other", append=first.path, empty_parts=True, engine=contrary)
    assert {**found.manifest, "now": 0, "seconds": 0} == {**expected.manifest, "now": 0, "seconds": 0}


def test_a_shard_without_news_is_linked_and_not_read(first, add, monkeypatch):
    read, timelines = [], Standing.timelines
    monkeypatch.setattr(Standing, "timelines", lambda own, shard: read.append(shard) or timelines(own, shard))
    added, shard = add(buys(f"u5,p1,regular,{12 * DAY}")), shard_of("u5", 3)
    assert set(read) == {shard}
    same = [Path(before).samefile(after) for before, after in zip(first.files, added.files, strict=True)]
    assert same == [number != shard for number in range(3)]
    added.verify()
    assert added.manifest["behaviors"]["purchase"] == first.manifest["behaviors"]["purchase"] + 1


def test_where_there_are_no_links_a_shard_is_copied(first, add, monkeypatch):
    def refuse(*_):
        raise OSError("Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    add(buys(f"u5,p1,regular,{12 * DAY}")).verify()


def test_an_object_that_reaches_min_count_late_gets_its_own_row_at_the_end(first, add):
    late = 100 * DAY  # Nothing from validation_from on counts.
    rows = [f"u5,p_new,regular,{12 * DAY}", f"u6,p_new,regular,{12 * DAY + 5}", f"u6,p_rare,regular,{12 * DAY}"]
    once = add(buys(*rows, f"u6,p_rare,regular,{late}"), "once")
    *_, own = once.vocabularies["product"].tolist()
    assert own == "p_new"
    twice = add(buys(f"u5,p_rare,regular,{late + 1}"), "twice", append=once.path)
    assert "p_rare" not in twice.vocabularies["product"].tolist()
    assert once.catalogs["product"].ids.tolist() == twice.catalogs["product"].ids.tolist()


def test_a_value_of_the_context_that_counts_late_is_unknown_where_it_was(first, add, days, texts, tmp_path):
    names = "request_id,user_id,timestamp,coupon_id,label,channel,position"
    validation = 60 * DAY
    shown = {"impressions/next_redemption.csv": f"{names}\nr,u5,{validation},1,1,radio,0\n"}
    before = add(shown, "before")
    assert "radio" not in before.vocabularies["channel"].tolist()
    schema = schema_of(tmp_path, texts["by_time"], "validation_from = 1970-03-10\ntest_from = 1970-03-15\n")
    shown = {"impressions/next_redemption.csv": f"{names}\nr,u5,{70 * DAY},1,1,radio,0\n"}
    after = add(shown, "after", append=before.path, schema=schema)
    assert after.vocabularies["channel"].tolist()[-1] == "radio"  # It counts since the split has moved.
    timeline = next(found for (_, user), found in meaning(after)[2].items() if user == "b'u5'")
    assert timeline["next_redemption/channel"][-2:] == ["?", "radio"]


def test_what_is_known_of_users(first, add):
    timelines = meaning(first)[2]
    (_, user), timeline = next((key, found) for key, found in timelines.items() if found["user/age"] == ["young"])
    user = user[2:-1]
    catalog = {"catalog/user.csv": f"user_id,age,income\n{user},old,1\nu_new,older,\nu_never,eternal,5\n"}
    rows = [f"{user},p1,regular,{12 * DAY}", f"u_new,p1,regular,{12 * DAY}"]

    def of_user(records):
        return next(found for (_, name), found in meaning(records)[2].items() if name == f"b'{user}'")

    named = add(buys(*rows) | catalog, "named")
    assert of_user(named)["user/age"] == ["old"]
    assert of_user(named)["user/user_id"] == [user]
    assert of_user(named)["purchase/id"] == [*timeline["purchase/id"], "p1"]
    # Whoever did nothing yet counts nowhere, and a known user not once more.
    assert named.vocabularies["age"].tolist() == [*first.vocabularies["age"].tolist(), "older"]
    assert named.schema.user.dense["income"] == first.schema.user.dense["income"]
    again = add(buys(f"{user},p1,regular,{13 * DAY}"), "again", append=named.path)
    assert of_user(again)["user/age"] == ["old"]  # Nothing new was said.


def test_a_profile_may_be_all_that_is_new_of_a_user(first, add):
    catalog = {"catalog/user.csv": "user_id,age,income\nu4,old,1\n"}
    before, after = (
        next(found for (_, name), found in meaning(made)[2].items() if name == "b'u4'")
        for made in (first, add(buys(f"u5,p1,regular,{12 * DAY}") | catalog))
    )
    assert (before["user/age"], after["user/age"]) == (["old"], ["old"])
    assert before["user/income"] != after["user/income"]
    assert before["purchase/id"] == after["purchase/id"]


def test_the_newest_catalog_says_what_an_object_is(first, add):
    added = add(
        buys(f"u5,p1,regular,{12 * DAY}")
        | {"catalog/product.csv": "product_id,category,price,coupons\np1,c_new,7,3 5\n"}
    )
    _, catalogs, _ = meaning(added)
    links = Codes(0).lookup(pl.Series(["3", "5"])).tolist()
    assert catalogs["product", "p1"][2:] == ({"category": ["c_new"], "coupons": links}, {"price": "7.0"})
    assert catalogs["product", "p2"] == meaning(first)[1]["product", "p2"]


def test_ids_may_become_text(first, add):
    rows = f"user_id,coupon_id,action,timestamp\nu5,extra,redeem,{13 * DAY}\n"
    added = add({"behaviors/redemption.csv": rows})
    assert (first.schema.entities["coupon"].id.dtype, added.schema.entities["coupon"].id.dtype) == ("int64", "string")
    assert added.catalogs["coupon"].ids.tolist() == [*map(str, first.catalogs["coupon"].ids.tolist()), "extra"]


def test_the_command_again_does_nothing_and_the_same_logs_twice_are_refused(first, add, tmp_path):
    rows = buys(f"u5,p1,regular,{12 * DAY}")
    added = add(rows)
    made = added.manifest["now"], Path(added.path).stat().st_ino
    again = add(rows)
    assert (again.manifest["now"], Path(again.path).stat().st_ino) == made
    in_place = shutil.copytree(first.path, tmp_path / "in_place")
    add(rows, "in_place", append=str(in_place))
    match = (
        r"Expected usable rows in .*purchase\.csv\. All 1 were dropped: 1 with timestamp not after "
        r"1970-01-13T00:00:00, the newest in the records \(first: row 1\)"
    )
    with pytest.raises(ValueError, match=match):
        add(rows, "in_place", append=str(in_place))
    assert Records(str(in_place)).manifest["fingerprint"] == added.manifest["fingerprint"]  # Nothing was lost.


def test_rows_that_come_late_are_dropped_and_counted(first, add):
    newest = first.manifest["append"]["newest"]["behaviors/purchase"]
    added = add(buys(f"u5,p1,regular,{newest}", f"u5,p2,regular,{newest + 1}", f"u5,p3,regular,{newest - 1}"))
    dropped = added.manifest["files"]["behaviors/purchase"]["dropped"]
    [(reason, found)] = dropped.items()
    assert reason.endswith("the newest in the records")
    assert found == {"rows": 2, "first_row": 1}
    assert added.manifest["behaviors"]["purchase"] == first.manifest["behaviors"]["purchase"] + 1
    assert added.manifest["append"]["newest"] == first.manifest["append"]["newest"] | {"behaviors/purchase": newest + 1}


NEWS = buys(f"u5,p1,regular,{12 * DAY}")


def test_another_schema_is_refused(texts, add, tmp_path):
    other = schema_of(tmp_path, texts["by_time"].replace("max_length = 5", "max_length = 6"))
    match = (
        r"Expected the schema of .*records, but for the dates of \[split\]\. There groups.redemption.max_length is 5, "
    )
    with pytest.raises(ValueError, match=match + r"in that of the new logs 6\. Make records of all logs"):
        add(NEWS, schema=other)


def test_a_split_may_not_go_back(texts, add, tmp_path):
    back = schema_of(tmp_path, texts["by_time"], "validation_from = 1970-02-28\ntest_from = 1970-03-15\n")
    match = (
        r"Expected a \[split\] that does not go back: what was counted in .*records stays counted\. validation_from "
        r"and test_from are 1970-03-01T00:00:00 and 1970-03-15T00:00:00 there, and 1970-02-28T00:00:00 and"
    )
    with pytest.raises(ValueError, match=match):
        add(NEWS, schema=back)


@pytest.mark.parametrize("kept", [None, {"sums": 7}])
def test_records_of_an_earlier_version_are_refused(first, add, tmp_path, kept):
    """They say nothing of what is kept for this, or the sums of their report are of other things."""
    old = shutil.copytree(first.path, tmp_path / "old")
    manifest = load_json(old / "manifest.json", "")
    own = manifest.pop("append")
    write_json(old / "manifest.json", manifest | ({"append": own | kept} if kept else {}))
    match = r"Expected records that can be appended to in .*old\. Found those of an earlier version"
    with pytest.raises(ValueError, match=match):
        add(NEWS, append=str(old))


def test_the_number_of_shards_stays(add):
    match = r"Records keep their number of shards when logs are added\. Received: shards=4\."
    with pytest.raises(ValueError, match=match):
        add(NEWS, shards=4)


def test_something_must_be_new(add):
    with pytest.raises(FileNotFoundError, match=r"Expected behaviors or impressions in .*logs_added, something new\."):
        add({"catalog/product.csv": "product_id,category,price,coupons\np1,c,7,\n"})


def test_what_is_damaged_is_refused(first, add, tmp_path):
    damaged = shutil.copytree(first.path, tmp_path / "damaged")
    shard = f"timelines-0000{shard_of('u5', 3)}-of-00003.tfrecord"
    names = ["state/counts-000000.parquet", "state/sums.npz", "state/catalog-product.parquet", shard]
    for name in names:
        content = (damaged / name).read_bytes()
        for what, bad in damages(content, 2, seed=3):
            (damaged / name).write_bytes(bad)
            with pytest.raises(ValueError, match=rf"{name} is damaged, or of other records.*Bring back a copy"):
                add(NEWS, append=str(damaged))
            assert not (tmp_path / "added").exists(), what
        (damaged / name).write_bytes(content)
    (damaged / names[0]).unlink()
    with pytest.raises(ValueError, match=r"counts-000000\.parquet is damaged.* Found none\."):
        add(NEWS, append=str(damaged))


@pytest.mark.parametrize("call", range(5))
def test_what_ends_early_leaves_the_records_that_stand(first, add, tmp_path, call):
    in_place, calls = shutil.copytree(first.path, tmp_path / "in_place"), []

    def ends(function, items, shared):
        calls.append(function)
        for item in items:
            found = function(item)
            if len(calls) == call + 1:
                raise InterruptedError
            yield found

    with pytest.raises(InterruptedError):
        add(NEWS, "in_place", append=str(in_place), engine=ends)
    stands = Records(str(in_place))
    stands.verify()
    assert stands.manifest == first.manifest
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
