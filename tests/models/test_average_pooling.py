"""Average pooling: what is read."""

from typing import Any

import numpy as np

from atrank_tf.models import AveragePooling


def test_every_candidate_reads_the_mean_of_the_behaviors(records: Any) -> None:
    model = AveragePooling(records.schema, hidden_dim=2, ranking=["dot"])
    memory = np.array([[[1.0, 2.0], [3.0, 8.0], [99.0, 99.0]]], np.float32)
    found = model.read(np.zeros((1, 2, 2), np.float32), memory, np.array([[True, True, False]]))
    np.testing.assert_array_equal(np.asarray(found), [[[2.0, 5.0], [2.0, 5.0]]])
