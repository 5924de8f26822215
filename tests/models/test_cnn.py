"""CNN and pooling: what is read."""

from typing import Any

import numpy as np

from atrank_tf.models import CNN


def test_every_candidate_reads_the_largest_of_each_unit(records: Any) -> None:
    model = CNN(records.schema, hidden_dim=2, windows=1, ranking=["dot"])
    memory = np.array([[[1.0, 8.0], [3.0, 2.0], [99.0, 99.0]]], np.float32)
    found = model.read(np.zeros((1, 2, 2), np.float32), memory, np.array([[True, True, False]]))
    np.testing.assert_array_equal(np.asarray(found), [[[3.0, 8.0], [3.0, 8.0]]])
