"""What one request may cost, and which inputs a SavedModel says are to be counted."""

import numpy as np
import pytest

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.limits import (
    LimitedInputs,
    check_inputs,
    check_outputs,
    read_limited_inputs,
    write_limited_inputs,
)

LIMITED = LimitedInputs(frozenset({"buy__candidates"}), frozenset({"memory", "mask", "timestamp", "object", "action"}))


def check(tensors, most, most_reads=10**9, limited=LIMITED):
    check_inputs(tensors, limited, max_candidates=most, max_memory_reads=most_reads)


def test_candidates_of_all_users_count_together():
    tensors = {"now": np.zeros(2), "buy__candidates": np.zeros((2, 3)), "candidates_id": np.zeros((2, 100))}
    check(tensors, 6)
    with pytest.raises(ServingError, match=r"^Expected at most 5 .* Received: 6 in 'buy__candidates'") as caught:
        check(tensors, 5)
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (7, 3)])
def test_candidates_that_a_graph_would_broadcast_count_for_every_user(shape):
    tensors = {"now": np.zeros(7), "one": np.zeros(()), "buy__candidates": np.zeros(shape)}
    check(tensors, 21)
    with pytest.raises(ServingError, match=r"^Expected at most 20 .* Received: 21 in 'buy__candidates'"):
        check(tensors, 20)


def test_candidates_alone_need_no_users_beside_them():
    for shape, count in (((), 1), ((5,), 5), ((1, 0), 0)):
        check({"buy__candidates": np.zeros(shape)}, count)
        with pytest.raises(ServingError, match=rf"Received: {count} in 'buy__candidates'"):
            check({"buy__candidates": np.zeros(shape)}, count - 1)


@pytest.mark.parametrize("longest", ["memory", "mask", "timestamp", "object", "action"])
def test_candidates_count_for_each_behavior_of_a_memory_that_comes_with_them(longest):
    tensors = {name: np.zeros((2, 5)) for name in ("mask", "timestamp", "object", "action")}
    tensors |= {"memory": np.zeros((2, 5, 3)), "buy__candidates": np.zeros((2, 7)), "buy_position": np.zeros((2, 7))}
    tensors[longest] = np.zeros((2, 11, *tensors[longest].shape[2:]))  # a graph would broadcast the others
    check(tensors, 14, 154)
    message = r"^Expected at most 153 candidates times behaviors .* Received: 14 in 'buy__candidates', times 11\."
    with pytest.raises(ServingError, match=message) as caught:
        check(tensors, 14, 153)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_history_is_no_memory_and_a_memory_without_candidates_is_not_read_by_any():
    check({"buy__candidates": np.zeros((1, 7)), "buy__timestamp": np.zeros((1, 1000))}, 7, 7)
    check({"memory": np.zeros((1, 1000, 3)), "mask": np.zeros((1, 1000))}, 7, 7)


def test_of_a_model_that_names_no_inputs_none_is_counted(tmp_path):
    assert read_limited_inputs(str(tmp_path)) == LimitedInputs()
    check({"buy__candidates": np.zeros((1, 7)), "memory": np.zeros((1, 9, 3))}, 1, 1, LimitedInputs())


def test_the_names_are_read_as_they_were_written_and_not_where_they_are_damaged(tmp_path):
    write_limited_inputs(str(tmp_path), LIMITED)
    assert read_limited_inputs(str(tmp_path)) == LIMITED
    file = tmp_path / "assets.extra/limited_inputs.json"
    file.write_text(file.read_text().replace("buy__candidates", "buy_candidate5"))
    with pytest.raises(ValueError, match=r"limited_inputs\.json is damaged.* Export again"):
        read_limited_inputs(str(tmp_path))


def test_all_values_of_an_answer_count():
    outputs = {"scores": np.zeros((1, 7)), "attention": np.zeros((1, 2, 3, 5)), "count": np.zeros(())}
    check_outputs(outputs, max_output_values=38)
    message = (
        r"^Expected at most 37 values in an answer\. Received: 38, most of them in 'attention' of shape "
        r"\[1, 2, 3, 5\]\. Ask for fewer users, candidates or behaviors at once\.$"
    )
    with pytest.raises(ServingError, match=message) as caught:
        check_outputs(outputs, max_output_values=37)
    assert caught.value.code is Code.INVALID_ARGUMENT
