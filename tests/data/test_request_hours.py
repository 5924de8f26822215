"""The hours of the week in which requests come."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from atrank_tf.data import Part, request_hours

VALIDATION, TEST = 59 * 86_400, 73 * 86_400  # 1970-03-01 and 1970-03-15.


@pytest.mark.parametrize(("part", "until"), [(Part.TRAINING, VALIDATION), (Part.TRAINING_AND_VALIDATION, TEST)])
def test_hours_of_all_targets_of_the_tasks_are_counted(records: Any, logs: Any, part: Part, until: int) -> None:
    bought = pl.read_csv(logs / "behaviors/purchase.csv")["timestamp"].to_numpy()
    lists = pl.read_parquet(logs / "impressions/next_redemption.parquet")
    shown = lists.group_by("request_id").agg(pl.col("timestamp").first())["timestamp"].to_numpy()
    asked = {"next_purchase": bought, "next_redemption": shown}
    for tasks in (["next_purchase"], list(asked)):
        times = np.concatenate([asked[task] for task in tasks])
        expected = np.bincount(times[times < until] // 3600 % 168, minlength=168)
        np.testing.assert_array_equal(request_hours(records, tasks, part), expected)
