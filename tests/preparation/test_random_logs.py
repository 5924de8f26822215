"""Log files with anything in them: refused by name, or rows of the types that the records need."""

import datetime
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrank_tf.preparation import prepare
from atrank_tf.preparation.cleaning import clean_log, open_reader
from atrank_tf.preparation.logs import LogFile
from atrank_tf.preparation.open_log import as_error
from atrank_tf.schema import load_schema, schema_from_dict

SCHEMA = schema_from_dict(
    {
        "tables": {"item": {"dim": 2}, "tag": {"dim": 2}},
        "entities": {
            "item": {
                "id": {"column": "item_id", "table": "item"},
                "features": {"brand": "tag", "tags": {"table": "tag", "max_values": 3, "separator": "|"}},
                "dense": ["price"],
            }
        },
        "groups": {"click": {"entity": "item", "actions": ["view", "buy"]}},
        "tasks": {
            "next": {
                "group": "click",
                "candidates": "impressions",
                "context": {"features": {"slot": "tag"}, "dense": ["score"]},
            }
        },
        "user": {"features": {"age": "tag"}, "dense": ["income"]},
    }
)
COLUMNS = {
    "behaviors/click": ["user_id", "item_id", "action", "timestamp"],
    "impressions/next": ["request_id", "user_id", "item_id", "timestamp", "label", "slot", "score"],
    "catalog/item": ["item_id", "brand", "tags", "price"],
    "catalog/user": ["user_id", "age", "income"],
}
TYPES = {"row": pl.Int64, "user": pl.String, "id": pl.String, "timestamp": pl.Int64, "label": pl.Int64}
WANTED = {"action": ["view", "buy"], "label": [0, 1], "timestamp": [86_400, 4_000_000_000]}
"""What a column holds when all is well."""
HOSTILE = [
    "",
    " ",
    "0",
    "007",
    "-0",
    "1e400",
    "nan",
    "NaN",
    "inf",
    "1_000",
    "0x10",
    "٣",
    "\x00",
    "é\u202e",
    '"',
    "a|b||",
]

law = settings(settings.get_profile("ci"), max_examples=60)
much = settings(settings.get_profile("ci"), max_examples=3000)


def values(column: str) -> st.SearchStrategy[list[Any]]:
    """A few values of one type, as a column of a Parquet file has them; missing ones among them."""
    kinds: list[st.SearchStrategy[Any]] = [
        st.sampled_from(WANTED.get(column, ["a", "b"])),
        st.sampled_from(HOSTILE) | st.text(max_size=5),
        st.integers(-(2**63), 2**63 - 1),
        st.integers(2**63, 2**64 - 1),
        st.integers(0, 3),
        st.floats(),
        st.booleans(),
        st.binary(max_size=5),
        st.dates() | st.none(),
        st.datetimes(min_value=datetime.datetime(1, 1, 2), max_value=datetime.datetime(9999, 12, 30)),
        st.timedeltas(),
        st.lists(st.text(max_size=3) | st.none(), max_size=4),
        st.lists(st.integers(0, 5), max_size=4),
        st.decimals(-(10**9), 10**9, places=3),
        st.none(),
    ]
    return st.one_of(*(st.lists(kind | st.none(), min_size=4, max_size=4) for kind in kinds))


def check(path: Path, label: str) -> None:
    kind, name = label.split("/")
    try:
        reader = open_reader(LogFile(kind=kind, name=name, path=path), SCHEMA, path.parent / "staging")
        checks = reader.check_columns()
        if checks["unknown action"].rows:
            reader.unknown_actions()
        log = clean_log(reader, checks)
        with as_error(path):  # As all do that read rows.
            rows = log.frame.collect()
    except ValueError as error:
        assert str(path) in str(error)
        return
    for column, dtype in rows.schema.items():
        assert dtype == TYPES.get(column, dtype)
        if column in TYPES:
            assert not rows[column].null_count()
        if column == "timestamp":
            assert rows[column].is_between(1, 4_102_444_800).all()
        if column.startswith("feature/"):
            assert dtype == pl.List(pl.String)
            assert "" not in rows[column].explode(empty_as_null=True)
        if column.startswith("dense/"):
            assert dtype == pl.Float64
            assert rows[column].drop_nulls().is_finite().all()


def frames(label: str) -> st.SearchStrategy[dict[str, list[Any]]]:
    return st.fixed_dictionaries({column: values(column) for column in COLUMNS[label]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


def check_frame(data: st.DataObject, folder: Path) -> None:
    label = data.draw(st.sampled_from(sorted(COLUMNS)))
    frame = pl.DataFrame(data.draw(frames(label)), strict=False)
    frame.write_parquet(folder / "x.parquet")
    check(folder / "x.parquet", label)
    if not any(dtype.is_nested() or dtype in (pl.Binary, pl.Duration) for dtype in frame.dtypes):
        frame.write_csv(folder / "x.csv")
        check(folder / "x.csv", label)


@law
@given(data=st.data())
def test_columns_of_any_type(folder: Path, data: st.DataObject) -> None:
    check_frame(data, folder)


@pytest.mark.slow
@much
@given(data=st.data())
def test_many_columns_of_any_type(folder: Path, data: st.DataObject) -> None:
    check_frame(data, folder)


@law
@given(data=st.data(), cut=st.integers(0, 200), junk=st.binary(max_size=20))
def test_csv_files_with_anything_in_them(folder: Path, data: st.DataObject, cut: int, junk: bytes) -> None:
    label = data.draw(st.sampled_from(sorted(COLUMNS)))
    cells = st.sampled_from([*HOSTILE, "1", "view", "1.5", "a,b", "x\ny"])
    lines = [COLUMNS[label], *(data.draw(st.lists(cells, min_size=1, max_size=8)) for _ in range(3))]
    text = "\n".join(",".join(line) for line in lines).encode()
    (folder / "x.csv").write_bytes(text[:cut] + junk + text[cut:])
    check(folder / "x.csv", label)


@pytest.mark.parametrize("name", ["catalog/coupon", "impressions/next_redemption"])
def test_a_parquet_file_that_is_damaged_in_a_column_is_refused_by_name(
    logs: Path, schema_file: Path, tmp_path: Path, name: str
) -> None:
    path = shutil.copytree(logs, tmp_path / "logs") / f"{name}.parquet"
    content, magic = path.read_bytes(), b"\x28\xb5\x2f\xfd"  # Of a compressed page.
    places = [place for place in range(len(content)) if content.startswith(magic, place)]
    assert len(places) > 1
    for place in places:
        path.write_bytes(content[:place] + b"????" + content[place + 4 :])
        with pytest.raises(ValueError, match=rf"{name}\.parquet cannot be read: "):
            prepare(str(tmp_path / "logs"), load_schema(str(schema_file)), str(tmp_path / "records"))
