"""Entities whose ids have no table: objects are known by their columns and by what a user did with them."""

import copy
from typing import Any

import numpy as np
import pytest

from atrank_tf.data import Records
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
    model = TimelineATRank(hotels.schema, catalogs={**hotels.catalogs, "hotel": twin}, item_bias=False, **CONFIG)
    one, same, other = np.asarray(model.objects.objects("hotel", np.arange(3) + FIRST_ROW))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_what_a_user_did_with_the_very_object_is_counted(hotels: Records) -> None:
    channels = [
        channel.group for channel in affinity_channels(hotels.schema, "next_click") if channel.table == SAME_OBJECT
    ]
    assert channels == ["click", "look"]


def test_a_bias_of_each_object_needs_a_table(hotels: Records) -> None:
    with pytest.raises(
        ValueError, match=r"item_bias = false in \[model\]: entity 'hotel', which task 'next_click' ranks"
    ):
        TimelineATRank(hotels.schema, catalogs=hotels.catalogs, **CONFIG)
