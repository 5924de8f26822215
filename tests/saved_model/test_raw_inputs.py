"""Raw ids -> rows: which behaviors of a long history count, and how many values of a column."""

import tensorflow as tf

from atrank_tf.saved_model.raw_inputs import newest_places, value_rows


def test_of_more_behaviors_than_max_length_the_newest_count_and_later_ones_win_ties() -> None:
    timestamp = tf.constant([[30, 10, 20, 30, 0], [0, 0, 5, 0, 0]], tf.int64)
    picked = [set(row) for row in newest_places(timestamp, 2).numpy().tolist()]
    assert picked[0] == {0, 3}
    assert 2 in picked[1]
    assert [set(row) for row in newest_places(timestamp[:1], 1).numpy().tolist()] == [{3}]
    assert sorted(newest_places(timestamp, 9).numpy()[0].tolist()) == [0, 1, 2, 3, 4]
    assert newest_places(timestamp[:, :0], 3).shape == (2, 0)


def test_several_values_come_in_the_width_of_training_and_none_at_all_is_unknown() -> None:
    rows = tf.constant([[5, 0, 6, 7], [0, 0, 0, 0]], tf.int64)
    assert value_rows(rows, 3).numpy().tolist() == [[5, 0, 6], [1, 0, 0]]
    assert value_rows(rows[:, :1], 3).numpy().tolist() == [[5, 0, 0], [1, 0, 0]]
    assert value_rows(rows[:, :0], 2).numpy().tolist() == [[1, 0], [1, 0]]
    assert value_rows(rows[:, tf.newaxis, :2], 2).numpy().tolist() == [[[5, 0]], [[1, 0]]]
