import numpy as np
import pytest

from atrank_tf.serving.errors import Code, ServingError
from atrank_tf.serving.rest.candidates import check_examples, check_tensors


def test_candidates_of_all_users_count_together():
    tensors = {"now": np.zeros(9), "buy_candidates": np.zeros((2, 3)), "candidates_id": np.zeros(100)}
    check_tensors(tensors, 6)
    with pytest.raises(ServingError, match=r"^Expected at most 5 .* Received: 6 in 'buy_candidates'") as caught:
        check_tensors(tensors, 5)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_candidates_of_a_context_count_for_each_example():
    check_examples({"examples": [{"buy_candidates": [1, 2]}, {"buy_candidates": 3}, {}]}, 2)
    document = {"context": {"buy_candidates": [1, 2, 3]}, "examples": [{"now": [5] * 9}, {"buy_candidates": [4]}]}
    check_examples(document, 4)
    with pytest.raises(ServingError, match=r"^Expected at most 3 .* Received: 4 in 'buy_candidates'"):
        check_examples(document, 3)
