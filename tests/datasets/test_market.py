"""A simulated market: its logs are what its docstring says, and nothing about a user is hidden from them."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from atrank_tf.datasets import MarketSettings, write_market
from atrank_tf.datasets.market.equations import CHOICES, EFFECTS
from atrank_tf.datasets.market.logs import START, USERS_PER_BLOCK
from atrank_tf.datasets.market.objects import KINDS, draw_objects
from atrank_tf.datasets.market.visits import DAYS
from atrank_tf.preparation import prepare
from atrank_tf.schema import load_schema

ROOT = Path(__file__).parents[2]
DAY = 86_400
SMALL = MarketSettings(products=40, queries=20, coupons=11, categories=5, brands=7, taste=3)
"""So few objects that users meet the same ones again and again."""
USERS = 25


def read(folder, users=None):
    frames = {}
    for path in sorted(folder.rglob("*.parquet")):
        frame = pl.read_parquet(path)
        if users and "user_id" in frame.columns:
            frame = frame.filter(pl.col("user_id") <= users)
        frames[path.relative_to(folder).as_posix()] = frame
    return frames


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """The folder of a small market of two blocks."""
    folder = tmp_path_factory.mktemp("market") / "logs"
    rows = write_market(str(folder), users=USERS_PER_BLOCK + 6, seed=3, settings=SMALL)
    assert rows == {
        name.removesuffix(".parquet"): len(frame)
        for name, frame in read(folder).items()
        if not name.startswith("catalog")
    }
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """The folder of the same market, of its first users."""
    folder = tmp_path_factory.mktemp("market") / "logs"
    write_market(str(folder), users=USERS, seed=3, settings=SMALL)
    return folder


def test_the_first_users_of_many_are_those_of_few(market, few):
    expected, found = read(few), read(market, USERS)
    assert set(found) == set(expected) == {
        *(f"behaviors/{kind}.parquet" for kind in KINDS),
        *(f"catalog/{kind}.parquet" for kind in KINDS),
        *(f"impressions/next_{kind}.parquet" for kind in KINDS),
        *(f"truth/next_{kind}.parquet" for kind in KINDS),
    }  # fmt: skip
    for name, frame in expected.items():
        assert_frame_equal(found[name], frame)


def test_every_user_of_every_block_is_there_once(market):
    rows = pl.concat(pl.read_parquet(market / f"behaviors/{kind}.parquet", columns=["user_id"]) for kind in KINDS)
    assert sorted(rows["user_id"].unique()) == list(range(1, USERS_PER_BLOCK + 7))
    first, second = (read(market)["behaviors/product.parquet"].filter(pl.col("user_id") == user) for user in (1, 1025))
    assert first["timestamp"].to_list() != second["timestamp"].to_list()  # Blocks draw for themselves.


def test_another_seed_gives_another_market(few, tmp_path):
    write_market(str(tmp_path / "logs"), users=USERS, seed=4, settings=SMALL)
    for name, frame in read(tmp_path / "logs").items():
        assert not frame.equals(read(few)[name]), name


def history(frames, user):
    """Returns what a user did, in time order: (days, kind, action, object)."""
    done = []
    for kind in KINDS:
        rows = frames[f"behaviors/{kind}.parquet"].filter(pl.col("user_id") == user)
        for number, action, moment in rows.select(f"{kind}_id", "action", "timestamp").iter_rows():
            done.append(((moment - START) / DAY, kind, action, number))
    return sorted(done)


def probability(objects, seen, days, kind, number):
    """The equations of `atrank_tf.datasets.market`, one behavior after the other."""
    at = {kind: objects.of_kind(kind).start - 1 for kind in KINDS}
    candidate = at[kind] + number
    category = objects.category[candidate]
    base, wants, tastes = CHOICES[kind]
    want, before = 0.0, 0.0
    taste, tasted, again = np.zeros(objects.vector.shape[1]), 3.0, 0.0
    for moment, own, action, chosen in seen:
        want, before = want * math.exp((before - moment) / 4), moment
        effect, of = EFFECTS[own][action], objects.category[at[own] + chosen]
        if of == category:
            want = 0.1 * want if action == "purchase" else want + effect.want
        if action == "purchase":
            want += list(objects.complements[of]).count(category)
        weight = effect.taste * math.exp((moment - days) / 45)
        taste, tasted = taste + weight * objects.vector[at[own] + chosen], tasted + weight
        if (own, chosen) == (kind, number):
            again += effect.again * math.exp((moment - days) / 14)
    want *= math.exp((before - days) / 4)
    liked = (taste / tasted) @ objects.vector[candidate]
    logit = base + objects.attraction[candidate] + wants * want / (1 + want) + tastes * liked + again
    return 1 / (1 + math.exp(-logit))


def test_the_truth_follows_from_what_is_in_the_logs_before_the_request(few):
    frames, objects = read(few), draw_objects(SMALL, 3)
    checked = 0
    for user in range(1, 6):
        done = history(frames, user)
        for kind in KINDS:
            rows = frames[f"truth/next_{kind}.parquet"].filter(pl.col("user_id") == user)
            for number, moment, given in rows.select(f"{kind}_id", "timestamp", "probability").iter_rows():
                days = (moment - START) / DAY
                seen = [behavior for behavior in done if behavior[0] < days]
                assert seen
                assert given == pytest.approx(probability(objects, seen, days, kind, number), rel=1e-4)
                checked += 1
    assert checked > 300


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_are_clicked_as_often_as_the_truth_says(market, kind):
    labels = pl.read_parquet(market / f"impressions/next_{kind}.parquet")
    truth = pl.read_parquet(market / f"truth/next_{kind}.parquet")
    assert labels.columns == ["request_id", "user_id", "timestamp", f"{kind}_id", "label"]
    assert_frame_equal(labels.drop("label"), truth.drop("probability"))
    known, label = truth["probability"].to_numpy(), labels["label"].to_numpy()
    assert ((known > 0) & (known < 1)).all()
    for part in np.array_split(np.argsort(known), 10):
        error = math.sqrt((known[part] * (1 - known[part])).sum()) / len(part)
        assert label[part].mean() == pytest.approx(known[part].mean(), abs=4 * error)


@pytest.mark.parametrize(("kind", "action"), [("product", "click"), ("query", "search"), ("coupon", "claim")])
def test_a_click_comes_after_its_request(market, kind, action):
    shown = pl.read_parquet(market / f"impressions/next_{kind}.parquet")
    done = pl.read_parquet(market / f"behaviors/{kind}.parquet").filter(pl.col("action") == action)
    clicked = shown.filter(pl.col("label") == 1).select("user_id", f"{kind}_id", pl.col("timestamp").alias("asked"))
    followed = clicked.join(done, on=["user_id", f"{kind}_id"]).filter(
        pl.col("timestamp").is_between(pl.col("asked") + 1, pl.col("asked") + 140)
    )
    assert len(clicked) > 1000
    assert followed.select("user_id", f"{kind}_id", "asked").n_unique() == len(clicked)
    assert len(clicked) < len(done)  # The others opened a visit.


def test_a_user_does_one_thing_at_a_time(market):
    frames = read(market, 200)
    moments = [frames[f"behaviors/{kind}.parquet"].select("user_id", "timestamp") for kind in KINDS]
    moments += [frames[f"impressions/next_{kind}.parquet"].select("user_id", "timestamp").unique() for kind in KINDS]
    together = pl.concat(moments)
    assert together.is_unique().all()
    assert together["timestamp"].is_between(START, START + (DAYS + 1) * DAY).all()


def test_a_request_shows_an_object_once_and_belongs_to_one_moment(market):
    for kind in KINDS:
        shown = pl.read_parquet(market / f"impressions/next_{kind}.parquet")
        assert shown.select("request_id", f"{kind}_id").is_unique().all()
        assert shown.select("request_id", "user_id", "timestamp").n_unique() == shown["request_id"].n_unique()


def test_a_coupon_is_used_at_a_purchase_in_its_category_and_was_claimed_before(few):
    frames, uses = read(few), 0
    of = {kind: dict(frames[f"catalog/{kind}.parquet"].select(f"{kind}_id", "category").iter_rows()) for kind in KINDS}
    for user in range(1, USERS + 1):
        done = history(frames, user)
        claimed = set()
        for (_, _, action, bought), (_, _, next_action, used) in pairwise(done):
            if action == "claim":
                claimed.add(bought)
            if next_action == "use":
                uses += 1
                assert action == "purchase" and of["product"][bought] == of["coupon"][used] and used in claimed
    assert uses > 10


def test_prepare_takes_the_logs_with_the_schema_of_the_experiments(few, tmp_path):
    schema = load_schema(str(ROOT / "atrank_tf/datasets/market.schema.toml"))
    records = prepare(str(few), schema, str(tmp_path / "records"))
    frames = read(few)
    assert records.manifest["users"] == USERS
    assert records.manifest["ignored"] == []
    assert all(not file["dropped"] for file in records.manifest["files"].values())
    for kind in KINDS:
        assert records.manifest["behaviors"][kind] == len(frames[f"behaviors/{kind}.parquet"])
        asked = frames[f"impressions/next_{kind}.parquet"]["timestamp"]
        for begin, end in ((0, 92), (92, 106), (106, 121)):  # Training, validation and test, as the schema divides.
            assert asked.is_between(START + begin * DAY, START + end * DAY, closed="left").any()
    assert (schema.split.validation_from, schema.split.test_from) == (START + 92 * DAY, START + 106 * DAY)


def test_what_is_there_is_left_alone(tmp_path):
    with pytest.raises(FileExistsError, match=r"Expected nothing at .*\. Remove it, or choose another folder\."):
        write_market(str(tmp_path), users=10, seed=1, settings=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("atrank_tf.datasets.market.logs._join", fail)
    with pytest.raises(OSError, match="disk full"):
        write_market(str(tmp_path / "logs"), users=10, seed=1, settings=SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [({"users": 0}, r"users must be at least 1\. Received: users=0"), ({"seed": -1}, r"seed must be at least 0")],
)
def test_numbers_out_of_range(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        write_market(str(tmp_path / "logs"), **({"users": 10, "seed": 1} | given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"brands": 0}, r"brands must be positive\. Received: brands=0\."),
        ({"coupons": 199}, r"coupons must be at least the number of categories\. Received: coupons=199, "),
    ],
)
def test_settings_out_of_range(given, message):
    with pytest.raises(ValueError, match=message):
        MarketSettings(**given)
