"""The sizes to which batches are padded under XLA."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import Batching, Records, timeline_batches, training_batches
from atrank_tf.models.size_ladder import LADDER, padded, rung


def test_a_rung_is_the_least_that_is_enough_and_a_fifth_of_it_at_most_is_padding() -> None:
    assert LADDER[:15] == (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28)
    for count in range(2_000):
        found = int(rung(tf.constant(count, tf.int64)))
        assert found == min(each for each in LADDER if each >= count)
        assert (found - count) / found < 0.2 or count == 0


def test_counts_keep_their_type_and_may_be_large() -> None:
    for count in (0, 1, 9, 2**30 + 1):
        found = rung(tf.constant(count, tf.int32))
        assert found.dtype == tf.int32
    assert int(found) == 5 * 2**28
    assert np.all(np.diff(LADDER) > 0)


@pytest.mark.parametrize("batches", [training_batches, timeline_batches])
def test_every_open_size_of_a_batch_is_a_rung_and_what_is_added_is_padding(batches: Any, records: Records) -> None:
    settings = Batching(batch_size=11, batch_tokens=200)
    inputs, _, _ = next(batches(records, settings=settings, seed=1).dataset.as_numpy_iterator())
    found = padded(inputs, records.schema, tuple(records.schema.tasks))
    assert set(found) == set(inputs)
    grown = 0
    for name, values in inputs.items():
        whole = found[name].numpy()
        of_schema = name.startswith("user_") and values.ndim == 2  # As many values as the schema says.
        assert set(whole.shape[: 1 if of_schema else None]) <= set(LADDER), name
        np.testing.assert_array_equal(whole[tuple(slice(size) for size in values.shape)], values)
        assert np.count_nonzero(np.nan_to_num(whole)) == np.count_nonzero(np.nan_to_num(values))
        grown += whole.size > values.size
    assert grown > 3
