"""A simulated hotel search: lists as they were shown, and the true probability of each click.

It has what logs of lists have and a market of sampled candidates has not: one click for each list, positions that draw
clicks by themselves, prices, ids that come and go, and users of whom most were never seen before.

User u comes on a random day and searches a city; a quarter come back days later, for the same city or another. A list
shows `LENGTH` of the hotels that are on offer in the city that day, those of higher attraction rather above, each at
its price of the day. The user looks at some of them, then clicks one. Both choose hotel o of list L by

    P(o) = softmax over L of  q(o) + RATING rating(o) - PRICE log(price(o) / median price of L)
                              + CHEAPEST [o is cheapest] - PLACE log(position(o))
                              + LAST [o was looked at last] + NEXT [o is 1 or 2 below the one looked at last]
                              + AGAIN log(1 + how often u looked at o)

where q is hidden. A hotel is on offer for some days and comes back under another id: at the end of the log most ids are
new to whoever counted at its beginning.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from atrank_tf.files import whole_folder

START = 1_704_067_200
"""2024-01-01, in Unix seconds."""
DAY, DAYS = 86_400, 30
LENGTH = 25
"""Hotels in a list."""
CITIES, HOTELS = 60, 60
"""Cities, and hotels on offer in each at a time."""
ON_OFFER = 5.0
"""Mean days of an id."""
COMES_BACK, SAME_CITY = 0.25, 0.5
LOOKS = 2.0
"""Mean number of hotels that a user looks at before the click."""
RATING, PRICE, CHEAPEST, PLACE, LAST, AGAIN, NEXT = 0.6, 3.0, 0.5, 0.7, 1.7, 0.8, 0.7
ACTIONS = ("image", "info", "deal")
FILTERS = ("breakfast", "pool", "wifi", "parking", "pets", "beach", "cheap", "best")

Floats = NDArray[np.float64]


def write_hotel_lists(logs: str, *, users: int, seed: int) -> dict[str, int]:
    """Simulates a hotel search and writes its logs.

    | file | content |
    |---|---|
    | `behaviors/look`, `behaviors/click` | hotels that users looked at (`image`, `info`, `deal`), and clicked |
    | `behaviors/search`, `behaviors/filter` | cities that they searched, and filters that they set, at random |
    | `catalog/hotel` | city, stars and rating of each hotel |
    | `impressions/next_click` | the lists: hotel, label, position from 1, price |
    | `truth/next_click` | the true probability of each click; `prepare` does not read it |

    Args:
        logs: the folder, written whole or not at all.
        users: number of users, with ids 1, 2, ...
        seed: seed of all random draws.

    Returns:
        File, without its ending -> number of rows.

    Raises:
        FileExistsError: the folder is there already.
        ValueError: `users` or `seed` is out of range.
    """
    for name, value, least in (("users", users, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}. Received: {name}={value}.")
    search = _Search(np.random.default_rng(seed))
    for user in range(1, users + 1):
        search.visit(user)
    with whole_folder(logs) as folder:
        return {name: _write(rows, folder / f"{name}.parquet") for name, rows in search.frames().items()}


class _Search:
    """All hotels, and what users did so far."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        places = CITIES * HOTELS
        self._quality = rng.normal(0.0, 0.7, places)
        self._stars = rng.integers(1, 6, places)
        self._rating = np.round(0.4 * self._stars + rng.normal(0.0, 1.0, places), 1)
        self._price = 40.0 * np.exp(0.25 * self._stars + rng.normal(0.0, 0.3, places))
        # The days on which the id of each place changes; id = place + places * changes so far.
        self._changes = np.cumsum(rng.exponential(ON_OFFER, (places, 24)), axis=1) - rng.exponential(
            ON_OFFER, (places, 1)
        )
        self._cities = rng.permutation(1.0 / np.arange(1, CITIES + 1))
        self._cities /= self._cities.sum()
        self._seen: set[int] = set()
        columns = {"look": "hotel_id", "click": "hotel_id", "search": "city_id", "filter": "filter_id"}
        self._behaviors: dict[str, tuple[str, list[tuple[int, int | str, str, int]]]] = {
            group: (column, []) for group, column in columns.items()
        }
        self._shown: list[tuple[int, int, int, NDArray[np.int64], int, Floats, Floats]] = []

    def visit(self, user: int) -> None:
        """Simulates all visits of a user."""
        rng = self._rng
        moment, city = rng.uniform(0.0, DAYS), int(rng.choice(CITIES, p=self._cities))
        looks: dict[int, int] = {}
        while moment < DAYS:
            self._search(user, city, moment, looks)
            if rng.random() >= COMES_BACK:
                return
            moment += rng.exponential(4.0) + 0.05
            if rng.random() >= SAME_CITY:
                city = int(rng.choice(CITIES, p=self._cities))

    def _search(self, user: int, city: int, day: float, looks: dict[int, int]) -> None:
        rng, clock = self._rng, START + int(day * DAY)
        places = city * HOTELS + np.arange(HOTELS)
        attraction = self._quality[places] + RATING * self._rating[places]
        order = np.argsort(-attraction - rng.gumbel(scale=1.5, size=HOTELS))[:LENGTH]
        places, attraction = places[order], attraction[order]
        ids = 1 + places + CITIES * HOTELS * (self._changes[places] < day).sum(axis=1)
        price = np.round(self._price[places] * np.exp(rng.normal(0.0, 0.15, LENGTH)))
        fixed = attraction - PRICE * np.log(price / np.median(price)) - PLACE * np.log1p(np.arange(LENGTH))
        fixed[np.argmin(price)] += CHEAPEST
        self._act("search", user, city + 1, "search", clock)
        if rng.random() < 0.3:
            clock += int(rng.integers(5, 40))
            self._act("filter", user, str(rng.choice(FILTERS)), "set", clock)
        last = -1
        for _ in range(rng.poisson(LOOKS)):
            clock += int(rng.integers(5, 60))
            last = int(rng.choice(LENGTH, p=self._choice(fixed, ids, looks, last)))
            looks[ids[last]] = looks.get(ids[last], 0) + 1
            self._act("look", user, int(ids[last]), str(rng.choice(ACTIONS)), clock)
        clock += int(rng.integers(5, 60))
        chances = self._choice(fixed, ids, looks, last)
        chosen = int(rng.choice(LENGTH, p=chances))
        self._shown.append((len(self._shown) + 1, user, clock, ids, chosen, price, chances))
        self._act("click", user, int(ids[chosen]), "click", clock)

    def _choice(self, fixed: Floats, ids: NDArray[np.int64], looks: dict[int, int], last: int) -> Floats:
        """Returns the probability of each hotel of a list."""
        logits = fixed + AGAIN * np.log1p([looks.get(each, 0) for each in ids.tolist()])
        if last >= 0:
            logits[last] += LAST
            logits[last + 1 : last + 3] += NEXT
        shares = np.exp(logits - logits.max())
        return np.asarray(shares / shares.sum())

    def _act(self, group: str, user: int, chosen: int | str, action: str, clock: int) -> None:
        self._behaviors[group][1].append((user, chosen, action, clock))

    def frames(self) -> dict[str, pl.DataFrame]:
        """Returns the rows of each file."""
        frames = {
            f"behaviors/{group}": pl.DataFrame(rows, ["user_id", column, "action", "timestamp"], orient="row")
            for group, (column, rows) in self._behaviors.items()
        }
        requests, users, moments, ids, chosen, prices, chances = zip(*self._shown, strict=True)
        shown = {
            "request_id": np.repeat(requests, LENGTH),
            "user_id": np.repeat(users, LENGTH),
            "timestamp": np.repeat(moments, LENGTH),
            "hotel_id": np.concatenate(ids),
        }
        label = (np.arange(LENGTH) == np.array(chosen)[:, np.newaxis]).astype(np.int8).ravel()
        context = {
            "label": label,
            "position": np.tile(np.arange(1, LENGTH + 1), len(ids)),
            "price": np.concatenate(prices),
        }
        frames["impressions/next_click"] = pl.DataFrame(shown | context)
        frames["truth/next_click"] = pl.DataFrame(shown | {"probability": np.concatenate(chances)})
        known = np.unique(shown["hotel_id"])
        place = (known - 1) % (CITIES * HOTELS)
        frames["catalog/hotel"] = pl.DataFrame(
            {
                "hotel_id": known,
                "city": [f"city {number}" for number in place // HOTELS + 1],
                "stars": [f"{number} stars" for number in self._stars[place]],
                "rating": self._rating[place],
            }
        )
        return frames


def _write(frame: pl.DataFrame, path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)
    return frame.height
