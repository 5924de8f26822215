"""Who sees whom within a timeline: written out in one block, and in NumPy where there are many."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.layers import CausalBlocks, SelfAttention, TimeBias
from atrank_tf.layers.attention.causal_blocks import TimeBlocks

# Two groups, one after the other.
TIMESTAMP, GROUP = np.array([[1, 5, 5, 5, 7]]), np.array([[0, 0, 0, 1, 1]])


@pytest.mark.parametrize(
    ("ordered", "expected"),
    [
        ([False, False], [[1, 0, 0, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]),
        ([True, False], [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]),
        ([True, True], [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 0, 0, 1, 0], [1, 1, 1, 1, 1]]),
    ],
)
def test_a_timestamp_sees_itself_or_where_order_counts_its_group_up_to_ones_place(
    ordered: list[bool], expected: list[list[int]]
) -> None:
    found = CausalBlocks(ordered, 5)(TIMESTAMP, GROUP, np.ones((1, 5), bool), np.zeros((1, 5), int))
    np.testing.assert_array_equal(found["visible"][0], expected)
    np.testing.assert_array_equal(found["position"][0], range(5))


B, T, K, D, WINDOW = 3, 23, 2, 22, 5
ORDERED = np.array([True, False])


def _timelines(seed: int) -> dict[str, np.ndarray]:
    """Two groups, of which the first has its order; padding anywhere; many behaviors of one timestamp."""
    rng = np.random.default_rng(seed)
    group = np.repeat([[0] * 11 + [1] * 12], B, axis=0)
    timestamp = 1 + rng.integers(0, 9, (B, T))
    timestamp[:, :11].sort()
    mask = np.array([rng.random(T) < share for share in (1.1, 0.6, -0.1)])
    content = np.where(ORDERED[group], 0, 1 + rng.permuted(np.repeat([range(T)], B, axis=0), axis=1))
    return {"timestamp": timestamp, "group": group, "behavior_mask": mask, "content": content}


def _sees(known: dict[str, np.ndarray], window: int) -> np.ndarray:
    """The docstring's rule, behavior by behavior: bool [B, T, T]."""
    found = np.zeros((B, T, T), bool)
    for user in range(B):
        time, group, real, content = (known[name][user] for name in ("timestamp", "group", "behavior_mask", "content"))
        by_time = sorted(np.flatnonzero(real), key=lambda one: (time[one], content[one], one))
        for place, one in enumerate(by_time):
            for other_place, other in enumerate(by_time):
                if other_place // window not in (place // window, place // window - 1):
                    continue
                if time[other] == time[one] and ORDERED[group[one]]:
                    found[user, one, other] = group[other] == group[one] and other <= one
                else:
                    found[user, one, other] = time[other] <= time[one]
    return found


@pytest.mark.parametrize("window", [1, WINDOW, 11, 12, T, 40])
def test_attention_in_blocks_is_full_attention_under_the_mask_of_the_rule(window: int) -> None:
    keras.utils.set_random_seed(1)
    known, sees = _timelines(window), _sees(_timelines(window), window)
    blocks = CausalBlocks(ORDERED, window)
    attention, bias = SelfAttention(K, intermediate_dim=7), TimeBias((1, 2, 4), K)
    behaviors = tf.Variable(np.random.default_rng(2).normal(size=(B, T, D)).astype("float32"))
    bias.build()
    bias.steps.assign([[0.5, -1.0], [-2.0, 0.7], [1.0, 0.1]])

    def attend(full: bool) -> tuple[np.ndarray, list[np.ndarray]]:
        time, mask = tf.constant(known["timestamp"]), known["behavior_mask"]
        with tf.GradientTape() as tape:
            if full:
                found = attention(behaviors, mask, sees, bias(time, time))
            else:
                of = blocks(**known)
                gaps = bias(of["timestamp"], of["seen_timestamp"])
                found = attention(behaviors, mask, of["visible"], gaps, of["position"])
            loss = tf.reduce_sum(found * np.cos(np.arange(D)))
        gradients = tape.gradient(loss, [behaviors, bias.steps, *attention.trainable_weights])
        return found.numpy(), [gradient.numpy() for gradient in gradients]

    (expected, slopes), (found, found_slopes) = attend(full=True), attend(full=False)
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    for one, other in zip(found_slopes, slopes, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_a_block_sees_twice_its_width_however_long_the_timeline() -> None:
    known = {name: np.tile(value, (1, 40)) for name, value in _timelines(0).items()}
    visible = CausalBlocks(ORDERED, WINDOW)(**known)["visible"]
    assert visible.shape == (B * 40 * T // WINDOW, WINDOW, 2 * WINDOW)


def test_a_behavior_stands_in_the_block_of_its_position_and_comes_back_to_its_place() -> None:
    values = np.random.default_rng(0).normal(size=(B, T, 3))
    position = np.stack([np.random.default_rng(user).permutation(T) for user in range(B)])
    blocks = TimeBlocks(tf.constant(position), tf.constant(WINDOW))
    split = blocks.split(tf.constant(values))
    by_time = np.take_along_axis(values, np.argsort(position)[..., None], axis=1)
    expected = np.pad(by_time, ((0, 0), (0, -T % WINDOW), (0, 0))).reshape(-1, WINDOW, 3)
    np.testing.assert_array_equal(split, expected)
    np.testing.assert_array_equal(blocks.join(split), values)
