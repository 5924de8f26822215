"""A simulated hotel search: what its docstring says is in its logs, and the probabilities are those of the clicks."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from atrank_tf.datasets import hotel_lists, write_hotel_lists
from atrank_tf.datasets.hotel_lists import AGAIN, CHEAPEST, DAY, LAST, LENGTH, NEXT, PLACE, PRICE, RATING, START

FILES = [
    *(f"behaviors/{group}" for group in ("look", "click", "search", "filter")),
    *("catalog/hotel", "impressions/next_click", "truth/next_click"),
]


def _read(folder: Path) -> dict[str, pl.DataFrame]:
    return {name: pl.read_parquet(folder / f"{name}.parquet") for name in FILES}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    folder = tmp_path_factory.mktemp("hotels") / "logs"
    rows = write_hotel_lists(str(folder), users=1500, seed=3)
    found = _read(folder)
    assert rows == {name: frame.height for name, frame in found.items()}
    return found


def _lists(logs: dict[str, pl.DataFrame], column: str) -> Any:
    name = "truth" if column == "probability" else "impressions"
    return logs[f"{name}/next_click"][column].to_numpy().reshape(-1, LENGTH)


def test_the_same_seed_gives_the_same_logs(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        write_hotel_lists(str(tmp_path / name), users=40, seed=seed)
    one, again, other = (_read(tmp_path / name) for name in ("one", "again", "other"))
    for name in FILES:
        assert_frame_equal(one[name], again[name])
    assert not one["impressions/next_click"].equals(other["impressions/next_click"])


def test_each_list_has_one_click_which_is_the_behavior_of_its_second(logs: dict[str, pl.DataFrame]) -> None:
    labels, hotels = _lists(logs, "label"), _lists(logs, "hotel_id")
    assert (labels.sum(axis=1) == 1).all()
    assert all(len(set(row)) == LENGTH for row in hotels)
    assert (_lists(logs, "position") == np.arange(1, LENGTH + 1)).all()
    clicks = logs["behaviors/click"]
    np.testing.assert_array_equal(clicks["hotel_id"], hotels[labels == 1])
    np.testing.assert_array_equal(clicks["timestamp"], _lists(logs, "timestamp")[:, 0])
    np.testing.assert_array_equal(clicks["user_id"], _lists(logs, "user_id")[:, 0])


def test_probabilities_differ_by_what_is_seen_as_the_equation_says(logs: dict[str, pl.DataFrame]) -> None:
    """Lists of one city and nearly one day share hotels: what is hidden of a hotel cancels out in its second list."""
    looks: dict[int, list[tuple[int, int]]] = {}
    for user, hotel, _, moment in logs["behaviors/look"].iter_rows():
        looks.setdefault(user, []).append((moment, hotel))
    rating = dict(logs["catalog/hotel"].select("hotel_id", "rating").iter_rows())
    hidden: dict[int, list[float]] = {}
    columns = ("hotel_id", "price", "probability", "user_id", "timestamp")
    for hotels, prices, chances, users, moments in zip(*(_lists(logs, column) for column in columns), strict=True):
        done = [hotel for moment, hotel in looks.get(int(users[0]), []) if moment < moments[0]]
        begun = [hotel for moment, hotel in looks.get(int(users[0]), []) if moments[0] - 1200 < moment < moments[0]]
        seen = np.array([RATING * rating[hotel] + AGAIN * np.log1p(done.count(hotel)) for hotel in hotels.tolist()])
        seen -= PRICE * np.log(prices / np.median(prices)) + PLACE * np.log(np.arange(1, LENGTH + 1))
        seen[np.argmin(prices)] += CHEAPEST
        if begun and begun[-1] in hotels:
            last = int(np.flatnonzero(hotels == begun[-1])[0])
            seen[last] += LAST
            seen[last + 1 : last + 3] += NEXT
        rest = np.log(chances) - seen
        for hotel, value in zip(hotels.tolist(), rest - rest.mean(), strict=True):
            hidden.setdefault(hotel, []).append(float(value))
    spread = np.mean([np.std(values) for values in hidden.values() if len(values) > 5])
    assert spread < 0.25  # Of the means of lists, which hold other hotels; the qualities' own is 0.7.
    assert np.std([np.mean(values) for values in hidden.values() if len(values) > 5]) > 0.5


def test_clicks_come_about_as_often_as_their_probabilities_say(logs: dict[str, pl.DataFrame]) -> None:
    chances, labels = _lists(logs, "probability"), _lists(logs, "label")
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-9)
    for low, high in ((0.0, 0.05), (0.05, 0.3), (0.3, 0.7), (0.7, 1.0)):
        inside = (chances > low) & (chances <= high)
        error = np.sqrt((chances[inside] * (1 - chances[inside])).sum()) / inside.sum()
        assert abs(labels[inside].mean() - chances[inside].mean()) < 4 * error


def test_most_ids_at_the_end_are_new_and_most_users(logs: dict[str, pl.DataFrame]) -> None:
    moments, hotels, users = (_lists(logs, column) for column in ("timestamp", "hotel_id", "user_id"))
    late = moments[:, 0] >= START + 27 * DAY
    early = moments[:, 0] < START + 24 * DAY
    assert 0.5 < 1 - np.isin(hotels[late], hotels[early]).mean() < 0.9
    assert 1 - np.isin(users[late, 0], users[early, 0]).mean() > 0.5


@pytest.mark.parametrize(("name", "changes"), [("users", {"users": 0}), ("seed", {"seed": -1})])
def test_sizes_out_of_range_are_refused(name: str, changes: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least"):
        hotel_lists.write_hotel_lists(str(tmp_path / "logs"), **({"users": 1, "seed": 1} | changes))
    assert not (tmp_path / "logs").exists()
