"""Every public layer in every form: config, symbolic, eager, graph, XLA, saved and loaded, bfloat16.

One harness: a layer is built once with random weights, called once, and compared with itself in each form.
"""

import inspect
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf import layers
from atrank_tf.types import Tensor

# A prime for each dimension, so that no two can be mistaken for each other.
B, T, N, D, K = 3, 5, 7, 22, 11
RNG = np.random.default_rng(0)
MASK = np.arange(T) < np.array([[5], [2], [0]])
LISTS = ("columns",)
"""Call arguments that are lists; a case has a list of one."""


def _floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("float32")


def _ints(high: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, high, size=shape)


class Case(NamedTuple):
    """A layer, its inputs by name, and what its `load` takes, where it has nothing to say until it is filled."""

    layer: Any
    inputs: dict[str, np.ndarray]
    loaded: tuple[Any, ...] = ()


CASES = {
    "ActivationUnit": Case(
        layers.ActivationUnit(hidden_units=(13, 5)),
        {"candidates": _floats(B, N, D), "memory": _floats(B, T, D), "memory_mask": MASK},
    ),
    "BehaviorEmbedding": Case(
        layers.BehaviorEmbedding(embedding_dim=13, num_actions=4, num_buckets=6, combine="concat"),
        {"objects": _floats(B, T, D), "actions": _ints(4, B, T), "buckets": _ints(6, B, T)},
    ),
    "CalendarEmbedding": Case(
        layers.CalendarEmbedding(13), {"now": 9_999 * np.arange(B * N).reshape(B, N)}, loaded=(np.arange(168) % 11,)
    ),
    "CatalogLookup": Case(
        layers.CatalogLookup(num_objects=9, columns={"category": 1, "words": 3}, dense=("price",)),
        {"ids": _ints(9, B, T)},
        loaded=({"category": _ints(99, 9, 1), "words": _ints(99, 9, 3), "price": _floats(9)},),
    ),
    "CausalBlocks": Case(
        layers.CausalBlocks((True, False), window=2),
        {
            "timestamp": _ints(3, B, T),
            "group": np.sort(_ints(2, B, T)),
            "behavior_mask": MASK,
            "content": np.arange(B * T)[::-1].reshape(B, T),
        },
    ),
    "CountNormalization": Case(layers.CountNormalization(), {"numbers": _floats(B, N, D)}),
    "DNNHead": Case(
        layers.DNNHead(hidden_units=(13, 5)),
        {
            "user_vector": _floats(B, N, D),
            "candidates": _floats(B, N, D),
            "context": _floats(B, N, 2),
            "counts": _floats(B, N, 3),
        },
    ),
    "DotHead": Case(layers.DotHead(), {"user_vector": _floats(B, N, D), "candidates": _floats(B, N, D)}),
    "Dropout": Case(layers.Dropout(0.5), {"inputs": _floats(B, T, D)}),
    "FeedForward": Case(
        layers.FeedForward(intermediate_dim=13, outer_initializer="ones"), {"inputs": _floats(B, T, D)}
    ),
    "GroupProjection": Case(
        layers.GroupProjection(13, activation="relu", kernel_initializer="ones"), {"behaviors": _floats(B, T, D)}
    ),
    "HashedRows": Case(layers.HashedRows(7, 3, first=2), {"codes": 65_537 * np.arange(B * T).reshape(B, T)}),
    "IdDropout": Case(layers.IdDropout(0.5, unknown=1), {"inputs": _ints(9, B, T)}),
    "LastState": Case(layers.LastState(), {"states": _floats(B, T, D), "state_mask": MASK}),
    "ListComparison": Case(
        layers.ListComparison(),
        {"numbers": np.sin(np.arange(B * T * D)).reshape(B, T, D).astype("float32"), "candidate_mask": MASK},
    ),
    "ListDistance": Case(
        layers.ListDistance(3),
        {name: np.arange(B * N).reshape(B, N).astype("float32") for name in ("position", "last")},
    ),
    "MaxPooling": Case(layers.MaxPooling(), {"states": _floats(B, T, D), "state_mask": MASK}),
    "MeanPooling": Case(layers.MeanPooling(), {"embeddings": _floats(B, T, D), "value_mask": MASK}),
    "PointInTime": Case(
        layers.PointInTime(7),
        {"objects": np.arange(B * N).reshape(B, N) % 7, "times": np.array([[2], [4], [8]])},
        loaded=(np.arange(7),),
    ),
    "PositionEmbedding": Case(layers.PositionEmbedding(4), {"behaviors": _floats(B, T, D), "behavior_mask": MASK}),
    "RecentPopularity": Case(
        layers.RecentPopularity(7, 4),
        {"candidates": _ints(7, B, 2, N), "now": _ints(9, B, 2)},
        loaded=(np.array([2, 4, 5, 7]), _ints(9, 7, 4)),
    ),
    "SelfAttention": Case(
        layers.SelfAttention(K, intermediate_dim=13), {"behaviors": _floats(B, T, D), "behavior_mask": MASK}
    ),
    "SpaceAttention": Case(
        layers.SpaceAttention(K, score="scaled_dot", activation="relu", starts_alike=True, value_initializer="ones"),
        {"query": _floats(B, N, D), "memory": _floats(B, T, D), "memory_mask": MASK},
    ),
    "SparseEmbedding": Case(layers.SparseEmbedding(9, 13), {"inputs": _ints(9, B, T)}),
    "Standardize": Case(layers.Standardize((0.5,), (4.0,)), {"columns": _floats(1, B, N)}),
    "TargetAttention": Case(
        layers.TargetAttention(K, intermediate_dim=13),
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
    "UsualValues": Case(
        layers.UsualValues(7, 4, 2),
        {"candidates": _ints(7, B, 2, N), "values": _floats(B, 2, N, 2), "now": _ints(9, B, 2)},
        loaded=(np.array([2, 4, 5, 7]), _ints(9, 7, 4), _floats(7, 4, 2), np.ones((4, 2))),
    ),
    "WindowConvolution": Case(layers.WindowConvolution(2), {"behaviors": _floats(B, T, D), "behavior_mask": MASK}),
}


class Form(NamedTuple):
    """A layer with random weights: its inputs, what it gives for them, and a functional model of it alone."""

    layer: Any
    inputs: dict[str, np.ndarray]
    outputs: Any
    model: keras.Model


@pytest.fixture(scope="module", params=sorted(CASES))
def form(request: pytest.FixtureRequest) -> Form:
    keras.utils.set_random_seed(1)
    case = CASES[request.param]
    layer, inputs = type(case.layer).from_config(case.layer.get_config()), case.inputs
    if case.loaded:
        if not layer.weights:
            layer.build()
        layer.load(*case.loaded)
    model = _model(layer, inputs)
    for weight in layer.trainable_weights:  # What starts at 0 would hide what it does.
        weight.assign(weight + 0.1 * _floats(*weight.shape))
    return Form(layer, inputs, _call(layer, inputs), model)


def _call(layer: Any, inputs: dict[str, Tensor]) -> Any:
    """Calls the layer as functional models do: with a list where it takes one."""
    return layer(**{name: [value[0]] if name in LISTS else value for name, value in inputs.items()})


def _model(layer: Any, inputs: dict[str, np.ndarray]) -> keras.Model:
    symbolic = {
        name: keras.Input(value.shape[1:], dtype=str(value.dtype), name=name) for name, value in _fed(inputs).items()
    }
    call = {name: [tensor] if name in LISTS else tensor for name, tensor in symbolic.items()}
    return keras.Model(symbolic, layer(**call))


def _fed(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value[0] if name in LISTS else value for name, value in inputs.items()}


def _assert_close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    found, expected = tf.nest.flatten(found), tf.nest.flatten(expected)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=tolerance, atol=tolerance)


def test_every_public_layer_has_a_case() -> None:
    public = {name: getattr(layers, name) for name in layers.__all__}
    concrete = {name for name, each in public.items() if inspect.isclass(each) and issubclass(each, keras.layers.Layer)}
    assert concrete - {"RankingHead"} == set(CASES)


def test_config_holds_every_argument(form: Form) -> None:
    arguments = set(inspect.signature(type(form.layer).__init__).parameters) - {"self", "kwargs"}
    config = form.layer.get_config()
    assert arguments <= set(config)
    again = type(form.layer).from_config(config)
    assert again.get_config() == config


def test_the_symbolic_form_agrees_in_shape_dtype_and_values(form: Form) -> None:
    for symbolic, eager in zip(tf.nest.flatten(form.model.output), tf.nest.flatten(form.outputs), strict=True):
        assert (symbolic.shape[1:], symbolic.dtype) == (eager.shape[1:], eager.dtype.name)
    _assert_close(form.model(_fed(form.inputs)), form.outputs)


@pytest.mark.parametrize("form", ["SelfAttention", "SpaceAttention", "TargetAttention"], indirect=True, scope="module")
def test_the_symbolic_form_of_attention_weights_agrees(form: Form) -> None:
    _, weights = form.layer(**form.inputs, return_weights=True)
    symbolic = {name: keras.KerasTensor(value.shape, str(value.dtype)) for name, value in form.inputs.items()}
    _, declared = form.layer(**symbolic, return_weights=True)
    assert (declared.shape, declared.dtype) == (weights.shape, weights.dtype.name)


def test_the_symbolic_form_of_weights_in_blocks_agrees() -> None:
    layer, case = CASES["SelfAttention"].layer, CASES["CausalBlocks"]
    blocks = case.layer(**case.inputs)
    inputs = {"behaviors": _floats(B, T, D), "behavior_mask": MASK} | {
        name: blocks[name] for name in ("visible", "position")
    }
    found = layer(**inputs, return_weights=True)
    symbolic = {name: keras.KerasTensor(value.shape, tf.as_dtype(value.dtype).name) for name, value in inputs.items()}
    for declared, value in zip(layer(**symbolic, return_weights=True), found, strict=True):
        assert (declared.shape, declared.dtype) == (value.shape, value.dtype.name)


def test_a_graph_of_open_sizes_agrees(form: Form) -> None:
    signature = {}
    for name, value in form.inputs.items():
        shape: list[int | None] = [None] * value.ndim
        if name in LISTS:
            shape[0] = len(value)
        elif value.dtype == "float32":  # A layer's own dimension is known when it is built.
            shape[-1] = value.shape[-1]
        signature[name] = tf.TensorSpec(shape, value.dtype)
    graph = tf.function(lambda inputs: _call(form.layer, inputs), input_signature=[signature])
    _assert_close(graph({name: tf.constant(value) for name, value in form.inputs.items()}), form.outputs)


@pytest.mark.parametrize(
    "form",
    [pytest.param(name, marks=() if name == "SelfAttention" else pytest.mark.slow) for name in sorted(CASES)],
    indirect=True,
    scope="module",
)
def test_xla_agrees(form: Form) -> None:
    inputs = {name: tf.constant(value) for name, value in form.inputs.items()}
    _assert_close(tf.function(lambda: _call(form.layer, inputs), jit_compile=True)(), form.outputs)


def test_saved_and_loaded_gives_the_same(form: Form, tmp_path: Any) -> None:
    form.model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    _assert_close(loaded(_fed(form.inputs)), form.outputs, 1e-6)


def test_every_trainable_weight_has_a_gradient(form: Form) -> None:
    with tf.GradientTape() as tape:
        outputs = _call(form.layer, form.inputs)
        # Not at its minimum, whatever the layer gives.
        total = tf.add_n([tf.reduce_sum((tf.cast(leaf, "float32") - 0.7) ** 2) for leaf in tf.nest.flatten(outputs)])
    weights = form.layer.trainable_weights
    for weight, gradient in zip(weights, tape.gradient(total, weights), strict=True):
        assert gradient is not None, weight.path
        assert np.any(np.asarray(tf.convert_to_tensor(gradient)) != 0), weight.path


def test_bfloat16_is_close(form: Form) -> None:
    mixed = type(form.layer).from_config({**form.layer.get_config(), "dtype": "mixed_bfloat16"})
    _call(mixed, form.inputs)
    mixed.set_weights(form.layer.get_weights())
    found = _call(mixed, form.inputs)
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(form.outputs), strict=True):
        np.testing.assert_allclose(np.asarray(tf.cast(one, "float32")), np.asarray(other), rtol=0.1, atol=0.1)
