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
    inputs, *_ = next(iter(evaluation_batches(records, "test", tasks=[task])))

    def run(part: Any, known: Any) -> Any:
        return part({tensor.name: known[tensor.name] for tensor in part.inputs}, training=False)

    known = {**inputs, **run(model.encoder(), inputs)}

    def score(scorer: Any) -> np.ndarray:
        return np.asarray(run(scorer, known)[task])

    with precomputed_candidates(model):
        ahead = model.scorer(task)
    monkeypatch.setattr("atrank_tf.models.candidate_tables.LARGEST_BYTES", 0)
    with precomputed_candidates(model):
        too_large = model.scorer(task)
    scores = score(model.scorer(task))
    np.testing.assert_allclose(score(ahead), scores, rtol=1e-5, atol=1e-5)
    table = model.get_layer("table_product").embeddings
    table.assign(table + 1.0)
    np.testing.assert_allclose(score(ahead), scores, rtol=1e-5, atol=1e-5)
    changed = score(model.scorer(task))
    assert np.abs(changed - scores).max() > 1e-3
    np.testing.assert_allclose(score(too_large), changed, rtol=1e-5, atol=1e-5)
