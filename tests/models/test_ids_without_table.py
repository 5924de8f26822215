"""Entities whose ids have no table: objects are known by their columns and by what a user did with them."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np

from atrank_tf.data import Records, timeline_batches
from atrank_tf.experiment import Batching
from atrank_tf.models import TimelineATRank
from atrank_tf.schema import FIRST_ROW, UNKNOWN
from atrank_tf.schema.affinity import SAME_OBJECT, affinity_channels

CONFIG: dict[str, Any] = {"hidden_dim": 8, "num_spaces": 2, "intermediate_dim": 8, "hidden_units": (8,)}


def test_objects_of_equal_columns_are_embedded_alike_and_others_not(hotels: Records) -> None:
    catalog = hotels.catalogs["hotel"]
    assert set(catalog.table_rows[UNKNOWN:]) == {UNKNOWN}
    twin = copy.deepcopy(catalog)
    for values in (*twin.features.values(), *twin.dense.values()):
        values[FIRST_ROW + 1] = values[FIRST_ROW]
    model = TimelineATRank(hotels.schema, catalogs={**hotels.catalogs, "hotel": twin}, **CONFIG)
    one, same, other = np.asarray(model.objects.objects("hotel", np.arange(3) + FIRST_ROW))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_what_a_user_did_with_the_very_object_is_counted(hotels: Records) -> None:
    channels = [
        channel.group for channel in affinity_channels(hotels.schema, "next_click") if channel.table == SAME_OBJECT
    ]
    assert channels == ["click", "look"]


def test_objects_without_a_table_have_no_bias(hotels: Records) -> None:
    model = TimelineATRank(hotels.schema, catalogs=hotels.catalogs, **CONFIG)
    assert model.config.item_bias
    assert not [weight.path for weight in model.weights if "item_bias" in weight.path]


def test_a_task_without_biases_stands_beside_one_with_them(records: Records) -> None:
    product = records.schema.entities["product"]
    entities = records.schema.entities | {"product": replace(product, id=replace(product.id, table=""))}
    tables = {name: table for name, table in records.schema.tables.items() if name != "product"}
    schema = replace(records.schema, entities=entities, tables=tables)
    model = TimelineATRank(schema, catalogs=records.catalogs, **CONFIG)
    inputs, *_ = next(iter(timeline_batches(records, settings=Batching(batch_tokens=200)).dataset))
    before = model(inputs)
    (bias,) = [weight for weight in model.weights if "item_bias" in weight.path]
    bias.assign_add(np.ones(bias.shape))
    after = model(inputs)
    np.testing.assert_array_equal(after["next_purchase"], before["next_purchase"])
    real = inputs["next_redemption__candidates"].numpy() > 0
    np.testing.assert_allclose((after["next_redemption"] - before["next_redemption"])[real], 1.0, rtol=1e-5)
