"""The best objects of the whole catalog: those that a request with every object as a candidate would rank highest."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from raw_requests import raw_request

from atrank_tf.data import Records
from atrank_tf.saved_model import best_objects as module
from atrank_tf.saved_model.best_objects import asked_checks, best_objects
from atrank_tf.server import LoadedModel, ServingError

TASK = "next_purchase"


@pytest.fixture(scope="module", params=["shop_export", pytest.param("timeline_export", marks=pytest.mark.slow)])
def loaded(request: pytest.FixtureRequest) -> Any:
    loaded = LoadedModel(request.getfixturevalue(request.param))
    yield loaded
    loaded.close()


def catalog(records: Records) -> np.ndarray:
    ids = records.catalogs[records.schema.entity_of(TASK)].ids
    return ids if ids.dtype.kind == "i" else ids.astype(object)


def asked(loaded: LoadedModel, records: Records, k: int, *, exclude: Any = None, own: bool = False) -> dict[str, Any]:
    raw, _ = raw_request(records, TASK)
    users = len(raw["now"])
    nobody = np.zeros((users, 0), raw[f"{TASK}__candidates"].dtype)
    made = {"k": np.full(users, k), "exclude": nobody if exclude is None else exclude}
    made |= {"exclude_history": np.full(users, own)}
    return {name: {**raw, **made}[name] for name in loaded.signatures["top"].inputs}


def all_scores(loaded: LoadedModel, records: Records) -> np.ndarray:
    raw, _ = raw_request(records, TASK)
    everything = np.broadcast_to(catalog(records), (len(raw["now"]), len(catalog(records))))
    known = {**raw, f"{TASK}__candidates": everything}
    return loaded.run("serving_default", {name: known[name] for name in loaded.signatures["serving_default"].inputs})[
        "scores"
    ]


def expected_best(scores: np.ndarray, ids: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return ids[best], np.take_along_axis(scores, best, axis=1)


def test_the_best_are_those_of_all_objects_as_candidates(loaded: LoadedModel, records: Records) -> None:
    found = loaded.run(f"top__{TASK}", asked(loaded, records, 5))
    scores = all_scores(loaded, records)
    check_best(found, scores, catalog(records), 5)
    assert found["count"].tolist() == [5] * len(scores)


def test_what_is_excluded_is_not_among_the_best(loaded: LoadedModel, records: Records) -> None:
    """Unknown ids and padding exclude nothing."""
    ids, scores = catalog(records), all_scores(loaded, records)
    best, _ = expected_best(scores, ids, 2)
    filler = np.full_like(best, -1 if ids.dtype.kind == "i" else "")
    unknown = np.full_like(best, -99 if ids.dtype.kind == "i" else "never seen")
    found = loaded.run("top", asked(loaded, records, 4, exclude=np.concatenate([best, filler, unknown], axis=1)))
    for row, excluded in enumerate(best):
        scores[row, np.isin(ids, excluded)] = -np.inf
    check_best(found, scores, ids, 4)


def test_the_own_history_may_be_excluded_and_what_is_missing_is_said(loaded: LoadedModel, records: Records) -> None:
    ids, scores = catalog(records), all_scores(loaded, records)
    raw, _ = raw_request(records, TASK)
    own = np.where(raw["purchase__timestamp"] > 0, raw["purchase__id"], None)
    for row, excluded in enumerate(own):
        scores[row, np.isin(ids, [each for each in excluded if each is not None])] = -np.inf
    left = np.isfinite(scores).sum(axis=1)
    assert left.min() < len(ids)
    found = loaded.run("top", asked(loaded, records, len(ids) + 3, own=True))
    assert found["ids"].shape[1] == len(ids)
    np.testing.assert_array_equal(found["count"], left)
    blank = -1 if ids.dtype.kind == "i" else ""
    for row, count in enumerate(left):
        plain = _plain(found["ids"])[row]
        assert set(plain[:count]) == set(ids[np.isfinite(scores[row])]) and set(plain[count:]) <= {blank}
        assert (found["scores"][row, count:] == np.finfo(np.float32).min).all()


def test_users_may_ask_for_different_numbers(loaded: LoadedModel, records: Records) -> None:
    request = asked(loaded, records, 6)
    whole = loaded.run("top", request)
    request["k"] = np.arange(len(request["k"])) % 6 + 1
    found = loaded.run("top", request)
    np.testing.assert_array_equal(found["count"], request["k"])
    for row, k in enumerate(request["k"]):
        np.testing.assert_array_equal(found["ids"][row, :k], whole["ids"][row, :k])
        assert (found["scores"][row, k:] == np.finfo(np.float32).min).all()


@pytest.mark.parametrize("k", [0, 10_001])
def test_too_few_and_too_many_are_refused(loaded: LoadedModel, records: Records, k: int) -> None:
    with pytest.raises(ServingError, match="Expected k from 1 to 10000"):
        loaded.run("top", asked(loaded, records, k))


@pytest.mark.parametrize(("users", "objects"), [(2, 1 << 23), (3, (1 << 22) - 1), (2, 1 << 30)])
def test_no_more_users_at_once_than_the_catalog_allows(users: int, objects: int) -> None:
    """One user may always ask."""
    asked_checks(tf.ones([users - 1], tf.int64), objects)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"at most {users - 1} users at once, each with {objects}"):
        asked_checks(tf.ones([users], tf.int64), objects)


def test_a_list_that_was_shown_has_no_best_of_the_catalog(loaded: LoadedModel, records: Records) -> None:
    tops = {name for name in loaded.signatures if name.startswith("top")}
    assert tops == {"top", f"top__{TASK}"}
    assert records.schema.tasks["next_redemption"].candidates == "impressions"


@pytest.mark.parametrize("pairs", [1, 8, 21, 1000])
@pytest.mark.parametrize("k", [1, 7, 40])
def test_chunks_of_any_size_find_the_same(monkeypatch: pytest.MonkeyPatch, pairs: int, k: int) -> None:
    """Scores with many ties: of equal ones the smaller row comes first. Rows 0 and 1 are of no object."""
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", pairs)
    random, objects = np.random.default_rng(7), 31
    scores = random.integers(-5, 5, (3, objects)).astype(np.float32)
    excluded = np.array([[5, 0, 5, 99], [1, 2, 30, 0], [0, 0, 0, 0]], np.int64)
    rows, best, count = tf.function(
        lambda: best_objects(
            lambda candidates: tf.gather(tf.constant(scores), candidates, batch_dims=1),
            tf.constant(excluded),
            tf.constant(k, tf.int64),
            objects,
        )
    )()
    for user, left_out in enumerate(excluded):
        allowed = [row for row in range(2, objects) if row not in left_out]
        expected = sorted(allowed, key=lambda row: (-scores[user, row], row))[:k]
        assert int(count[user]) == len(expected)
        assert rows[user, : len(expected)].numpy().tolist() == expected
        np.testing.assert_array_equal(best[user, : len(expected)], scores[user, expected])
        assert rows[user, len(expected) :].numpy().tolist() == [0] * (min(k, objects - 2) - len(expected))


def check_best(found: dict[str, np.ndarray], scores: np.ndarray, ids: np.ndarray, k: int) -> None:
    """Near ties may change places: a chunk sums in another order."""
    best_ids, best = expected_best(scores, ids, k + 1)
    np.testing.assert_allclose(found["scores"], best[:, :k], rtol=1e-5, atol=1e-5)
    apart = np.abs(np.diff(best, axis=1)).min(axis=1) > 1e-4
    assert apart.any()
    np.testing.assert_array_equal(_plain(found["ids"])[apart], best_ids[apart, :k])


def _plain(ids: np.ndarray) -> np.ndarray:
    return np.array([[each.decode() if isinstance(each, bytes) else each for each in row] for row in ids], object)
