"""What training leaves out is said, and is what training leaves out."""

from typing import Any

import pytest

from atrank_tf.data import Part, Records, count_targets
from atrank_tf.experiment import Batching
from atrank_tf.report import left_out_note, load_report


@pytest.mark.parametrize("least", [1, 2, 4])
def test_what_is_left_out_is_counted(records: Records, least: int) -> None:
    note = left_out_note(load_report(records.path), records.schema, list(records.schema.tasks), least)
    every, long = (
        count_targets(records, "next_purchase", Part.TRAINING, Batching(min_history=count)) for count in (0, least)
    )
    assert every > long
    assert note == (
        f"Training targets with fewer than min_history = {least} behaviors before them are left out: "
        f"{every - long} of {every} of next_purchase."
    )


def test_between_two_bins_it_is_at_least_that_many(records: Records) -> None:
    note = left_out_note(load_report(records.path), records.schema, ["next_purchase"], 3)
    assert note is not None
    assert "are left out: at least " in note


def test_impressions_are_all_trained_on(records: Records) -> None:
    settings: Any = {"records": records, "task": "next_redemption", "part": Part.TRAINING}
    every, long = (count_targets(**settings, settings=Batching(min_history=count)) for count in (0, 1_000))
    assert every == long > 0
    assert left_out_note(load_report(records.path), records.schema, ["next_redemption"], 1_000) is None
    assert left_out_note(load_report(records.path), records.schema, ["next_purchase"], 0) is None
