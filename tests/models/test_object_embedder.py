"""Objects whose id training takes for unknown: what is left of them, and what is trained."""

from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import Records, co_occurrence
from atrank_tf.experiment import Batching
from atrank_tf.layers import HashedRows
from atrank_tf.models import MODELS, AveragePooling, Ranker
from atrank_tf.models.object_embedder import TABLE_STDDEV
from atrank_tf.schema import FIRST_ROW, UNKNOWN, DenseFeature, Transform


def _model(name: str, records: Records, **changes: Any) -> Ranker:
    config = {"hidden_dim": 12, "num_spaces": 3, "intermediate_dim": 10, "hidden_units": (9,), **changes}
    return MODELS[name](records.schema, catalogs=records.catalogs, **config)


def _forget_all_ids(model: Ranker) -> None:
    for entity in ("product", "coupon"):
        for column in model.get_layer(f"catalog_{entity}").weights:
            if column.name == f"{entity}_id":
                column.assign(np.minimum(column, UNKNOWN))


@pytest.fixture(scope="module", params=[pytest.param("atrank", marks=pytest.mark.slow), "timeline_atrank"])
def name(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def inputs(name: str, records: Records) -> dict[str, Any]:
    """Of a training batch of the model of that name."""
    made = MODELS[name].make_batches(records, settings=Batching(batch_size=32, batch_tokens=120), seed=1)
    (batch,) = islice(made.dataset, 1)
    return batch[0]


def test_dropped_ids_are_scored_in_training_as_unknown_ids_are_served(
    name: str, inputs: dict[str, Any], records: Records
) -> None:
    model = _model(name, records, id_dropout=0.999, item_bias=False)
    known = model(inputs, training=False)
    trained = model(inputs, training=True)
    _forget_all_ids(model)
    served = model(inputs, training=False)
    for task in model.tasks:
        np.testing.assert_allclose(trained[task], served[task], rtol=1e-5, atol=1e-5)
    assert any(tf.reduce_any(abs(known[task] - served[task]) > 1e-3) for task in model.tasks)


@pytest.mark.parametrize(("rate", "trained"), [(0.0, False), (0.3, True)])
def test_the_unknown_row_is_trained_by_dropped_ids_alone(
    name: str, rate: float, trained: bool, inputs: dict[str, Any], records: Records
) -> None:
    model = _model(name, records, id_dropout=rate)
    table = model.get_layer("table_coupon").embeddings  # All coupons are frequent enough for a row of their own.
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(logits) for logits in model(inputs, training=True).values()])
    gradient = tape.gradient(loss, table)
    rows = set(np.asarray(gradient.indices))
    assert (UNKNOWN in rows) == trained
    assert max(rows) > UNKNOWN


def test_numbers_with_a_long_tail_are_standardized_as_logarithms(records: Records) -> None:
    product = records.schema.entities["product"]
    price = DenseFeature(transform=Transform.LOG, mean=0.5, variance=4.0)
    entities = {**records.schema.entities, "product": replace(product, dense={"price": price})}
    model = AveragePooling(replace(records.schema, entities=entities), catalogs=records.catalogs, hidden_dim=4)
    rows = np.array([[2, 5, 0]])
    values = records.catalogs["product"].dense["price"][rows]
    found = np.asarray(model.objects.object_numbers("product", rows))
    np.testing.assert_allclose(found[0, :2, 0], (np.log1p(values[0, :2]) - 0.5) / 2, rtol=1e-5)
    assert found[0, 2, 0] == 0.0


def test_a_table_with_hashes_begins_with_what_the_same_users_had(records: Records) -> None:
    table = replace(records.schema.tables["product"], hash=8, hashes=2, rows=FIRST_ROW + 8)
    other = Records(records.path)
    other.schema = replace(records.schema, tables={**records.schema.tables, "product": table})
    model = AveragePooling(other.schema, catalogs=other.catalogs, hidden_dim=4, tasks=("next_redemption",))
    layer = model.get_layer("table_product")
    before = layer.embeddings.numpy()
    model.initialize_tables(other)
    rows = {"product": HashedRows(8, 2, FIRST_ROW)(other.catalogs["product"].table_rows).numpy()}
    vectors = co_occurrence(other, ["next_redemption"], rows)["product"]
    known = vectors.any(axis=1)
    np.testing.assert_array_equal(known, [False, False, *[True] * 8])
    spread = TABLE_STDDEV / 2**0.5  # The sum of two has that of a table without hashes.
    np.testing.assert_allclose(layer.embeddings[FIRST_ROW:], spread * table.dim**0.5 * vectors[FIRST_ROW:], atol=1e-5)
    np.testing.assert_array_equal(layer.embeddings[:FIRST_ROW], before[:FIRST_ROW])
