"""Precomputed candidate tables score as the forward pass does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from atrank_tf.data import Records, evaluation_batches
from atrank_tf.models import Ranker
from atrank_tf.models.candidate_tables import precomputed_candidates


@pytest.mark.parametrize("changes", [{}, pytest.param({"item_bias": False}, marks=pytest.mark.slow)])
def test_precomputed_candidates_score_as_ever_until_the_weights_change(
    records: Records, make_model: Callable[..., Ranker], monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    model, task = make_model(**changes), "next_purchase"
    model.load_counts(records)
    inputs, *_ = next(iter(evaluation_batches(records, "test", tasks=[task])))

    def run(part: Any, known: Any) -> Any:
        return part({tensor.name: known[tensor.name] for tensor in part.inputs}, training=False)

    known = {**inputs, **run(model.encoder(), inputs)}

    def score(scorer: Any) -> np.ndarray:
        return np.asarray(run(scorer, known)[task])

    with precomputed_candidates(model):
        ahead = model.scorer(task)
    with precomputed_candidates(model, popularity=True):
        counted_ahead = model.scorer(task)
    assert any(layer.name.endswith("_ahead") for layer in counted_ahead.layers)
    monkeypatch.setattr("atrank_tf.models.candidate_tables.LARGEST_BYTES", 0)
    with precomputed_candidates(model):
        too_large = model.scorer(task)
    scores = score(model.scorer(task))
    np.testing.assert_allclose(score(ahead), scores, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(score(counted_ahead), scores, rtol=1e-5, atol=1e-5)
    table = model.get_layer("table_product").embeddings
    table.assign(table + 1.0)
    np.testing.assert_allclose(score(ahead), scores, rtol=1e-5, atol=1e-5)
    changed = score(model.scorer(task))
    assert np.abs(changed - scores).max() > 1e-3
    np.testing.assert_allclose(score(too_large), changed, rtol=1e-5, atol=1e-5)


def test_precomputed_popularity_is_that_of_every_period(
    records: Records, make_model: Callable[..., Ranker], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(ranking=("dnn",), popularity=True)
    model.load_counts(records)
    counts = model.counts.parts[0]
    ids = np.arange(counts.rows)[np.newaxis].repeat(len(counts.begins) + 2, axis=0)
    # Before the first period, where each begins, and long after the last.
    now = np.concatenate([[0], counts.begins, [2**33]])
    expected = np.asarray(counts(ids, now))
    assert np.unique(expected, axis=0).shape[0] > 2  # It changes from period to period.
    with precomputed_candidates(model, popularity=True):
        assert counts.ahead is not None
        np.testing.assert_allclose(counts(ids, now), expected, rtol=1e-5, atol=1e-5)
    assert counts.ahead is None
    with precomputed_candidates(model):
        assert counts.ahead is None
    one = 4 * counts.rows * (len(counts.begins) + 1) * counts.size
    monkeypatch.setattr("atrank_tf.models.candidate_tables.LARGEST_BYTES", one - 1)
    with precomputed_candidates(model, popularity=True):
        assert counts.ahead is None
    monkeypatch.setattr("atrank_tf.models.candidate_tables.LARGEST_BYTES", one)
    with precomputed_candidates(model, popularity=True):  # It takes all the room, of all tables together.
        assert [part for part in model.counts.parts if part.ahead is not None] == [counts]
