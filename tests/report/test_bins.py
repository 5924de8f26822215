"""Bins: which value lies where, by hand."""

import numpy as np
import pytest

from atrank_tf.report.bins import DAY, LATEST_DAY, MOST_DAYS, NUMBERS, day_series, days, gap_bins
from atrank_tf.schema import Time


def test_numbers_double():
    counts = NUMBERS.count(np.array([0, 1, 1, 2, 3, 4, 7, 8, 2**20 - 1, 2**20, 2**40]))
    found = {label: int(count) for label, count in zip(NUMBERS.labels, counts, strict=True) if count}
    assert found == {
        "0": 1,
        "1": 2,
        "2 to 3": 2,
        "4 to 7": 2,
        "8 to 15": 1,
        "524,288 to 1,048,575": 1,
        "1,048,576 or more": 2,
    }


@pytest.mark.parametrize(
    ("time", "labels", "counts"),
    [
        (Time(unit="day", buckets=3), ["same moment", "less than a day", "1 day", "2 days or more"], [1, 2, 1, 2]),
        (Time(unit="second", buckets=3), ["same moment", "1 second", "2 seconds or more"], [1, 1, 4]),
        (Time(unit="day", buckets=1), ["same moment", "less than a day or more"], [1, 5]),
    ],
)
def test_gaps_are_in_the_buckets_of_the_schema(time, labels, counts):
    bins = gap_bins(time)
    assert bins.labels == labels
    assert bins.count(np.array([0, 1, DAY - 1, DAY, 2 * DAY, 2**40])).tolist() == counts


def test_what_lies_below_the_first_bin_is_not_counted():
    assert NUMBERS.count(np.array([-1])).sum() == 0


def test_days_are_counted_from_the_first_to_the_last():
    numbers = days(np.array([10 * DAY, 10 * DAY + DAY - 1, 12 * DAY]))
    assert numbers.tolist() == [10, 10, 12]
    assert day_series(np.bincount(numbers)) == {
        "first": "1970-01-11",
        "last": "1970-01-13",
        "days": 1,
        "counts": [2, 0, 1],
    }


def test_a_long_series_is_summed_to_bins_of_several_days():
    numbers = np.arange(5, 5 + 2 * MOST_DAYS + 1)
    series = day_series(np.bincount(numbers))
    assert (series["first"], series["last"], series["days"]) == ("1970-01-06", "1972-01-08", 3)
    assert len(series["counts"]) == 245
    assert (series["counts"][0], sum(series["counts"])) == (3, len(numbers))


def test_nothing_has_no_days_and_no_timestamp_has_a_day_beyond_the_last():
    assert day_series(np.zeros(LATEST_DAY + 1, np.int64))["counts"] == []
    assert days(np.array([(LATEST_DAY + 9) * DAY])).tolist() == [LATEST_DAY]


def test_values_may_have_weights():
    counts = NUMBERS.count(np.array([-1, 0, 1, 1]), np.array([5, 2, 3, 4]))
    assert counts[:3].tolist() == [2, 7, 0]
