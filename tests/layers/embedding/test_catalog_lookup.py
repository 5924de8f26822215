"""Side features by object id: what is loaded is found, and nothing else is loaded."""

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import CatalogLookup

ROWS, B, T, WORDS = 11, 3, 5, 2
RNG = np.random.default_rng(0)
IDS = RNG.integers(0, ROWS, (B, T))
VALUES = {
    "category": RNG.integers(0, 1000, (ROWS, 1)),
    "words": RNG.integers(0, 1000, (ROWS, WORDS)),
    "price": RNG.normal(size=ROWS).astype("float32"),
}


def _layer() -> CatalogLookup:
    return CatalogLookup(ROWS, {"category": 1, "words": WORDS}, ("price",))


def _loaded() -> CatalogLookup:
    layer = _layer()
    layer.load(VALUES)
    return layer


def test_the_example_of_the_docstring_runs() -> None:
    lookup = CatalogLookup(num_objects=4, columns={"category": 1})
    lookup.load({"category": np.array([[0], [1], [5], [7]])})
    np.testing.assert_array_equal(np.asarray(lookup(np.array([[2, 3, 0]]))["category"]), [[5, 7, 0]])


@pytest.mark.parametrize("shape", [(7,), (B, T), (2, 3, 5), (B, 0)])
def test_each_object_has_the_values_of_its_row(shape: tuple[int, ...]) -> None:
    ids = np.random.default_rng(1).integers(0, ROWS, shape)
    found = _loaded()(ids)
    assert set(found) == {"category", "words", "price"}
    np.testing.assert_array_equal(np.asarray(found["category"]), VALUES["category"][ids, 0])
    np.testing.assert_array_equal(np.asarray(found["words"]), VALUES["words"][ids])
    np.testing.assert_array_equal(np.asarray(found["price"]), VALUES["price"][ids])


def test_categories_are_int64_and_numbers_float32() -> None:
    found = _loaded()(IDS)
    assert (found["category"].dtype, found["words"].dtype, found["price"].dtype) == ("int64", "int64", "float32")


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_categories_are_exact_under_every_dtype_policy(dtype: str) -> None:
    layer = CatalogLookup(ROWS, {"category": 1}, dtype=dtype)
    values = np.arange(ROWS)[:, None] + 2**30 + 1
    layer.load({"category": values})
    np.testing.assert_array_equal(np.asarray(layer(IDS)["category"]), values[IDS, 0])


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_numbers_are_float32_under_every_dtype_policy(dtype: str) -> None:
    layer = CatalogLookup(ROWS, {}, ("price",), dtype=dtype)
    values = np.arange(ROWS, dtype="float32") + 1001.25
    layer.load({"price": values})
    found = layer(IDS)["price"]
    assert found.dtype == "float32"
    np.testing.assert_array_equal(np.asarray(found), values[IDS])


def test_a_catalog_is_empty_until_it_is_loaded() -> None:
    for column in _layer()(IDS).values():
        np.testing.assert_array_equal(np.asarray(column), 0)


def test_loading_again_replaces_everything() -> None:
    layer = _loaded()
    layer.load({name: values + 1 for name, values in VALUES.items()})
    found = layer(IDS)
    np.testing.assert_array_equal(np.asarray(found["words"]), VALUES["words"][IDS] + 1)
    np.testing.assert_array_equal(np.asarray(found["price"]), VALUES["price"][IDS] + 1)


def test_a_graph_traced_before_loading_sees_what_is_loaded() -> None:
    layer = _layer()
    traced = tf.function(lambda ids: layer(ids)["category"])
    traced(IDS)
    layer.load(VALUES)
    np.testing.assert_array_equal(np.asarray(traced(IDS)), VALUES["category"][IDS, 0])


def test_a_catalog_is_made_of_weights_that_no_training_changes() -> None:
    layer = _loaded()
    assert layer.trainable_weights == []
    assert {weight.name: tuple(weight.shape) for weight in layer.weights} == {
        "category": (ROWS, 1),
        "words": (ROWS, WORDS),
        "price": (ROWS,),
    }


def test_columns_that_the_layer_does_not_have_are_left_alone() -> None:
    layer = CatalogLookup(ROWS, {"category": 1})
    layer.load(VALUES)
    assert set(layer(IDS)) == {"category"}


def test_a_missing_column_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected catalog column 'words'\. Received columns \['category', 'price'\]"):
        _layer().load({name: values for name, values in VALUES.items() if name != "words"})


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("category", VALUES["category"][1:], r"'category' of shape \(11, 1\)\. Received: \(10, 1\)\."),
        ("category", VALUES["category"][:, 0], r"'category' of shape \(11, 1\)\. Received: \(11,\)\."),
        ("words", np.zeros((ROWS, 3), int), r"'words' of shape \(11, 2\)\. Received: \(11, 3\)\."),
        ("price", np.zeros((ROWS, 1)), r"'price' of shape \(11,\)\. Received: \(11, 1\)\."),
    ],
)
def test_a_column_of_another_shape_is_refused(name: str, values: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _layer().load({**VALUES, name: values})
