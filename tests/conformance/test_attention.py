"""Attention works from the first step: a new model's scores have unit size; what only attention tells is learned.

Each of two made-up markets holds what only one attention tells: target attention, what was done with a candidate;
self-attention, which behavior stands beside which other.
"""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from atrank_tf.data import Catalog, evaluation_batches
from atrank_tf.layers import ActivationUnit, SpaceAttention
from atrank_tf.models import MODELS, Ranker
from atrank_tf.optimizers import SparseAdam
from atrank_tf.schema import FIRST_ROW, schema_from_dict

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "atrank": ("atrank", {"num_spaces": 2, "num_blocks": 2}),
    "atrank as in the authors' code": (
        "atrank",
        {"num_spaces": 2, "score": "scaled_dot", "attention_activation": "relu"},
    ),
    "timeline atrank": ("timeline_atrank", {"num_spaces": 2}),
    "bi_lstm_attention": ("bi_lstm_attention", {}),
    "din": ("din", {}),
    "sasrec": ("sasrec", {}),
}
INITIALIZERS = {
    "uniform": keras.initializers.RandomUniform(seed=1),
    "small": keras.initializers.RandomNormal(stddev=1e-3, seed=2),
    "large": keras.initializers.RandomNormal(stddev=1.0, seed=3),
}


def test_every_model_with_attention_has_a_variant() -> None:
    def attends(model: Ranker) -> bool:
        return any(isinstance(layer, (SpaceAttention, ActivationUnit)) for layer in model._flatten_layers())

    models = {name: cls(MARKET, catalogs=CATALOGS, hidden_dim=8) for name, cls in MODELS.items() if name != "bpr_mf"}
    assert {name for name, model in models.items() if attends(model)} == {name for name, _ in VARIANTS.values()}


@pytest.fixture(scope="module")
def batch(records: Any) -> dict[str, np.ndarray]:
    inputs, _, _ = next(iter(evaluation_batches(records, "test", tasks=["next_purchase"])))
    return {name: value.numpy() for name, value in inputs.items()}


def _scores(model: Ranker, batch: dict[str, np.ndarray], patch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Returns the scores of each attention of a forward pass, from its weights, [..., T]; NaN for what is not seen."""
    found: list[np.ndarray] = []
    attend, read = SpaceAttention.attend_projected, ActivationUnit.call

    def attend_projected(layer: SpaceAttention, *args: Any, **kwargs: Any) -> Any:
        out, weights = attend(layer, *args, **kwargs)
        of_behaviors = weights[..., :-1]  # The last is the sink's.
        found.append(np.log(np.where(of_behaviors > 0, of_behaviors, np.nan)))
        return out, weights

    def unit(layer: ActivationUnit, candidates: Any, memory: Any, mask: np.ndarray) -> Any:
        weights = []
        for place in range(memory.shape[1]):  # Of a memory of one behavior, this is read as often as its weight says.
            one = memory[:, place : place + 1]
            size = np.maximum(np.sum(one**2, axis=-1), 1e-30)  # Padding is 0.
            weights.append(np.sum(read(layer, candidates, one, mask[:, place : place + 1]) * one, axis=-1) / size)
        found.append(np.where(mask[:, np.newaxis], np.stack(weights, -1), np.nan))
        return read(layer, candidates, memory, mask)

    with patch.context() as patched:
        patched.setattr(SpaceAttention, "attend_projected", attend_projected)
        patched.setattr(ActivationUnit, "call", unit)
        model.score("next_purchase", model.encode_user(batch), model.profile(batch), batch)
    return found


@pytest.mark.parametrize("dim", [4, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_9_scores_of_a_new_model_have_unit_size(
    variant: str, dim: int, records: Any, batch: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {name: replace(table, dim=dim) if table.dim else table for name, table in records.schema.tables.items()}
    keras.utils.set_random_seed(4)
    name, config = VARIANTS[variant]
    model = MODELS[name](replace(records.schema, tables=tables), catalogs=records.catalogs, hidden_dim=32, **config)
    for start, initializer in INITIALIZERS.items():
        for weight in model.trainable_weights:
            if weight.name in ("embeddings", "action_table", "time_table", "table"):
                weight.assign(initializer(weight.shape))
        for scores in _scores(model, batch, monkeypatch):
            scores = scores[(~np.isnan(scores)).sum(-1) > 1]
            found = np.nanstd(scores - np.nanmean(scores, axis=-1, keepdims=True))
            assert 0.3 < found < 3, start


OBJECTS, T, N, DAY = 12, 6, 4, 86_400
VIEWED, BOUGHT = FIRST_ROW, FIRST_ROW + 1
START_PAGE = FIRST_ROW + OBJECTS
MARKET = schema_from_dict(
    {
        "tables": {"item": {"dim": 8, "rows": START_PAGE + 1}},
        "entities": {"item": {"id": {"column": "item_id", "table": "item"}, "rows": START_PAGE + 1}},
        "groups": {"click": {"entity": "item", "actions": ["view", "buy"], "max_length": T + 1}},
        "tasks": {"next": {"group": "click", "negatives": {"uniform": N - 1}}},
    }
)
ROWS = np.arange(START_PAGE + 1)
CATALOGS = {"item": Catalog(ROWS[FIRST_ROW:], np.zeros_like(ROWS), ROWS.astype(np.int32), {}, {})}


def _market(requests: int, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Requests of users who bought one object, viewed others, and look at the start page: they buy the one again."""
    rng = np.random.default_rng(seed)
    objects = (
        FIRST_ROW + rng.permuted(np.tile(np.arange(OBJECTS), (requests, 1)), axis=1)[:, :T]
    )  # The first is bought.
    order = np.argsort(rng.random((requests, T)), axis=1)
    last = np.full((requests, 1), START_PAGE)
    inputs = {
        "click__id": np.concatenate([np.take_along_axis(objects, order, axis=1), last], axis=1),
        "click__action": np.concatenate([np.where(order == 0, BOUGHT, VIEWED), np.full_like(last, VIEWED)], axis=1),
        "click__timestamp": np.sort(rng.integers(1, 90 * DAY, (requests, T + 1)), axis=1),
        "now": np.full(requests, 90 * DAY),
        "next__candidates": objects[:, :N],
    }
    return inputs, {"next": np.eye(1, N, dtype=np.float32).repeat(requests, axis=0)}


def _campaign(requests: int, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Requests of users who came to the start page ten minutes before they viewed one of their objects: they buy it.

    All behaviors are views, the start page is in every history, and all ages are of one bucket, 32 to 64 days. So a
    candidate finds the one only where behaviors were related to each other.
    """
    rng = np.random.default_rng(seed)
    objects = FIRST_ROW + rng.permuted(np.tile(np.arange(OBJECTS), (requests, 1)), axis=1)[:, :T]
    order = np.argsort(rng.random((requests, T)), axis=1)
    ages = 34 + 4.5 * np.arange(T)[::-1] + rng.uniform(0, 3, (requests, T))
    times = np.int64((90 - ages) * DAY)
    campaign = np.take_along_axis(times, np.argmax(order == 0, axis=1)[:, np.newaxis], axis=1) - 600
    ids = np.concatenate([np.take_along_axis(objects, order, axis=1), np.full_like(campaign, START_PAGE)], axis=1)
    times = np.concatenate([times, campaign], axis=1)
    by_time = np.argsort(times, axis=1)
    inputs = {
        "click__id": np.take_along_axis(ids, by_time, axis=1),
        "click__action": np.full_like(ids, VIEWED),
        "click__timestamp": np.take_along_axis(times, by_time, axis=1),
        "now": np.full(requests, 90 * DAY),
        "next__candidates": objects[:, :N],
    }
    return inputs, {"next": np.eye(1, N, dtype=np.float32).repeat(requests, axis=0)}


def _auc_of_fresh_requests(name: str, config: dict[str, Any], market: Any = _market, epochs: int = 6) -> float:
    """Trains a model on a market for seconds."""
    keras.utils.set_random_seed(1)
    model = MODELS[name](MARKET, catalogs=CATALOGS, hidden_dim=16, ranking=["dot"], **config)
    model.compile(SparseAdam(0.01))
    inputs, labels = market(4096, seed=0)
    model.fit(inputs, labels, batch_size=64, epochs=epochs, verbose=0)
    inputs, labels = market(500, seed=1)
    return model.evaluate(inputs, labels, batch_size=500, return_dict=True, verbose=0)["auc"]


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_9_what_only_attention_tells_is_learned(variant: str) -> None:
    name, config = VARIANTS[variant]
    assert _auc_of_fresh_requests(name, config) >= 0.95


@pytest.mark.slow
def test_pooling_does_not_tell_it() -> None:
    assert _auc_of_fresh_requests("average_pooling", {}) < 0.6


def test_9_what_only_self_attention_tells_is_learned() -> None:
    """By models that compare times; `atrank`, which reads buckets of them, learns it with some seeds only."""
    assert _auc_of_fresh_requests("timeline_atrank", {"num_spaces": 2}, _campaign, epochs=5) >= 0.95
    assert _auc_of_fresh_requests("timeline_atrank", {"num_spaces": 2, "num_blocks": 0}, _campaign, epochs=5) < 0.6
