"""What objects were shown with, against the lists one by one."""

from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import Part, Records, ShownValues, popularity, requests, shown, shown_values
from atrank_tf.experiment import Batching
from atrank_tf.schema import FIRST_ROW

TASK = "next_click"
COLUMNS = {"price": tf.math.log1p, "position": tf.identity}


@pytest.fixture(scope="module")
def begins(hotels: Records) -> np.ndarray:
    return popularity(hotels, [("hotel", partial(shown, task=TASK))])[0].begins


@pytest.fixture(scope="module")
def found(hotels: Records, begins: np.ndarray) -> ShownValues:
    return shown_values(hotels, TASK, COLUMNS, begins)


def test_4_sums_are_those_of_all_lists_before_each_period_ends(hotels: Records, found: ShownValues) -> None:
    counts, sums = np.zeros_like(found.counts), np.zeros(found.sums.shape)
    squares = np.zeros_like(found.squares)
    for part in (Part.TRAINING, Part.VALIDATION, Part.TEST):
        lists = requests(hotels, part, tasks=[TASK], settings=Batching(min_history=0))
        for inputs, *_ in lists.as_numpy_iterator():
            periods = (found.begins[:, np.newaxis] <= inputs["now"]).sum(axis=0)
            values = np.stack([np.log1p(inputs[f"{TASK}__price"]), inputs[f"{TASK}__position"]], axis=-1)
            for ids, shown_with, period in zip(inputs[f"{TASK}__candidates"], values, periods, strict=True):
                real = ids >= FIRST_ROW
                np.add.at(counts, (ids[real], period), 1)
                np.add.at(sums, (ids[real], period), shown_with[real])
                squares[period] += (shown_with[real] ** 2).sum(axis=0)
    assert counts.sum() > 1000
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_allclose(found.sums, sums, rtol=1e-5)
    np.testing.assert_allclose(found.squares, squares, rtol=1e-5)


def test_what_is_unknown_has_none(hotels: Records, begins: np.ndarray) -> None:
    """Else a new object would be taken for all that were ever unknown."""

    def unknown(chunk: Any) -> Any:
        lists = chunk.requests[TASK]
        return chunk._replace(requests={TASK: lists._replace(id=tf.ones_like(lists.id))})

    with pytest.MonkeyPatch.context() as patch:
        room = import_module("atrank_tf.data.shown_values")  # Whose name its function has, too.
        parse = room.parse
        patch.setattr(room, "parse", lambda *given: unknown(parse(*given)))
        nothing = shown_values(hotels, TASK, COLUMNS, begins)
    assert not any(each.any() for each in nothing[1:])


def test_workers_add_up_their_shares(hotels: Records, begins: np.ndarray, found: ShownValues) -> None:
    parts = [shown_values(hotels.of_worker(index, 2), TASK, COLUMNS, begins) for index in range(2)]
    for whole, *shares in zip(found[1:], *(part[1:] for part in parts), strict=True):
        assert all(share.any() for share in shares)
        np.testing.assert_allclose(shares[0] + shares[1], whole, rtol=1e-5)
    twice = shown_values(hotels, TASK, COLUMNS, begins, total=lambda array: 2 * array)
    np.testing.assert_allclose(twice.sums, 2 * found.sums)
