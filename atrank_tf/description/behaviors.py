"""Measures what users did: whether they come back, what goes before what, how often, and where time may be cut."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from atrank_tf.schema import SECONDS

DAY = SECONDS["day"]
_KNOWN_AFTER = 3
"""Behaviors after which a user counts as known."""


def repeat_share(chosen: pl.DataFrame) -> float:
    """Returns the share of choices whose object the same user chose before.

    Args:
        chosen: columns `user`, `id`, `time`.
    """
    before = chosen.select(pl.col("time") > pl.col("time").min().over("user", "id")).to_series()
    return float(before.mean() or 0.0)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Order:
    """What is known of two kinds of behavior on the same objects, by pairs of a user and an object.

    Args:
        before: of the pairs of the second kind, the share that has the first kind, too.
        first: of those, the share where the first kind does not come after the second.
    """

    before: float
    first: float

    @property
    def leads(self) -> bool:
        """Whether the first kind leads to the second, as looking does to buying."""
        return self.before >= 0.5 and self.first >= 0.8


def order_of(one: pl.DataFrame, other: pl.DataFrame) -> Order:
    """Measures whether one kind of behavior comes before another; frames as `repeat_share` has them."""
    firsts = [frame.group_by("user", "id").agg(pl.col("time").min()) for frame in (one, other)]
    both = firsts[1].join(firsts[0], on=["user", "id"], suffix="_one")
    ordered = both.select(pl.col("time_one") <= pl.col("time")).to_series().mean()
    return Order(len(both) / max(len(firsts[1]), 1), float(ordered or 0.0))  # type: ignore[arg-type]


def share_of_one_moment(events: pl.DataFrame) -> float:
    """Returns the share of rows that the three most frequent moments have: near 1 where times are made up."""
    counts = events["time"].value_counts(sort=True)["count"]
    return float(counts.head(3).sum()) / max(len(events), 1) if len(counts) > 0 else 0.0


def tied_share(events: pl.DataFrame) -> float:
    """Returns the share of rows that share user and moment with another."""
    return float(events.select(pl.len().over("user", "time") > 1).to_series().mean() or 0.0)  # type: ignore[arg-type]


def ties_keep_log_order(events: pl.DataFrame) -> bool:
    """Returns whether rows of one user and moment stand in an order of their own, not sorted by object."""
    ids = events["id"].cast(pl.Int64, strict=False)
    events = events.with_columns(id=ids if ids.null_count() == 0 else events["id"])
    steps = events.select(
        same=(pl.col("user") == pl.col("user").shift()) & (pl.col("time") == pl.col("time").shift()),
        rising=pl.col("id") > pl.col("id").shift(),
    ).filter("same")
    share = float(steps["rising"].mean() or 0.0) if len(steps) else 1.0  # type: ignore[arg-type]
    return 0.05 < share < 0.95


def history_length(events: pl.DataFrame) -> int:
    """Returns how many behaviors 95 of 100 users have at most."""
    return int(events.group_by("user").len()["len"].quantile(0.95) or 1)


def time_unit(groups: Sequence[pl.DataFrame]) -> tuple[str, int]:
    """Returns `unit` and `buckets` of [time].

    The unit is the largest one that half of the gaps between a user's moments are longer than, or of which the whole
    time has at least 4,096. Buckets cover the whole time.
    """
    times = pl.concat([frame.select("user", "time") for frame in groups]).unique().sort("user", "time")
    span = int(times["time"].max()) - int(times["time"].min())  # type: ignore[arg-type]
    if (times["time"] % DAY == 0).all():
        unit = "day"
    else:
        gap = times.select(pl.col("time").diff().over("user")).drop_nulls().to_series().median() or 1.0
        least = max(float(gap), span / 4096)  # type: ignore[arg-type]
        unit = next((name for name in ("day", "hour", "minute") if SECONDS[name] <= least), "second")
    span //= SECONDS[unit]
    return unit, min(max(span.bit_length() + 2, 8), 24)


ENOUGH = 200
"""Targets of a part that tell models apart."""


@dataclass(frozen=True)
class Cut:
    """Two moments that cut time into training, validation and test.

    Args:
        validation_from: when validation begins.
        test_from: when test begins.
        parts: task -> number of targets before, between and after.
        known: of validation's targets, the share of users who did something often enough before it began.
    """

    validation_from: int
    test_from: int
    parts: dict[str, tuple[int, int, int]]
    known: float


def find_cut(targets: dict[str, pl.DataFrame], groups: Sequence[pl.DataFrame]) -> Cut | None:
    """Cuts time where tasks have a fifth of their targets left, and where they have a tenth, in the mean of tasks.

    Where that leaves a part of a task with little, more is held out, up to half, if this gives each part `ENOUGH`, or a
    tenth of the task.

    Args:
        targets: task -> its positives: `user`, `time`.
        groups: what users did.

    Returns:
        The cut, at midnight (UTC) or, of less than two weeks, at a full hour; None if a part of a task would be empty.
    """
    days = pl.concat([frame.select("time") for frame in targets.values()])["time"]
    first, last = int(days.min()), int(days.max())  # type: ignore[arg-type]
    step = DAY if last - first >= 14 * DAY else SECONDS["hour"]
    weighed = pl.concat(
        [
            frame.group_by(slot=pl.col("time") // step).len().select("slot", share=pl.col("len") / len(frame))
            for frame in targets.values()
        ]
    )
    by_slot = weighed.group_by("slot").agg(pl.col("share").sum() / len(targets)).sort("slot")
    after = by_slot.with_columns(left=pl.col("share").cum_sum(reverse=True))

    def slot(share: float) -> int:
        return int(after.sort((pl.col("left") - share).abs(), "slot")["slot"][0]) * step

    def parts_of(validation: int, test: int) -> dict[str, tuple[int, int, int]]:
        counts = {}
        for name, frame in targets.items():
            time = frame["time"]
            later = int((time >= test).sum())
            counts[name] = (int((time < validation).sum()), int((time >= validation).sum()) - later, later)
        return counts

    def is_enough(cut: tuple[int, int]) -> bool:
        return all(min(part) >= min(ENOUGH, sum(part) // 10) for part in parts_of(*cut).values())

    cuts = [(slot(2 * share), slot(share)) for share in (0.1, 0.15, 0.2, 0.25)]
    validation, test = next((cut for cut in cuts if is_enough(cut)), cuts[0])
    parts = parts_of(validation, test)
    if not 0 < validation < test or min(min(part) for part in parts.values()) == 0:
        return None
    old = pl.concat([frame.filter(pl.col("time") < validation).select("user") for frame in groups])
    known = old.group_by("user").len().filter(pl.col("len") >= _KNOWN_AFTER)["user"]
    users = pl.concat([f.filter(pl.col("time").is_between(validation, test)).select("user") for f in targets.values()])
    return Cut(validation, test, parts, float(users["user"].is_in(known.implode()).mean() or 0.0))  # type: ignore[arg-type]


def users_with(targets: pl.DataFrame, fewest: int) -> float:
    """Returns the share of users with at least so many different moments."""
    counts = targets.group_by("user").len()["len"]
    return float((counts >= fewest).mean() or 0.0)  # type: ignore[arg-type]


def never_chosen_share(shown: pl.DataFrame, validation_from: int) -> float:
    """Returns, of what is shown after a moment, the share of objects that nobody was seen to choose before it."""
    before = shown.filter((pl.col("time") < validation_from) & (pl.col("label") > 0))["id"].unique()
    after = shown.filter(pl.col("time") >= validation_from)["id"]
    return 1 - float(after.is_in(before.implode()).mean() or 0.0) if len(after) else 0.0  # type: ignore[arg-type]
