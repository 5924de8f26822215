import numpy as np
import pytest

from atrank_tf.server.candidates import check_examples, check_tensors
from atrank_tf.server.errors import Code, ServingError


def test_candidates_of_all_users_count_together():
    tensors = {"now": np.zeros(2), "buy_candidates": np.zeros((2, 3)), "candidates_id": np.zeros((2, 100))}
    check_tensors(tensors, 6)
    with pytest.raises(ServingError, match=r"^Expected at most 5 .* Received: 6 in 'buy_candidates'") as caught:
        check_tensors(tensors, 5)
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (7, 3)])
def test_candidates_that_a_graph_would_broadcast_count_for_every_user(shape):
    tensors = {"now": np.zeros(7), "one": np.zeros(()), "buy_candidates": np.zeros(shape)}
    check_tensors(tensors, 21)
    with pytest.raises(ServingError, match=r"^Expected at most 20 .* Received: 21 in 'buy_candidates'"):
        check_tensors(tensors, 20)


def test_candidates_alone_need_no_users_beside_them():
    for shape, count in (((), 1), ((5,), 5), ((1, 0), 0)):
        check_tensors({"buy_candidates": np.zeros(shape)}, count)
        with pytest.raises(ServingError, match=rf"Received: {count} in 'buy_candidates'"):
            check_tensors({"buy_candidates": np.zeros(shape)}, count - 1)


@pytest.mark.parametrize("longest", ["memory", "mask", "timestamp", "object", "action"])
def test_candidates_count_for_each_behavior_of_a_memory_that_comes_with_them(longest):
    tensors = {name: np.zeros((2, 5)) for name in ("mask", "timestamp", "object", "action")}
    tensors |= {"memory": np.zeros((2, 5, 3)), "buy_candidates": np.zeros((2, 7)), "buy_position": np.zeros((2, 7))}
    tensors[longest] = np.zeros((2, 11, *tensors[longest].shape[2:]))  # a graph would broadcast the others
    check_tensors(tensors, 14, 154)
    message = r"^Expected at most 153 candidates times behaviors .* Received: 14 in 'buy_candidates', times 11\."
    with pytest.raises(ServingError, match=message) as caught:
        check_tensors(tensors, 14, 153)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_history_is_no_memory_and_a_memory_without_candidates_is_not_read_by_any():
    check_tensors({"buy_candidates": np.zeros((1, 7)), "timestamp": np.zeros((1, 1000))}, 7, 7)
    check_tensors({"memory": np.zeros((1, 1000, 3)), "mask": np.zeros((1, 1000))}, 7, 7)


def test_candidates_of_a_context_count_for_each_example():
    check_examples({"examples": [{"buy_candidates": [1, 2]}, {"buy_candidates": 3}, {}]}, 2)
    document = {"context": {"buy_candidates": [1, 2, 3]}, "examples": [{"now": [5] * 9}, {"buy_candidates": [4]}]}
    check_examples(document, 4)
    with pytest.raises(ServingError, match=r"^Expected at most 3 .* Received: 4 in 'buy_candidates'"):
        check_examples(document, 3)
    for own in (5, None):
        document = {"context": {"buy_candidates": [1, 2, 3]}, "examples": [{"buy_candidates": own}, {}, {}]}
        check_examples(document, 6)
        with pytest.raises(ServingError, match=r"Received: 6 in 'buy_candidates'"):
            check_examples(document, 5)


def test_a_context_is_looked_at_once_however_many_examples_there_are():
    class Context(dict):
        looks = 0

        def items(self):
            self.looks += 1
            return super().items()

        def __or__(self, other):
            self.looks += 1
            return super().__or__(other)

    context = Context(buy_candidates=[1])
    check_examples({"context": context, "examples": [{}] * 50}, 50)
    assert context.looks == 1
