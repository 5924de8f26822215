"""`experiments/*_lightgbm.py`: the counts made by hand are what they say, and are learned from."""

import gzip
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from atrank_tf.datasets import write_hotel_lists

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs of `experiments/` can be imported."""
    monkeypatch.syspath_prepend(ROOT / "experiments")


def test_the_counts_that_lightgbm_has_on_taobao(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By hand: user 1 is asked for c, user 2 for b, and what user 3 was asked for they had not looked at."""
    pytest.importorskip("lightgbm", reason="needs the package lightgbm (extra experiments)")
    made = import_module("taobao_lightgbm")
    logs = {
        "view": [(1, "a"), (1, "b"), (1, "c"), (2, "a"), (2, "b"), (3, "a")],
        "cart": [(1, "c"), (2, "a")],
        "buy": [(1, "a"), (1, "c"), (2, "a"), (2, "b"), (3, "a"), (3, "d")],
    }
    (tmp_path / "behaviors").mkdir()
    for name, rows in logs.items():
        lines = [f"{user},{item},{name},{time}" for time, (user, item) in enumerate(rows)]
        text = "\n".join(["user_id,item_id,action,timestamp", *lines])
        (tmp_path / f"behaviors/{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    numbers, labels, sizes = made.candidates(made.read_logs(str(tmp_path)), -1)
    assert sizes == [2, 1]
    np.testing.assert_array_equal(labels, [False, True, True])  # b and c of user 1, b of user 2; all bought a before.
    assert numbers.shape == (3, len(made.NAMES))
    # Viewed, in the cart; views, carts, purchases before the last; rates; how much was viewed.
    np.testing.assert_allclose(
        numbers[:, :8],
        [[1, 0, 2, 0, 0, 1 / 22, 1 / 4, 3], [1, 1, 1, 1, 0, 1 / 21, 1 / 5, 3], [1, 0, 2, 0, 0, 1 / 22, 1 / 4, 2]],
        rtol=1e-6,
    )
    np.testing.assert_array_equal(numbers[:, 8:10], 0)  # Nobody bought them with a.
    beside_a = [2 / np.sqrt(7 * 8), 1 / np.sqrt(6 * 8), 2 / np.sqrt(7 * 8)]  # Viewed together, by the roots of 5 more.
    np.testing.assert_allclose(numbers[:, 10:12], np.stack([beside_a, beside_a], axis=1), rtol=1e-6)
    given = np.array([[10 / 22 / 12, 10 / 22 / 10, 10 / 22 / 11], [10 / 21 / 11, 10 / 21 / 11, 10 / 21 / 10]])
    np.testing.assert_allclose(numbers[:2, 12], given.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(numbers[:2, 13], np.log(given).mean(axis=1), rtol=1e-6)
    made.main(str(tmp_path))
    assert re.findall(r"(counts.*): \d+ trees, HR@10 0.6667, NDCG@10 0\.\d{4}", capsys.readouterr().out) == [
        "counts",
        "counts, and what goes together",
    ]


def test_the_numbers_that_lightgbm_has_of_hotels(tmp_path: Path) -> None:
    """By hand: user 1 looked at b, then a; an hour before, b was clicked by user 2 and a by user 3, at one moment."""
    pytest.importorskip("lightgbm", reason="needs the package lightgbm (extra experiments)")
    made = import_module("hotel_lightgbm")
    lists = [(2, 1000, "b", 1, 1), (2, 1000, "a", 0, 2), (3, 1000, "b", 0, 1), (3, 1000, "a", 1, 2)]
    lists += [(1, 4600, "a", 0, 1), (1, 4600, "b", 1, 2), (1, 4600, "c", 0, 3)]
    looks = [(1, "b", "image", 4000), (1, "b", "deal", 4100), (1, "a", "info", 4500), (1, "c", "deal", 4600)]
    columns = ["user_id", "timestamp", "hotel_id", "label", "position"]
    for folder in ("behaviors", "catalog", "impressions"):
        (tmp_path / folder).mkdir()
    prices = pl.lit(pl.Series([50.0, 60.0, 60.0, 50.0, 90.0, 60.0, 60.0]))
    shown = pl.DataFrame(lists, columns, orient="row").with_columns(price=prices, request_id=pl.lit(0))
    shown.write_parquet(tmp_path / "impressions/next_click.parquet")
    for name, rows in (("look", looks), ("click", [(2, "b", "click", 1005)])):
        of_users = pl.DataFrame(rows, ["user_id", "hotel_id", "action", "timestamp"], orient="row")
        of_users.write_parquet(tmp_path / f"behaviors/{name}.parquet")
    hotels = {
        "hotel_id": ["a", "b", "c"],
        "city": "x",
        "stars": ["2 stars", "3 stars", "5 stars"],
        "rating": [0.5, 1, 0],
    }
    pl.DataFrame(hotels).write_parquet(tmp_path / "catalog/hotel.parquet")
    found = made.numbers(str(tmp_path))
    own = {name: found.filter(pl.col("user_id") == 1)[f"n_{name}"].to_list() for name in
           ("looks", "deal", "since_look", "is_last", "below_last", "times_shown", "times_clicked", "price_rank",
            "price_ratio", "price_over_last", "cheapest", "rating_rank", "stars_less_looked")}  # fmt: skip
    assert own == {
        "looks": [1, 2, None],  # What happens at the moment of the list is not known.
        "deal": [0, 1, None],
        "since_look": [100, 500, None],
        "is_last": [1, 0, 0],
        "below_last": [0, 1, 2],
        "times_shown": [2, 2, 0],
        "times_clicked": [1, 1, 0],
        "price_rank": [3.0, 1.5, 1.5],
        "price_ratio": [1.5, 1.0, 1.0],
        "price_over_last": [1.0, 60 / 90, 60 / 90],
        "cheapest": [0, 1, 1],
        "rating_rank": [2.0, 1.0, 3.0],
        "stars_less_looked": [-0.5, 0.5, 2.5],
    }
    first = found.filter(pl.col("timestamp") == 1000)
    assert first["n_times_shown"].to_list() == first["n_times_clicked"].to_list() == [0, 0, 0, 0]
    assert len([name for name in found.columns if name.startswith("n_")]) == 33


def test_lightgbm_scores_the_lists_of_a_file_by_numbers_made_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("lightgbm", reason="needs the package lightgbm (extra experiments)")
    made = import_module("hotel_lightgbm")
    logs, file, scored = str(tmp_path / "logs"), tmp_path / "asked.parquet", tmp_path / "scored.parquet"
    write_hotel_lists(logs, users=600, seed=1)
    shown = pl.read_parquet(f"{logs}/impressions/next_click.parquet").filter(pl.col("timestamp") >= made.TEST)
    texts = {"user_id": pl.col("user_id").cast(pl.String), "candidate": pl.col("hotel_id").cast(pl.String)}
    asked = shown.select("timestamp", "label", score=pl.lit(0.0), **texts).sort("candidate")  # No list stays together.
    asked.write_parquet(file)
    made.main(logs, str(file), str(scored))
    assert re.match(r"\d+ trees, 33 numbers; by most gain ", capsys.readouterr().out)
    found = pl.read_parquet(scored)
    assert found.drop("score").equals(asked.drop("score"))
    best = found.sort("score").group_by("user_id", "timestamp").last()
    assert best["label"].mean() > 0.3  # The first of each list is the right one for 0.15, a random one for 0.04.
    asked.with_columns(candidate=pl.lit("another")).write_parquet(file)
    with pytest.raises(ValueError, match=r"Expected the requests of .*asked\.parquet to be lists of .*logs, each of "):
        made.main(logs, str(file), str(scored))
