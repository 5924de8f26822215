"""The rank of a positive among all objects, counted one by one."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import Records, catalog_requests, positive_counts
from atrank_tf.data.affinity import records_affinity
from atrank_tf.evaluation import CatalogRanks, rank_catalog, rank_catalog_by_rules, tasks_of_lists
from atrank_tf.evaluation import catalog_ranking as module
from atrank_tf.experiment import Batching
from atrank_tf.models import MODELS, Ranker

TASK = "next_buy"
SETTINGS = Batching(evaluation_batch_size=6)


def _model(records: Records, name: str = "atrank", **config: Any) -> Ranker:
    keras.utils.set_random_seed(3)
    return MODELS[name](records.schema, catalogs=records.catalogs, hidden_dim=8, **config)


@pytest.fixture(scope="module")
def model(two_groups: Records) -> Ranker:
    return _model(two_groups, affinity=False, popularity=False)


def _one_by_one(records: Records, scores: Any, exclude_history: bool = False) -> list[tuple[Any, ...]]:
    """(user, time, positive, above, tied, candidates) of each request, and how many were left out."""
    rows, found, left_out = records.schema.entities["item"].rows, [], 0
    for batch in catalog_requests(records, TASK, "test", SETTINGS).as_numpy_iterator():
        everything = np.broadcast_to(np.arange(2, rows), (len(batch.users), rows - 2))
        for row, of_objects in enumerate(scores(batch, everything)):
            history, positive = set(batch.whole["buy__id"][row].tolist()), int(batch.positive[row])
            if exclude_history and positive in history:
                left_out += 1
                continue
            barred = {positive, *batch.same_moment[row].tolist()} | (history if exclude_history else set())
            others = [float(of_objects[item - 2]) for item in range(2, rows) if item not in barred]
            own = float(of_objects[positive - 2])
            tied = [abs(other - own) <= module.TIE * max(1, abs(own)) for other in others]
            above = [other > own and not same for other, same in zip(others, tied, strict=True)]
            counts = sum(above), sum(tied), 1 + len(others)
            found.append((batch.users[row].decode(), int(batch.inputs["now"][row]), positive, *counts))
    return [*sorted(found), (left_out,)]


def _listed(ranks: CatalogRanks) -> list[tuple[Any, ...]]:
    names = ("users", "request_times", "positives", "above", "tied", "candidates")
    return [*sorted(zip(*(getattr(ranks, name).tolist() for name in names), strict=True)), (ranks.left_out,)]


@pytest.mark.parametrize(
    ("name", "exclude_history"),
    [
        pytest.param(name, exclude, marks=() if (name, exclude) == ("timeline_atrank", True) else pytest.mark.slow)
        for name in MODELS
        if name != "bpr_mf"  # Knows users alone, of whom this schema says nothing.
        for exclude in (False, True)
    ],
)
def test_a_models_ranks_are_those_of_its_scores_of_all_objects(
    two_groups: Records, name: str, exclude_history: bool
) -> None:
    model = _model(two_groups, name)

    affinity: Any = records_affinity(two_groups, TASK)

    def scores(batch: Any, objects: Any) -> Any:
        keys = affinity.keys_of_inputs({name: tf.constant(value) for name, value in batch.whole.items()})
        known = affinity.features(keys, np.arange(len(objects)), tf.constant(objects), batch.inputs["now"])
        inputs = {**batch.inputs, f"{TASK}__candidates": objects, f"{TASK}__affinity": known.numpy()}
        return np.asarray(model(inputs, training=False)[TASK])

    found = _listed(rank_catalog(model, two_groups, "test", SETTINGS, exclude_history=exclude_history)[TASK])
    expected = _one_by_one(two_groups, scores, exclude_history)
    assert [each[:3] for each in found] == [each[:3] for each in expected]
    assert [each[5:] for each in found] == [each[5:] for each in expected]
    # By logits that are rounded in another way, two objects that are tied, or a millionth apart, may change places.
    apart = np.abs(np.array([each[3:5] for each in found[:-1]]) - [each[3:5] for each in expected[:-1]])
    assert (apart.sum(axis=1) > 0).sum() <= 1
    assert bool(found[-1][0]) == exclude_history


@pytest.mark.parametrize("exclude_history", [pytest.param(False, marks=pytest.mark.slow), True])
def test_rules_rank_the_catalog_too(two_groups: Records, exclude_history: bool) -> None:
    found = rank_catalog_by_rules(two_groups, "test", [TASK], SETTINGS, exclude_history=exclude_history)
    assert list(found) == ["popularity", "recent popularity", "repetition", "frequency", "recency"]
    counts = positive_counts(two_groups, TASK)
    assert _listed(found["popularity"][TASK]) == _one_by_one(
        two_groups, lambda _, objects: counts[objects], exclude_history
    )

    def repetition(batch: Any, objects: Any) -> Any:
        return (batch.whole["buy__id"][:, np.newaxis] == objects[:, :, np.newaxis]).sum(axis=2)

    assert _listed(found["repetition"][TASK]) == _one_by_one(two_groups, repetition, exclude_history)
    assert (found["repetition"][TASK].tied > 0).any()


def test_objects_of_equal_embeddings_are_tied_whichever_chunk_they_are_in(
    two_groups: Records, model: Ranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rare items share a row: those of one category cannot be told apart."""
    whole = rank_catalog(model, two_groups, "test", SETTINGS)[TASK]
    rows = two_groups.catalogs["item"].table_rows[whole.positives]
    assert (whole.tied[rows == 1] > 0).any()
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", 17)
    small = rank_catalog(model, two_groups, "test", SETTINGS)[TASK]
    assert _listed(small) == _listed(whole)


@pytest.mark.slow
def test_how_requests_share_a_batch_changes_no_rank(two_groups: Records, model: Ranker) -> None:
    found = [
        _listed(rank_catalog(model, two_groups, "validation", Batching(evaluation_batch_size=size))[TASK])
        for size in (5, 512)
    ]
    assert len(found[0]) > 10
    assert found[0] == found[1]


def test_tasks_of_impressions_are_left_out(records: Records) -> None:
    model = _model(records, "bpr_mf")
    assert tasks_of_lists(records.schema, model.tasks) == ["next_redemption"]
    assert list(rank_catalog(model, records, "test")) == ["next_purchase"]
    assert list(rank_catalog_by_rules(records, "test", model.tasks)["recency"]) == ["next_purchase"]


def test_scores_that_are_no_numbers_are_refused(two_groups: Records) -> None:
    model = _model(two_groups)
    table = model.get_layer("table_item").embeddings
    table.assign(table + np.nan)
    with pytest.raises(
        ValueError, match=r"Expected finite scores of all objects\. Found \d+ others among \d+, by next_b"
    ):
        rank_catalog(model, two_groups, "test", SETTINGS)
