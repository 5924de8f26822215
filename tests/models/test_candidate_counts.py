"""What is counted of candidates of lists, against the lists of the log."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import tensorflow as tf

from atrank_tf.data import Records, timeline_batches
from atrank_tf.datasets import write_hotel_lists
from atrank_tf.experiment import Batching
from atrank_tf.models import ATRank, TimelineATRank
from atrank_tf.schema import FIRST_ROW

SMALL = {"hidden_dim": 8, "num_spaces": 2, "intermediate_dim": 4, "hidden_units": [5]}
TASK = "next_click"


@pytest.fixture(scope="module")
def model(hotels: Records) -> ATRank:
    model = ATRank(hotels.schema, catalogs=hotels.catalogs, **SMALL)
    model.load_counts(hotels)
    return model


@pytest.fixture(scope="module")
def batch(model: ATRank, hotels: Records) -> dict[str, Any]:
    inputs, *_ = next(iter(model.evaluation_batches(hotels, "test")))
    return dict(inputs)


def _numbers(model: Any, inputs: Any, now: Any) -> dict[str, np.ndarray]:
    numbers = np.moveaxis(np.asarray(model.counts(TASK, inputs, now)), -1, 0)
    return dict(zip(model.counts.names(TASK), numbers, strict=False))  # Names of affinity come behind.


def test_4_a_price_is_compared_with_what_the_same_hotel_cost_before(
    model: ATRank, hotels: Records, batch: dict[str, Any], tmp_path: Any
) -> None:
    """Of the whole log, but for what was in the period of the request."""
    write_hotel_lists(str(tmp_path / "logs"), users=400, seed=1)
    log = pl.read_parquet(tmp_path / "logs/impressions/next_click.parquet")
    shown = {
        (str(hotel), moment): np.log1p(price)
        for hotel, moment, price in log.select("hotel_id", "timestamp", "price").iter_rows()
    }
    by_hotel: dict[str, list[tuple[int, float]]] = {}
    for (hotel, moment), number in shown.items():
        by_hotel.setdefault(hotel, []).append((moment, number))
    begins = model.get_layer(f"usual_{TASK}").begins.numpy()
    found = _numbers(model, batch, batch["now"])
    names = hotels.catalogs["hotel"].ids.astype(str)
    moments, numbers = (np.array(each) for each in zip(*((moment, n) for (_, moment), n in shown.items()), strict=True))
    seen = 0
    for row, now in enumerate(batch["now"].numpy()):
        until = begins[begins <= now].max()
        before = numbers[moments < until]
        scale = 1 / (before.std() + 0.05)
        for place, hotel in enumerate(batch[f"{TASK}__candidates"].numpy()[row]):
            own = [number for moment, number in by_hotel[names[hotel - FIRST_ROW]] if moment < until]
            known, mean = len(own) / (len(own) + 3), np.mean(own) if own else 0.0
            price = np.log1p(batch[f"{TASK}__price"].numpy()[row, place])
            usual, beyond = known * (mean - before.mean()) * scale, known * (price - mean) * scale
            assert found["price, usual"][row, place] == pytest.approx(usual, abs=5e-3)
            assert found["price, beyond"][row, place] == pytest.approx(beyond, abs=5e-3)
            seen += len(own) > 3
    assert seen > 100


def test_a_timeline_compares_each_of_its_lists_at_its_time(hotels: Records) -> None:
    model = TimelineATRank(hotels.schema, catalogs=hotels.catalogs, **SMALL)
    model.load_counts(hotels)
    inputs, *_ = next(iter(timeline_batches(hotels, settings=Batching(batch_tokens=256)).dataset))
    now = inputs[f"{TASK}__now"]
    whole = model.counts(TASK, inputs, now)
    for place in range(now.shape[1]):
        alone = {name: value[:, place] for name, value in inputs.items() if name.startswith(f"{TASK}__")}
        np.testing.assert_allclose(whole[:, place], model.counts(TASK, alone, now[:, place]), rtol=1e-4, atol=1e-4)


def test_a_missing_price_is_an_ordinary_one(model: ATRank, batch: dict[str, Any]) -> None:
    mean = model.schema.tasks[TASK].context.dense["price"].mean
    price = tf.fill(tf.shape(batch[f"{TASK}__price"]), np.float32(mean))
    missing, ordinary = (
        _numbers(model, batch | {f"{TASK}__price": each}, batch["now"]) for each in (price * np.nan, price)
    )
    for name, number in ordinary.items():
        np.testing.assert_allclose(missing[name], number, rtol=1e-5, err_msg=name)


def test_it_is_left_out_with_popularity(hotels: Records) -> None:
    model = ATRank(hotels.schema, catalogs=hotels.catalogs, popularity=False, **SMALL)
    assert not any(name.endswith((", usual", ", beyond")) for name in model.counts.names(TASK))
