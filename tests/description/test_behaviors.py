"""Measures of what users did, against numbers by hand."""

import polars as pl
import pytest

from atrank_tf.description.behaviors import (
    DAY,
    ENOUGH,
    find_cut,
    history_length,
    never_chosen_share,
    order_of,
    repeat_share,
    share_of_one_moment,
    tied_share,
    ties_keep_log_order,
    time_unit,
)


def did(*rows):
    return pl.DataFrame(rows, schema=["user", "id", "time"], orient="row")


def test_a_repeat_is_of_what_the_same_user_chose_before():
    assert repeat_share(did(("u", "a", 1), ("u", "a", 2), ("u", "b", 2), ("v", "a", 3))) == 0.25
    assert repeat_share(did(("u", "a", 1), ("u", "a", 1))) == 0


def test_what_leads_to_what():
    views = did(("u", "a", 1), ("u", "b", 2), ("v", "a", 5))
    buys = did(("u", "a", 3), ("v", "a", 4), ("v", "b", 4), ("u", "b", 9))
    order = order_of(views, buys)
    assert (order.before, order.first) == (0.75, pytest.approx(2 / 3))
    assert not order.leads
    assert order_of(views, did(("u", "a", 3), ("u", "b", 2))).leads


def test_made_up_times_are_few():
    assert share_of_one_moment(did(*(("u", "a", 7) for _ in range(9)), ("u", "a", 8))) == 1
    assert share_of_one_moment(did(*(("u", "a", time) for time in range(30)))) == 0.1


def test_ties_and_their_order():
    rows = [("u", "3", 1), ("u", "1", 1), ("u", "2", 1), ("v", "1", 1)]
    assert tied_share(did(*rows)) == 0.75
    assert ties_keep_log_order(did(*rows))
    assert not ties_keep_log_order(did(*sorted(rows))), "sorted by object: the order tells nothing"
    assert not ties_keep_log_order(did(("u", "a", 1), ("u", "b", 2)))


def test_history_length():
    assert history_length(did(*(("u", "a", time) for time in range(50)), ("v", "a", 1))) == 50


@pytest.mark.parametrize(
    ("step", "rows", "expected"),
    [(DAY, 40, ("day", 8)), (7200, 1000, ("hour", 13)), (30, 50, ("second", 13)), (90, 100, ("minute", 10))],
)
def test_time_unit(step, rows, expected):
    assert time_unit([did(*(("u", "a", 1_700_000_001 + step * row) for row in range(rows)))]) == (
        expected if step < DAY else ("day", 8)
    )


def test_time_is_cut_where_a_fifth_and_a_tenth_are_left():
    targets = did(*(("u", "a", DAY * day) for day in range(1, 101)))
    cut = find_cut({"next": targets}, [targets])
    assert cut is not None
    assert (cut.validation_from, cut.test_from) == (81 * DAY, 91 * DAY)
    assert cut.parts == {"next": (80, 10, 10)}
    assert cut.known == 1


def test_users_who_did_too_little_before_are_not_known():
    old = did(*((f"u{day}", "a", DAY * day) for day in range(1, 101)))
    cut = find_cut({"next": old}, [old])
    assert cut is not None and cut.known == 0


def test_a_cut_leaves_no_part_empty():
    targets = did(*(("u", "a", DAY) for _ in range(100)))
    assert find_cut({"next": targets}, [targets]) is None


def test_what_was_never_chosen_before():
    shown = did(("u", "a", 1), ("u", "b", 1), ("u", "a", 5), ("u", "b", 5), ("u", "c", 5), ("u", "c", 5))
    shown = shown.with_columns(label=pl.Series([1, 0, 0, 1, 0, 1]))
    assert never_chosen_share(shown, 5) == 0.75


def test_of_a_task_that_ends_early_as_many_targets_are_held_out_as_tell_models_apart() -> None:
    days = {"often": range(100), "seldom": range(88)}
    targets = {
        name: pl.DataFrame({"user": ["u"] * 20 * len(of), "time": [day * DAY for day in of for _ in range(20)]})
        for name, of in days.items()
    }
    # Of both, a tenth is left from day 90 on, when "seldom" is over.
    cut = find_cut(targets, list(targets.values()))
    assert cut is not None and min(min(part) for part in cut.parts.values()) >= ENOUGH
    alone = find_cut({"often": targets["often"]}, [targets["often"]])
    assert alone is not None and alone.parts["often"] == (1600, 200, 200)
    few = {name: frame[::40] for name, frame in targets.items()}
    found = find_cut(few, list(few.values()))
    assert found is not None and found.test_from < alone.test_from  # A tenth of each will do.
