"""Codes: the same in prepare as in a graph, and in every release."""

import numpy as np
import polars as pl
import tensorflow as tf

from atrank_tf.data.codes import Codes, codes


def test_a_graph_and_prepare_agree_and_a_code_stays_as_it_is() -> None:
    texts = ["p1", "", "größe", "p2", "p1"]
    found = Codes(9).lookup(pl.Series([text or None for text in texts]))
    in_graph = tf.function(codes, input_signature=[tf.TensorSpec([None], tf.string)])
    np.testing.assert_array_equal(in_graph(tf.constant(texts)), found)
    # FarmHash's fingerprint of "p1" modulo 2^31 - 2: records and exports of earlier releases rely on it.
    assert found.tolist() == [2075982910, 1, 45155496, 1286874888, 2075982910]


def test_lists_are_cut_and_padded_as_by_a_vocabulary() -> None:
    known = Codes(9)
    assert len(known) == 9
    one, two = known.lookup(pl.Series(["a", "b"]))
    lists = pl.Series([["a", "b", "c"], [], ["b"]])
    assert known.lookup_lists(lists, 2).tolist() == [[one, two], [1, 0], [two, 0]]


def test_nothing_to_look_up() -> None:
    assert Codes(9).lookup(pl.Series(dtype=pl.String)).tolist() == []
