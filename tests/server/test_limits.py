"""What one request may cost, and which inputs a SavedModel says are to be counted."""

import types

import numpy as np
import pytest
import tensorflow as tf
from raw_requests import example

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.limits import (
    Cost,
    LimitedInputs,
    check_body,
    check_inputs,
    check_outputs,
    read_limited_inputs,
    write_limited_inputs,
)
from atrank_tf.server.settings import ServerSettings

LIMITED = LimitedInputs(
    frozenset({"buy__candidates"}),
    frozenset({"memory", "mask", "timestamp", "object", "action"}),
    {"buy__timestamp": 4, "look__timestamp": 3},
    frozenset({"examples"}),
    Cost(pair=1000, behavior=100, read=10, candidate=1),
)


def check(tensors, most, most_reads=10**9, limited=LIMITED, **settings):
    limits = {"max_candidates": most, "max_memory_reads": most_reads, "max_values": 10**9, "max_work_bytes": 10**9}
    return check_inputs(tensors, limited, types.SimpleNamespace(**{**limits, **settings}))  # also those below 1


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


def test_the_cost_of_a_request_is_what_its_behaviors_and_candidates_take():
    history = {"now": np.zeros(2), "buy__timestamp": np.zeros((2, 9)), "look__timestamp": np.zeros((2, 1))}
    # 5 behaviors, the newest 4 and 1; 7 candidates; 1 + 9 + 1 + 7 values of 100 bytes, of 2 users.
    by_hand = 2 * (5 * (5 * 1000 + 100) + 7 * (5 * 10 + 1) + 18 * 100)
    tensors = {**history, "buy__candidates": np.zeros((2, 7))}
    assert check(tensors, 14) == by_hand
    assert check(tensors, 14, max_work_bytes=by_hand) == by_hand
    message = rf"^Expected a request that takes at most {by_hand - 1} bytes .* Received: 2 users, .* {by_hand}\. Send"
    with pytest.raises(ServingError, match=message) as caught:
        check(tensors, 14, max_work_bytes=by_hand - 1)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_memory_costs_nothing_to_encode_and_is_read():
    tensors = {"now": np.zeros(1), "memory": np.zeros((1, 9, 3)), "mask": np.zeros((1, 9))}
    assert check({**tensors, "buy__candidates": np.zeros((1, 7))}, 7) == 7 * (9 * 10 + 1) + 8 * 100
    appended = {**tensors, "buy__timestamp": np.zeros((1, 2))}
    assert check(appended, 7) == 2 * ((2 + 9) * 1000 + 100) + 3 * 100


def test_behaviors_that_see_few_others_cost_as_many_pairs():
    limited = LimitedInputs(histories={"buy__timestamp": 9}, cost=Cost(pair=1000, seen=3))
    for sent, pairs in ((2, 2 * 2), (3, 3 * 3), (9, 9 * 3)):
        assert check({"now": np.zeros(1), "buy__timestamp": np.zeros((1, sent))}, 7, limited=limited) == (
            pairs * 1000 + (1 + sent) * 100
        )


def test_a_cost_in_a_graph_is_that_outside():
    sizes = {"now": 1, "buy__timestamp": 9, "look__timestamp": 1, "buy__candidates": 7}
    tensors = {name: tf.constant(size, tf.int64) for name, size in sizes.items()}
    assert int(LIMITED.work(tf.constant(2, tf.int64), tensors, tf.minimum)) == LIMITED.work(2, sizes)


def test_examples_count_as_if_all_were_as_long_as_the_longest():
    examples = [
        {"now": [1], "buy__candidates": [3]},
        {"now": [1], "buy__candidates": [3] * 50, "buy__timestamp": [1, 2]},
    ]
    tensors = {"examples": np.array([*map(example, examples), b"broken"], object)}
    assert check(tensors, 150) == 3 * (2 * (2 * 1000 + 100) + 50 * (2 * 10 + 1) + (1 + 50 + 2) * 100)
    with pytest.raises(ServingError, match=r"at most 149 candidates in a request\. Received: 150 in 'buy__cand"):
        check(tensors, 149)
    message = r"^Expected at most 149 values of a feature .* Received: 3 Examples, 50 values of 'buy__candidates'"
    with pytest.raises(ServingError, match=message) as caught:
        check(tensors, 150, max_values=149)
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("body", "what"), [(b"[1,[2],{}]", "2 lists and objects"), (b'{"a": [1, 2, "x,y"]}', "3 values")]
)
def test_lists_and_values_are_counted_before_a_body_is_parsed(body, what):
    check_body(body, ServerSettings(max_lists=3, max_values=4))
    with pytest.raises(ServingError, match=rf"^Expected at most {what} in a request .* Send several") as caught:
        check_body(body, ServerSettings(max_lists=2, max_values=3))
    assert caught.value.code is Code.INVALID_ARGUMENT
