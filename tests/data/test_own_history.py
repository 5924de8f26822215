"""Negatives from the user's own history: which there are by hand, and what is never drawn, for any history."""

from itertools import islice
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from atrank_tf.data import Part, Records, requests, timeline_batches, training_batches
from atrank_tf.data.candidates import NegativeSampler
from atrank_tf.data.catalog import Catalog
from atrank_tf.data.excluded import Excluded, excluded
from atrank_tf.data.own_history import OwnHistory, own_history
from atrank_tf.data.targets import Behaviors, Chunk, Targets
from atrank_tf.experiment import Batching
from atrank_tf.preparation import prepare
from atrank_tf.schema import Exclude, Negatives, load_schema, schema_from_dict

GO, BUY = 2, 3
Rows = list[tuple[int, int, int, int]]
"""Behaviors, each (user, timestamp, object, action), ordered by user and time."""


def _schema(exclude: str) -> Any:
    return schema_from_dict(
        {
            "tables": {"item": {"dim": 2}},
            "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
            "groups": {
                "buy": {"entity": "item", "actions": ["return", "buy"]},
                "visit": {"entity": "item", "actions": ["go"]},
            },
            "tasks": {"next": {"group": "buy", "actions": ["buy"], "negatives": {"uniform": 1, "exclude": exclude}}},
        }
    )


def _behaviors(rows: Rows) -> Behaviors:
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    user, timestamp, ids, action = (tf.constant(column, tf.int64) for column in columns)
    return Behaviors(ids, action, timestamp, user, tf.zeros([0], tf.int64))


def _targets(users: list[int], times: list[int]) -> Targets:
    user = tf.constant(users, tf.int64)
    return Targets(user, user, tf.constant(times, tf.int64), {}, {})


def _own(exclude: str, bought: Rows, visited: Rows) -> tuple[Excluded, OwnHistory]:
    groups = {"buy": _behaviors(bought), "visit": _behaviors(visited)}
    barred = excluded(Chunk(tf.constant([]), {}, groups, {}), _schema(exclude), "next")
    return barred, own_history(list(groups.values()), barred)


def _draws(own: tuple[Excluded, OwnHistory], targets: Targets, number: int, seed: int = 0) -> list[list[int]]:
    barred, history = own
    found: list[list[int]] = history.draw(barred, targets, number, tf.constant([seed, 7], tf.int64)).numpy().tolist()
    return found


BOUGHT: Rows = [
    (0, 10, 5, BUY),
    (0, 20, 6, BUY),
    (0, 20, 7, BUY),
    (0, 30, 5, BUY),
    (0, 30, 8, BUY),
    (1, 10, 9, 2),
    (1, 15, 9, BUY),
]
VISITED: Rows = [(0, 5, 8, GO), (0, 20, 4, GO), (0, 30, 3, GO), (1, 2, 2, GO)]


@pytest.mark.parametrize(
    ("exclude", "user", "now", "expected"),
    [
        ("same_moment", 0, 5, []),  # Nothing before it; 8 was visited at that second.
        ("same_moment", 0, 10, [8]),
        ("same_moment", 0, 20, [8, 5]),  # Not 4, of the same second.
        ("same_moment", 0, 30, [6, 7, 4]),  # The basket holds 5 and 8 again.
        ("same_moment", 1, 15, [2]),  # 9 was returned before, and is bought now.
        ("ever_chosen", 0, 30, [4]),
        ("ever_chosen", 0, 10, []),  # 8 will be bought.
        ("ever_chosen", 1, 15, [2]),
    ],
)
def test_what_may_be_drawn_by_hand(exclude: str, user: int, now: int, expected: list[int]) -> None:
    own = _own(exclude, BOUGHT, VISITED)
    assert [sorted(ids) for ids in _draws(own, _targets([user], [now]), max(1, len(expected)))] == [
        sorted(expected) or [0]
    ]
    wide = _draws(own, _targets([user, user], [now, now]), len(expected) + 2)
    for ids in wide:  # All of them, each once, then padding.
        assert sorted(ids[: len(expected)]) == sorted(expected)
        assert ids[len(expected) :] == [0, 0]


def test_each_object_is_as_likely_however_often_it_was_done() -> None:
    bought: Rows = [(0, 1, 5, BUY), (0, 2, 5, BUY), (0, 3, 5, BUY), (0, 4, 6, BUY), (0, 5, 7, BUY), (0, 6, 8, BUY)]
    own = _own("same_moment", [*bought, (0, 9, 7, BUY)], [(0, 7, 4, GO), (0, 8, 3, GO)])
    rows = np.array(_draws(own, _targets([0] * 20_000, [9] * 20_000), 2))
    share = np.bincount(rows.ravel(), minlength=9) / rows.size
    np.testing.assert_allclose(share, [0, 0, 0, 0.2, 0.2, 0.2, 0.2, 0, 0.2], atol=0.01)
    assert (rows[:, 0] != rows[:, 1]).all()


def test_of_nobody_and_of_nothing() -> None:
    assert _draws(_own("same_moment", BOUGHT, VISITED), _targets([], []), 2) == []
    assert _draws(_own("ever_chosen", [(0, 3, 5, BUY)], []), _targets([0, 1], [3, 9]), 2) == [[0, 0], [0, 0]]
    assert _draws(_own("same_moment", [], []), _targets([0], [3]), 1) == [[0]]


BEHAVIOR = st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(2, 9), st.sampled_from([2, BUY]))


@settings(max_examples=200, deadline=None)
@given(
    bought=st.lists(BEHAVIOR, max_size=25),
    visited=st.lists(BEHAVIOR, max_size=15),
    exclude=st.sampled_from(list(Exclude)),
    number=st.integers(1, 4),
    seed=st.integers(0, 5),
)
def test_4_a_draw_is_from_before_the_request_and_never_excluded(
    bought: Rows, visited: Rows, exclude: Exclude, number: int, seed: int
) -> None:
    bought, visited = sorted(bought), sorted(visited)
    asked = [(user, now, ids) for user, now, ids, action in bought if action == BUY]
    targets = _targets([user for user, _, _ in asked], [now for _, now, _ in asked])
    for (user, now, _), drawn in zip(asked, _draws(_own(exclude, bought, visited), targets, number, seed), strict=True):
        known = {item for owner, moment, item, _ in [*bought, *visited] if owner == user and moment < now}
        barred = {item for owner, then, item in asked if owner == user and (exclude == "ever_chosen" or then == now)}
        real = [item for item in drawn if item]
        assert set(real) <= known - barred
        assert len(set(real)) == len(real) == min(number, len(known - barred))
        assert drawn == real + [0] * (number - len(real))


def test_where_the_history_ends_the_rest_is_drawn_uniformly() -> None:
    """User 0 knows 8 and 5 at time 20, user 1 nothing at time 1; 6 and 7 are in the basket."""
    catalog = Catalog(np.arange(2, 10), np.full(10, 1), np.arange(10, dtype=np.int32), {}, {})
    sampler = NegativeSampler(catalog, Negatives(uniform=1, history=3, popularity=1))
    barred, history = _own("same_moment", BOUGHT, VISITED)
    rows = sampler.draw(
        barred, history, _targets([0] * 500 + [1] * 500, [20] * 500 + [1] * 500), tf.constant([1, 2], tf.int64)
    ).numpy()
    assert rows.shape == (1000, 5)
    assert all(set(row) == {8, 5} for row in rows[:500, 1:3])
    assert set(rows[:500, 3]) == {2, 3, 4, 5, 8, 9}
    assert set(rows[500:, 1]) == set(range(2, 10))


@pytest.mark.parametrize("exclude", list(Exclude))
def test_log_rates_are_those_of_the_draws(exclude: str) -> None:
    """Nothing is excluded that could be drawn: so all that is drawn has the rate that is told."""
    counts = np.array([0, 0, 5, 1, 0, 2, 1, 3, 4, 1])
    catalog = Catalog(np.arange(2, 10), counts, np.arange(10, dtype=np.int32), {}, {})
    sampler = NegativeSampler(catalog, Negatives(uniform=1, history=3, popularity=2, unseen=True))
    own = _own(exclude, [], [(0, 1, 5, GO), (0, 2, 8, GO), (0, 2, 5, GO), (1, 3, 4, GO), (1, 3, 5, GO), (1, 9, 6, GO)])
    times, ids = [1, 3, 9, 1], np.arange(10)
    draws = 40_000
    targets = _targets([0] * draws + [0] * draws + [1] * draws + [2] * draws, np.repeat(times, draws).tolist())
    rows = sampler.draw(*own, targets, tf.constant([1, 2], tf.int64)).numpy().reshape(4, -1)
    drawn = np.stack([np.bincount(each, minlength=10) / draws for each in rows])
    one_each = _targets([0, 0, 1, 2], times)
    rates = np.exp(sampler.log_rates(*own, one_each, tf.constant([ids] * 4, tf.int64)).numpy())
    np.testing.assert_allclose(drawn[:, 2:], rates[:, 2:], atol=0.02)
    np.testing.assert_allclose(rates[:, 2:].sum(axis=1), 6, rtol=1e-6)
    np.testing.assert_allclose(rates[1, [5, 8, 9]], [1 + 2 / 8 + 4 / 17, 1 + 2 / 8 + 8 / 17, 2 / 8 + 2 / 17], rtol=1e-6)


def test_the_log_rate_of_a_positive_is_as_if_it_were_not_excluded() -> None:
    catalog = Catalog(np.arange(2, 10), np.zeros(10, np.int64), np.arange(10, dtype=np.int32), {}, {})
    sampler = NegativeSampler(catalog, Negatives(uniform=1, history=1, unseen=True))
    bought: Rows = [(0, 5, 3, BUY)]
    own = _own("same_moment", bought, [(0, 1, 3, GO), (0, 2, 4, GO)])
    rates = np.exp(sampler.log_rates(*own, _targets([0], [5]), tf.constant([[3, 4, 9]], tf.int64)).numpy())
    np.testing.assert_allclose(rates, [[1 + 1 / 8, 1 + 1 / 8, 1 / 8]], rtol=1e-6)


@pytest.fixture(scope="module")
def mixed(logs: Any, schema_file: Any, tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Records with a second group on products, of what users looked at, and negatives of every kind."""
    folder = tmp_path_factory.mktemp("mixed")
    text = schema_file.read_text().replace("uniform = 3, popularity = 1", "uniform = 2, popularity = 1, history = 3")
    text += '[groups.view]\nentity = "product"\nactions = ["regular", "discounted"]\nmax_length = 3\n'
    (folder / "schema.toml").write_text(text)
    for path in logs.glob("*/*"):
        (folder / "logs" / path.parent.name).mkdir(parents=True, exist_ok=True)
        (folder / "logs" / path.relative_to(logs)).write_bytes(path.read_bytes())
    head, *rows = (logs / "behaviors/purchase.csv").read_text().splitlines()
    # Another product at another time: half a day before the purchase after it.
    parts = [row.split(",") for row in rows]
    views = [
        ",".join([user, later[1], action, str(int(moment) - 43_200)])
        for (user, _, action, moment), later in zip(parts, [*parts[7:], *parts[:7]], strict=True)
    ]
    (folder / "logs/behaviors/view.csv").write_text("\n".join([head, *views]) + "\n")
    return prepare(str(folder / "logs"), load_schema(str(folder / "schema.toml")), str(folder / "records"))


Done = dict[str, list[tuple[int, int, bool]]]
"""User -> (timestamp, product, whether it was bought) of all that they did with products."""


@pytest.fixture(scope="module")
def done(mixed: Records) -> Done:
    found = {}
    for serialized in tf.data.TFRecordDataset(mixed.files).as_numpy_iterator():
        features = tf.train.Example.FromString(serialized).features.feature
        found[features["user_id"].bytes_list.value[0].decode()] = [
            (moment, item, group == "purchase")
            for group in ("purchase", "view")
            for moment, item in zip(
                *(features[f"{group}/{column}"].int64_list.value for column in ("timestamp", "id")), strict=True
            )
        ]
    return found


def _lawful(drawn: list[int], now: int, rows: list[tuple[int, int, bool]]) -> bool:
    """Whether the first of `drawn` are of before `now` and not bought at `now`, each once, as many as there are."""
    allowed = {item for moment, item, _ in rows if moment < now}
    allowed -= {item for moment, item, bought in rows if moment == now and bought}
    own = drawn[: len(allowed)]
    return set(own) <= allowed and len(set(own)) == len(own)


@pytest.mark.parametrize(
    "part", [Part.TRAINING, *(pytest.param(part, marks=pytest.mark.slow) for part in (Part.VALIDATION, Part.TEST))]
)
@pytest.mark.usefixtures("several_chunks")
def test_4_negatives_of_requests_are_of_before_them(mixed: Records, done: Done, part: Part) -> None:
    asked = 0
    for inputs, *_, users in requests(mixed, part, tasks=["next_purchase"]).as_numpy_iterator():
        candidates = inputs["next_purchase__candidates"]
        assert candidates.shape[1] == 1 + 2 + 3 + 1
        for now, row, user in zip(inputs["now"], candidates.tolist(), users, strict=True):
            assert _lawful(row[3:6], now, done[user.decode()])
            asked += 1
    assert asked > 100


@pytest.mark.usefixtures("several_chunks")
def test_4_negatives_in_timelines_are_of_before_each_target(mixed: Records, done: Done) -> None:
    made = timeline_batches(mixed, tasks=["next_purchase"], settings=Batching(batch_tokens=200), seed=3)
    asked = 0
    for inputs, _, weights in islice(made.dataset.as_numpy_iterator(), made.steps):
        for place in zip(*np.nonzero(weights["next_purchase"].any(axis=2)), strict=True):
            now, row = inputs["next_purchase__now"][place], inputs["next_purchase__candidates"][place].tolist()
            # Batches do not say whose they are: one who bought it then.
            assert any(_lawful(row[3:6], now, rows) for rows in done.values() if (now, row[0], True) in rows)
            asked += 1
    assert asked > 400


def test_a_view_of_fewer_groups_has_the_same_candidates(mixed: Records) -> None:
    def candidates(records: Records) -> list[Any]:
        batches = requests(records, "test", tasks=["next_purchase"], settings=Batching(evaluation_batch_size=1))
        found = ((int(i["now"][0]), *i["next_purchase__candidates"][0]) for i, *_ in batches.as_numpy_iterator())
        return sorted(found)

    assert candidates(mixed.select(["purchase"])) == candidates(mixed)


def test_training_divides_what_it_draws(mixed: Records) -> None:
    made = training_batches(mixed, tasks=["next_purchase"], settings=Batching(negatives=2), seed=1)
    assert next(made.dataset.as_numpy_iterator())[0]["next_purchase__candidates"].shape[1] == 1 + 2
