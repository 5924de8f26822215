"""The rising learning rate: its numbers, its file form, and who uses it."""

import keras
import numpy as np
import pytest

from atrank_tf.data import Records
from atrank_tf.experiment import Training
from atrank_tf.models import BPRMF
from atrank_tf.optimizers import WarmUp
from atrank_tf.training import compile_model


def test_a_rate_rises_evenly_and_stays() -> None:
    rate = WarmUp(0.4, steps=4)
    np.testing.assert_allclose([rate(step) for step in range(6)], [0.1, 0.2, 0.3, 0.4, 0.4, 0.4], rtol=1e-6)


def test_a_schedule_goes_on_under_it_and_comes_back_from_its_config() -> None:
    steps = keras.optimizers.schedules.PiecewiseConstantDecay([2, 5], [1.0, 0.5, 0.25])
    optimizer = keras.optimizers.SGD(WarmUp(steps, steps=3))
    loaded = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    expected = [1 / 3, 2 / 3, 1.0, 0.5, 0.5, 0.5, 0.25]
    for each in (optimizer, loaded):
        np.testing.assert_allclose([each._learning_rate(step) for step in range(7)], expected, rtol=1e-6)


def test_a_training_rises_in_its_share_of_the_steps(records: Records) -> None:
    model = BPRMF(records.schema, catalogs=records.catalogs, hidden_dim=4, tasks=["next_purchase"])
    compile_model(model, Training(learning_rate=0.1, warmup=0.2, decay_at=(0.5,)), steps=10)
    found = []
    for _ in range(7):
        found.append(float(model.optimizer.learning_rate))
        model.optimizer.iterations.assign_add(1)
    np.testing.assert_allclose(found, [0.05, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01], rtol=1e-6)


def test_a_rise_without_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match=r"steps must be at least 1\. Received: steps=0\."):
        WarmUp(0.1, steps=0)
