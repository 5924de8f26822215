"""Bi-LSTM: what is read."""

from typing import Any

import keras
import numpy as np
import pytest

from atrank_tf.models import BiLSTM


@pytest.fixture(scope="module")
def model(records: Any) -> BiLSTM:
    keras.utils.set_random_seed(0)
    return BiLSTM(records.schema, hidden_dim=6, ranking=["dot"])


def test_every_candidate_reads_the_final_states_of_both_directions(records: Any) -> None:
    model = BiLSTM(records.schema, hidden_dim=4, ranking=["dot"])
    memory = np.arange(1, 13, dtype=np.float32).reshape(1, 3, 4)
    found = model.read(np.zeros((1, 2, 4), np.float32), memory, np.array([[True, True, False]]))
    # The forward half after the second behavior, the last; the backward half after the first.
    np.testing.assert_array_equal(np.asarray(found), [[[5.0, 6.0, 3.0, 4.0]] * 2])


def test_each_direction_reads_the_real_behaviors_from_its_end(model: BiLSTM) -> None:
    behaviors = np.random.default_rng(0).normal(size=(1, 5, 6)).astype("float32")
    mask = np.arange(5)[None] < 3
    found = np.asarray(model.encode(behaviors, mask))[:, :3]
    changed = behaviors.copy()
    changed[:, 3:] = 1e3
    np.testing.assert_array_equal(np.asarray(model.encode(changed, mask))[:, :3], found)
    changed[:, 2] += 1.0
    moved = np.asarray(model.encode(changed, mask))[:, :3] != found
    assert not moved[:, :2, :3].any()
    assert moved[:, :, 3:].all()


def test_6_the_layer_is_given_no_sequence_without_a_real_place(model: BiLSTM, monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN takes none. No other sequence is changed by it."""
    given: list[np.ndarray] = []
    monkeypatch.setattr(
        keras.layers.Bidirectional, "__call__", lambda self, behaviors, mask: given.append(np.asarray(mask))
    )
    mask = np.array([[False, False], [True, False], [True, True]])
    model.encode(np.ones((3, 2, 6), np.float32), mask)
    assert [each.tolist() for each in given] == [[[True, False], [True, False], [True, True]]]
