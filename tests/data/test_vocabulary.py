"""Vocabularies: how values are looked up."""

import numpy as np
import polars as pl
import pytest

from atrank_tf.data.vocabulary import Vocabulary


def test_unknown_and_missing_values_are_row_1():
    vocabulary = Vocabulary(pl.Series(["grocery", "drug"]))
    rows = vocabulary.lookup(pl.Series(["drug", "toys", None, "grocery", "drug"]))
    assert rows.tolist() == [3, 1, 1, 2, 3]
    assert rows.dtype == np.int64


def test_integers_are_looked_up_as_text():
    assert Vocabulary(pl.Series([30, 7])).lookup(pl.Series(["7", "30", "030"])).tolist() == [3, 2, 1]


def test_lists_are_padded_on_the_right_and_cut():
    vocabulary = Vocabulary(pl.Series(["a", "b"]))
    lists = pl.Series([["b", "a"], [], ["x", "a", "b"], ["a"]])
    expected = [[3, 2], [1, 0], [1, 2], [2, 0]]
    assert vocabulary.lookup_lists(lists, 2).tolist() == expected


@pytest.mark.parametrize("lists", [[], [[]], [[], []]])
def test_lists_without_values(lists):
    rows = Vocabulary(pl.Series(["a"])).lookup_lists(pl.Series(lists, dtype=pl.List(pl.String)), 3)
    assert rows.tolist() == [[1, 0, 0]] * len(lists)
