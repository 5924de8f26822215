"""Experts and gates against their equations in NumPy."""

import numpy as np
import pytest

from atrank_tf.layers import ExpertGate, Experts

X = np.random.default_rng(1).normal(size=(2, 5, 7)).astype(np.float32)


def test_each_expert_is_a_relu_layer_of_its_own() -> None:
    layer = Experts(3)
    found = layer(X).numpy()
    assert found.shape == (2, 5, 3, 7)
    for expert in range(3):
        kernel = layer.kernel.numpy()[:, 7 * expert : 7 * expert + 7]
        np.testing.assert_allclose(found[:, :, expert], np.maximum(X @ kernel, 0), rtol=1e-5, atol=1e-6)


def test_a_gate_adds_the_mixture_to_its_input() -> None:
    experts = np.random.default_rng(2).normal(size=(2, 5, 3, 7)).astype(np.float32)
    gate = ExpertGate()
    found = gate(X, experts).numpy()
    scores = np.exp(X @ gate.kernel.numpy())
    weights = scores / scores.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(found, X + np.einsum("bne,bned->bnd", weights, experts), rtol=1e-5, atol=1e-5)


def test_6_what_is_read_of_an_empty_history_stays_zero() -> None:
    nothing = np.zeros_like(X)
    assert not ExpertGate()(nothing, Experts(3)(nothing)).numpy().any()


def test_experts_must_be_some() -> None:
    with pytest.raises(ValueError, match=r"num_experts must be positive\. Received: num_experts=0"):
        Experts(0)
