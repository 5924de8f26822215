"""What is known of a candidate within its list, against the columns of the list and the affinity that it is made of."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import Records, requests, timeline_batches
from atrank_tf.experiment import Batching
from atrank_tf.models import ATRank, TimelineATRank
from atrank_tf.models.list_numbers import NEAR
from atrank_tf.schema.affinity import affinity_features

SMALL = {"hidden_dim": 8, "num_spaces": 2, "intermediate_dim": 4, "hidden_units": [5]}
TASK = "next_click"


@pytest.fixture(scope="module")
def model(hotels: Records) -> ATRank:
    return ATRank(hotels.schema, catalogs=hotels.catalogs, **SMALL)


@pytest.fixture(scope="module")
def batch(hotels: Records) -> dict[str, Any]:
    inputs, *_ = next(iter(requests(hotels, "test", settings=Batching(evaluation_batch_size=60))))
    return dict(inputs)


@pytest.fixture(scope="module")
def found(model: ATRank, batch: dict[str, Any]) -> dict[str, np.ndarray]:
    """Name -> number of each candidate, [B, N]."""
    return dict(zip(model.lists.names(TASK), np.moveaxis(model.lists(TASK, batch).numpy(), -1, 0), strict=True))


def test_prices_and_positions_are_compared_within_the_list(found: Any, batch: dict[str, Any]) -> None:
    price = batch["next_click__price"].numpy()
    top = 1 / (1 + (price[:, np.newaxis, :] > price[:, :, np.newaxis]).sum(axis=-1))
    np.testing.assert_allclose(found["price, from the top"], top, rtol=1e-6)
    logarithm = np.log1p(price)
    apart = logarithm - logarithm.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found["price, from the mean"], apart, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found["position, from the bottom"], 1 / batch["next_click__position"].numpy(), rtol=1e-6)


def test_what_was_done_is_compared_within_the_list(model: ATRank, found: Any, batch: dict[str, Any]) -> None:
    for place, feature in enumerate(affinity_features(model.schema, TASK)):
        if feature.channel == ("look", "same object") and not feature.action:
            last = batch["next_click__affinity"].numpy()[..., place]
            highest = (last == last.max(axis=1, keepdims=True)).astype(int)
            np.testing.assert_array_equal(found[f"{feature}, from the top"] == 1, highest)
            assert (highest.sum(axis=1) == 1).any()


def test_places_below_the_last_hotel_that_was_done_something_with(
    model: ATRank, found: Any, batch: dict[str, Any]
) -> None:
    features = affinity_features(model.schema, TASK)
    same = [
        place for place, (channel, action, _) in enumerate(features) if channel.table == "same object" and not action
    ]
    last = batch["next_click__affinity"].numpy()[..., same].max(axis=-1)
    position, seen = batch["next_click__position"].numpy(), 0
    for row, newest in enumerate(last.argmax(axis=1)):
        places = np.stack([found[f"{place} places below the last"][row] for place in range(-NEAR, NEAR + 1)], axis=-1)
        if not last[row].any():
            assert not places.any()
            continue
        apart = np.clip(position[row] - position[row, newest], -NEAR, NEAR).astype(int)
        np.testing.assert_array_equal(places, np.eye(2 * NEAR + 1)[apart + NEAR])
        seen += 1
    assert 0 < seen < len(last)


def test_a_missing_price_is_an_ordinary_one(model: ATRank, batch: dict[str, Any]) -> None:
    price = batch["next_click__price"].numpy()
    price[:, 3] = np.nan
    mean = model.schema.tasks[TASK].context.dense["price"].mean
    filled = np.where(np.isnan(price), np.float32(mean), price)
    missing, ordinary = (
        model.lists(TASK, batch | {"next_click__price": tf.constant(each)}) for each in (price, filled)
    )
    np.testing.assert_allclose(missing, ordinary, rtol=1e-5, atol=1e-6)


def test_a_timeline_compares_each_of_its_lists_by_itself(hotels: Records) -> None:
    model = TimelineATRank(hotels.schema, catalogs=hotels.catalogs, **SMALL)
    inputs, *_ = next(iter(timeline_batches(hotels, settings=Batching(batch_tokens=256)).dataset))
    names = [name for name in inputs if name.startswith("next_click__") and inputs[name].shape.rank >= 3]
    whole = model.lists(TASK, inputs)
    for place in range(inputs["next_click__candidates"].shape[1]):
        alone = model.lists(TASK, {name: inputs[name][:, place] for name in names})
        np.testing.assert_allclose(whole[:, place], alone, rtol=1e-5, atol=1e-4)


def test_it_can_be_left_out(hotels: Records, batch: dict[str, Any]) -> None:
    model = ATRank(hotels.schema, catalogs=hotels.catalogs, within_list=False, **SMALL)
    assert model.lists(TASK, batch) is None
    assert model.lists.names(TASK) == []
    first = {name: value[:, :4] if name.startswith("next_click__") else value for name, value in batch.items()}
    np.testing.assert_allclose(model(first)[TASK], model(batch)[TASK][:, :4], rtol=1e-4, atol=1e-5)
