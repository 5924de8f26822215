"""Writes the logs of a simulated market, and the true click probabilities beside them."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl

from atrank_tf.datasets.market.equations import EFFECTS, MarketSettings
from atrank_tf.datasets.market.objects import KINDS, Objects, draw_objects
from atrank_tf.datasets.market.visits import MOST_VISITS, Behaviors, Shown, Visits
from atrank_tf.files import whole_folder
from atrank_tf.progress import progress

START = 1_704_067_200
"""2024-01-01, time 0 of a market, in Unix seconds."""
USERS_PER_BLOCK = 1_024
"""Users simulated at a time. A constant, so that a market of fewer users has the first users of a larger one."""


def write_market(logs: str, *, users: int, seed: int, settings: MarketSettings | None = None) -> dict[str, int]:
    """Simulates a market and writes its logs; memory does not grow with the number of users.

    | file | content |
    |---|---|
    | `behaviors/<kind>` | behaviors; kinds are "product", "query" and "coupon" |
    | `catalog/<kind>` | category and brand of each object |
    | `impressions/next_<kind>` | candidates of each request, and whether they were clicked |
    | `truth/next_<kind>` | their true click probabilities; `prepare` does not read it |

    Args:
        logs: the folder, written whole or not at all.
        users: number of users, with ids 1, 2, ...; a market of fewer users has the first users of a larger one.
        seed: seed of all random draws.
        settings: sizes of the market; defaults to `MarketSettings()`.

    Returns:
        File, without its ending -> number of rows.

    Raises:
        FileExistsError: the folder is there already.
        ValueError: `users` or `seed` is out of range.
    """
    for name, value, least in (("users", users, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}. Received: {name}={value}.")
    objects = draw_objects(settings or MarketSettings(), seed)
    with whole_folder(logs) as folder:
        for kind in KINDS:
            _write(_catalog(objects, kind), folder / f"catalog/{kind}.parquet")
        parts = folder / "parts"
        with progress("simulating", "users", users) as shown:
            for block, first in enumerate(range(0, users, USERS_PER_BLOCK)):
                # A last block that is not full is simulated in full, so that its users draw what they always do.
                visits = Visits(objects, USERS_PER_BLOCK, np.random.default_rng([seed, 1 + block]))
                count = min(users - first, USERS_PER_BLOCK)
                for name, frame in _frames(visits, objects, first).items():
                    own = frame.filter(pl.col("user_id") <= first + count)
                    _write(own, parts / name / f"{block:08}.parquet")
                shown.update(count)
        names = [path.relative_to(parts).as_posix() for path in sorted(parts.glob("*/*"))]
        rows = {name: _join(parts / name, folder / f"{name}.parquet") for name in names}
        shutil.rmtree(parts)
    return rows


def _catalog(objects: Objects, kind: str) -> pl.DataFrame:
    own = objects.of_kind(kind)
    return pl.DataFrame(
        {
            f"{kind}_id": np.arange(1, own.stop - own.start + 1),
            "category": [f"c{number}" for number in objects.category[own]],
            "brand": [f"b{number}" for number in objects.brand[own]],
        }
    )


def _frames(visits: Visits, objects: Objects, first_user: int) -> dict[str, pl.DataFrame]:
    """Returns the rows of a block of users: file -> rows, ordered by user and time. Ids count from 1."""
    frames = {}
    for kind in KINDS:
        before = objects.of_kind(kind).start - 1
        done = Behaviors(*map(np.concatenate, zip(*visits.behaviors[kind], strict=True)))
        actions = np.array(list(EFFECTS[kind]))
        behaviors = {
            "user_id": done.user + first_user + 1,
            f"{kind}_id": done.chosen - before,
            "action": actions[done.action],
            "timestamp": done.moment + START,
        }
        frames[f"behaviors/{kind}"] = pl.DataFrame(behaviors)
        shown = Shown(*map(np.concatenate, zip(*visits.shown[kind], strict=True)))
        user = shown.user + first_user + 1
        candidates = {
            "request_id": user * MOST_VISITS + shown.visit,
            "user_id": user,
            "timestamp": shown.moment + START,
            f"{kind}_id": shown.shown - before,
        }
        frames[f"impressions/next_{kind}"] = pl.DataFrame({**candidates, "label": shown.label.astype(np.int8)})
        frames[f"truth/next_{kind}"] = pl.DataFrame({**candidates, "probability": shown.probability})
    return {name: frame.sort("user_id", "timestamp", maintain_order=True) for name, frame in frames.items()}


def _write(frame: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)


def _join(parts: Path, path: Path) -> int:
    """Joins the files of a folder, in the order of their names; returns the number of rows."""
    rows = pl.scan_parquet(parts / "*.parquet")
    rows.sink_parquet(path, mkdir=True)
    return int(rows.select(pl.len()).collect().item())
