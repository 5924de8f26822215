"""Behaviors of all groups as one sequence."""

from typing import Any

import keras
import numpy as np
import pytest

from atrank_tf.models import MODELS, SequenceRanker
from atrank_tf.models.inputs import content

NOW = 90 * 86_400
BEFORE = NOW - 40 * 86_400
"""Seconds more or less are the same time bucket there: only the order tells them apart."""


def _scores(model: Any, purchase: int, redemption: int) -> np.ndarray:
    """Of one user who bought, redeemed and bought, at moments given in seconds after `BEFORE`."""
    inputs = {
        "now": [NOW],
        "purchase__id": [[7, 4]],
        "purchase__action": [[2, 3]],
        "purchase__timestamp": [[BEFORE, BEFORE + purchase]],
        "redemption__id": [[3]],
        "redemption__action": [[2]],
        "redemption__timestamp": [[BEFORE + redemption]],
        "next_purchase__candidates": [[2, 3, 4, 5]],
        "user__age": [[2]],
        "user__income": [10.0],
    }
    arrays = {name: np.array(value, "float32" if name == "user__income" else "int64") for name, value in inputs.items()}
    return np.asarray(model({tensor.name: arrays[tensor.name] for tensor in model.inputs})["next_purchase"])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_order_of_behaviors_of_different_groups_counts_where_a_sequence_is_read(name: str, records: Any) -> None:
    keras.utils.set_random_seed(1)
    small = {"cnn": {"windows": 3}, "atrank": {"num_spaces": 3}, "timeline_atrank": {"num_spaces": 3}}
    config = {"tasks": ["next_purchase"], "hidden_dim": 12, "affinity": False, "popularity": False}
    config |= {"hidden_units": [5], **small.get(name, {})}
    model = MODELS[name](records.schema, catalogs=records.catalogs, **config)
    redeemed_last, bought_last = _scores(model, 10, 20), _scores(model, 20, 10)
    sequence = issubclass(MODELS[name], SequenceRanker) or name == "timeline_atrank"
    assert (np.abs(redeemed_last - bought_last).max() > 1e-6) == sequence
    assert np.isfinite(redeemed_last).all()


def test_no_two_behaviors_of_a_moment_have_the_same_content(records: Any) -> None:
    schema = records.schema
    found = []
    for number, group in enumerate(schema.groups.values()):
        rows = np.arange(schema.entities[group.entity].rows, dtype=np.int64)
        for action in range(2 + len(group.actions)):
            columns = {"id": rows, "action": np.full_like(rows, action), "group": np.full_like(rows, number)}
            found += np.asarray(content(schema, columns)).tolist()
    assert len(set(found)) == len(found)
