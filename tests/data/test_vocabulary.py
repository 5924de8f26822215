"""Vocabularies: which values get a row, in which order, and how they are looked up."""

import numpy as np
import polars as pl
import pytest

from atrank_tf.data.vocabulary import Vocabulary, build_vocabulary


def counts(**numbers):
    return pl.DataFrame({"value": list(numbers), "count": list(numbers.values())})


def test_rows_go_by_count_then_by_value():
    vocabulary = build_vocabulary([counts(b=3, a=3, c=7, d=1)], min_count=1)
    assert vocabulary.values.to_list() == ["c", "a", "b", "d"]
    assert len(vocabulary) == 6
    assert vocabulary.rows_of(pl.Series(["c", "a", "b", "d"])).tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize(("min_count", "expected"), [(1, ["a", "b", "c"]), (3, ["a", "b"]), (5, ["a"]), (6, [])])
def test_the_counts_of_all_uses_are_added(min_count, expected):
    vocabulary = build_vocabulary([counts(a=2, b=3), counts(a=3), counts(c=2)], min_count)
    assert vocabulary.values.to_list() == expected


def test_a_count_of_0_is_no_row():
    assert build_vocabulary([counts(a=0, b=1)], min_count=1).values.to_list() == ["b"]


def test_the_order_of_the_uses_does_not_matter():
    uses = [counts(x=1, y=2, z=1), counts(z=1, w=2), counts(v=9)]
    first = build_vocabulary(uses, 1).values.to_list()
    assert first == build_vocabulary(uses[::-1], 1).values.to_list() == ["v", "w", "y", "z", "x"]


def test_unknown_and_missing_values_are_row_1():
    vocabulary = Vocabulary(pl.Series(["grocery", "drug"]))
    rows = vocabulary.rows_of(pl.Series(["drug", "toys", None, "grocery", "drug"]))
    assert rows.tolist() == [3, 1, 1, 2, 3]
    assert rows.dtype == np.int64


def test_integers_are_looked_up_as_text():
    assert Vocabulary(pl.Series([30, 7])).rows_of(pl.Series(["7", "30", "030"])).tolist() == [3, 2, 1]


def test_lists_are_padded_on_the_right_and_cut():
    vocabulary = Vocabulary(pl.Series(["a", "b"]))
    lists = pl.Series([["b", "a"], [], ["x", "a", "b"], ["a"]])
    expected = [[3, 2], [1, 0], [1, 2], [2, 0]]
    assert vocabulary.rows_of_lists(lists, 2).tolist() == expected


@pytest.mark.parametrize("lists", [[], [[]], [[], []]])
def test_lists_without_values(lists):
    rows = Vocabulary(pl.Series(["a"])).rows_of_lists(pl.Series(lists, dtype=pl.List(pl.String)), 3)
    assert rows.tolist() == [[1, 0, 0]] * len(lists)


def test_an_empty_vocabulary_has_the_reserved_rows():
    vocabulary = build_vocabulary([counts(a=1)], min_count=2)
    assert len(vocabulary) == 2
    assert vocabulary.rows_of(pl.Series(["a"])).tolist() == [1]
