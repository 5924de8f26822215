"""Every public layer in every form: config, symbolic, eager, graph, XLA, saved and loaded, bfloat16."""

import inspect
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf import layers

# A prime for each dimension, so that no two can be mistaken for each other.
B, T, N, D, K = 3, 5, 7, 22, 11
RNG = np.random.default_rng(0)


def _floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("float32")


def _ints(high: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, high, size=shape)


MASK = np.arange(T) < np.array([[5], [2], [0]])


LISTS = ("columns", "timestamps")
"""Call arguments that are lists; a case has a list of one."""


class Case(NamedTuple):
    """`loaded`: what `load` takes, where a layer has nothing to say until it is filled."""

    layer: Any
    inputs: dict[str, np.ndarray]
    loaded: tuple[np.ndarray, ...] = ()


CASES = {
    "ActivationUnit": Case(
        layers.ActivationUnit(hidden=(13, 5)),
        {"candidates": _floats(B, N, D), "memory": _floats(B, T, D), "memory_mask": MASK},
    ),
    "BehaviorEmbedding": Case(
        layers.BehaviorEmbedding(width=13, actions=4, buckets=6, combine="concat"),
        {"objects": _floats(B, T, D), "actions": _ints(4, B, T), "buckets": _ints(6, B, T)},
    ),
    "CatalogLookup": Case(
        layers.CatalogLookup(rows=9, columns={"category": 1, "words": 3}, dense=("price",)), {"ids": _ints(9, B, T)}
    ),
    "CausalMask": Case(
        layers.CausalMask((True, False)), {"timestamp": np.sort(_ints(3, B, T)), "group": np.sort(_ints(2, B, T))}
    ),
    "DCNHead": Case(
        layers.DCNHead(layers=2),
        {"read": _floats(B, N, D), "candidates": _floats(B, N, D), "context": _floats(B, N, 2)},
    ),
    "DNNHead": Case(
        layers.DNNHead(hidden=(13, 5)),
        {"read": _floats(B, N, D), "candidates": _floats(B, N, D), "context": _floats(B, N, 2)},
    ),
    "DotHead": Case(layers.DotHead(), {"read": _floats(B, N, D), "candidates": _floats(B, N, D)}),
    "Dropout": Case(layers.Dropout(0.5), {"inputs": _floats(B, T, D)}),
    "ExpertGate": Case(layers.ExpertGate(), {"inputs": _floats(B, N, D), "experts": _floats(B, N, 3, D)}),
    "Experts": Case(layers.Experts(3), {"inputs": _floats(B, N, D)}),
    "FeedForward": Case(layers.FeedForward(hidden=13), {"inputs": _floats(B, T, D)}),
    "FMHead": Case(
        layers.FMHead(),
        {"read": _floats(B, N, D), "candidates": _floats(B, N, D), "context": _floats(B, N, 2)},
    ),
    "GroupProjection": Case(layers.GroupProjection(13, activation="relu"), {"behaviors": _floats(B, T, D)}),
    "IdDropout": Case(layers.IdDropout(0.5, unknown=1), {"inputs": _ints(9, B, T)}),
    "LastState": Case(layers.LastState(), {"states": _floats(B, T, D), "state_mask": MASK}),
    "MaxPooling": Case(layers.MaxPooling(), {"states": _floats(B, T, D), "state_mask": MASK}),
    "MeanPooling": Case(layers.MeanPooling(), {"embeddings": _floats(B, T, D), "value_mask": MASK}),
    "PNNHead": Case(
        layers.PNNHead(hidden=(13, 5)),
        {"read": _floats(B, N, D), "candidates": _floats(B, N, D), "context": _floats(B, N, 2)},
    ),
    "PopularityHead": Case(
        layers.PopularityHead(7, 4),
        {"candidates": _ints(7, B, 2, N), "now": _ints(9, B, 2)},
        loaded=(np.array([2, 4, 5, 7]), _ints(9, 7, 4)),
    ),
    "PositionEmbedding": Case(layers.PositionEmbedding(4), {"behaviors": _floats(B, T, D), "behavior_mask": MASK}),
    "RepeatHead": Case(
        layers.RepeatHead((1, 2), 3),
        {
            "candidates": _ints(5, B, 2, N),
            "objects": _ints(5, B, T),
            "actions": _ints(3, B, T),
            "seen": _ints(2, B, 2, T) > 0,
            "now": _ints(4, B, 2),
            "timestamp": _ints(4, B, T),
        },
    ),
    "SelfAttention": Case(layers.SelfAttention(K, hidden=13), {"behaviors": _floats(B, T, D), "behavior_mask": MASK}),
    "SpaceAttention": Case(
        layers.SpaceAttention(K, score="scaled_dot", activation="relu"),
        {"query": _floats(B, N, D), "memory": _floats(B, T, D), "memory_mask": MASK},
    ),
    "SparseEmbedding": Case(layers.SparseEmbedding(9, 13), {"inputs": _ints(9, B, T)}),
    "Standardize": Case(layers.Standardize((0.5,), (4.0,)), {"columns": _floats(1, B, N)}),
    "TargetAttention": Case(
        layers.TargetAttention(K, hidden=13),
        {"candidates": _floats(B, N, D), "memory": _floats(B, T, D), "memory_mask": MASK},
    ),
    "TimeBias": Case(
        layers.TimeBias((1, 2, 4), num_spaces=K),
        {"now": np.full((B, N), 1_700_000_000), "timestamp": 1_700_000_000 - _ints(9, B, T)},
    ),
    "TimeBuckets": Case(
        layers.TimeBuckets((1, 2, 4)), {"now": np.full(B, 1_700_000_000), "timestamp": 1_700_000_000 - _ints(9, B, T)}
    ),
    "TimeOrder": Case(
        layers.TimeOrder(),
        {
            "behaviors": _floats(B, T, D),
            "behavior_mask": MASK,
            "timestamp": 1_700_000_000 - _ints(3, B, T),
            "content": _ints(99, B, T),
        },
    ),
    "WideHead": Case(
        layers.WideHead(),
        {"read": _floats(B, N, D), "candidates": _floats(B, N, D), "context": _floats(B, N, 2)},
    ),
    "WindowConvolution": Case(layers.WindowConvolution(2), {"behaviors": _floats(B, T, D), "behavior_mask": MASK}),
}


def _is_layer(name: str) -> bool:
    public = getattr(layers, name)
    return inspect.isclass(public) and issubclass(public, keras.layers.Layer)


def test_every_public_layer_has_a_case() -> None:
    public = {name for name in layers.__all__ if _is_layer(name)}
    assert public == set(CASES)


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    case = CASES[request.param]
    layer = type(case.layer).from_config(case.layer.get_config())
    if case.loaded:
        layer.build()
        layer.load(*case.loaded)
    return Case(layer, case.inputs)


def _arrays(outputs: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in tf.nest.flatten(outputs)]


def _assert_close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    assert len(_arrays(found)) == len(_arrays(expected)) > 0
    for a, b in zip(_arrays(found), _arrays(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def _called(layer: Any, inputs: dict[str, Any]) -> Any:
    """Calls the layer as functional models do: a list where the layer takes one."""
    return layer(**{name: [value[0]] if name in LISTS else value for name, value in inputs.items()})


def _symbolic(case: Case) -> keras.Model:
    inputs = {}
    for name, value in case.inputs.items():
        shape = value.shape[2:] if name in LISTS else value.shape[1:]
        inputs[name] = keras.Input(shape, dtype=str(value.dtype), name=name)
    call = {name: [tensor] if name in LISTS else tensor for name, tensor in inputs.items()}
    return keras.Model(inputs, case.layer(**call))


def _fed(case: Case) -> dict[str, np.ndarray]:
    return {name: value[0] if name in LISTS else value for name, value in case.inputs.items()}


def test_config_holds_every_argument(case: Case) -> None:
    arguments = set(inspect.signature(type(case.layer).__init__).parameters) - {"self", "kwargs"}
    config = case.layer.get_config()
    assert arguments <= set(config)
    again = type(case.layer).from_config(config)
    assert again.get_config() == config


def test_eager_symbolic_graph_and_xla_agree(case: Case) -> None:
    expected = _called(case.layer, case.inputs)
    _assert_close(_symbolic(case)(_fed(case)), expected)
    inputs = {name: tf.constant(value) for name, value in case.inputs.items()}
    _assert_close(tf.function(lambda: _called(case.layer, inputs))(), expected)
    _assert_close(tf.function(lambda: _called(case.layer, inputs), jit_compile=True)(), expected)


def test_symbolic_shapes_are_the_eager_ones(case: Case) -> None:
    model = _symbolic(case)
    for symbolic, eager in zip(tf.nest.flatten(model.output), _arrays(_called(case.layer, case.inputs)), strict=True):
        assert tuple(symbolic.shape[1:]) == eager.shape[1:]
        assert symbolic.dtype == str(eager.dtype)


def test_saved_and_loaded_gives_the_same(case: Case, tmp_path: Any) -> None:
    model = _symbolic(case)
    for weight in model.weights:
        if "float" in weight.dtype:
            weight.assign(_floats(*weight.shape) if weight.trainable else RNG.random(weight.shape))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    _assert_close(loaded(_fed(case)), model(_fed(case)), 1e-6)


def test_every_trainable_weight_has_a_gradient(case: Case) -> None:
    with tf.GradientTape() as tape:
        outputs = _called(case.layer, case.inputs)
        # Not at its minimum, whatever the layer starts at.
        total = tf.add_n([tf.reduce_sum((tf.cast(leaf, "float32") - 0.7) ** 2) for leaf in tf.nest.flatten(outputs)])
    for weight, gradient in zip(
        case.layer.trainable_weights, tape.gradient(total, case.layer.trainable_weights), strict=True
    ):
        assert gradient is not None, weight.path
        assert np.any(np.asarray(tf.convert_to_tensor(gradient)) != 0), weight.path


def test_bfloat16_is_close(case: Case) -> None:
    config = case.layer.get_config()
    mixed = type(case.layer).from_config({**config, "dtype": "mixed_bfloat16"})
    expected = _called(case.layer, case.inputs)
    _called(mixed, case.inputs)
    for weight, original in zip(mixed.weights, case.layer.weights, strict=True):
        weight.assign(original)
    found = _called(mixed, case.inputs)
    for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(np.asarray(tf.cast(a, "float32")), np.asarray(b), rtol=0.1, atol=0.1)
