"""The encoder of the timeline model: of a whole history at once, or of what is new in it."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from atrank_tf.layers import SelfAttention, TimeBias
from atrank_tf.models.probe import show_self_attention


class TimelineEncoder:
    """Blocks of self-attention with time in their scores.

    Glossary: B users, T behaviors, A of them new, D width, K spaces, L blocks.

    Args:
        blocks: the blocks.
        biases: the time bias of each.
    """

    def __init__(self, blocks: Sequence[SelfAttention], biases: Sequence[TimeBias]) -> None:
        self._layers = list(zip(blocks, biases, strict=True))

    def __call__(self, behaviors: Any, mask: Any, visible: Any, timestamp: Any) -> Any:
        """Encodes whole histories.

        Args:
            behaviors: float [B, T, D].
            mask: bool [B, T], True = real.
            visible: bool [B, T, T], which behaviors each behavior sees.
            timestamp: int64 [B, T].

        Returns:
            float [B, T, D].
        """
        for block, bias in self._layers:
            behaviors, weights = block(behaviors, mask, visible, bias(timestamp, timestamp), return_weights=True)
            show_self_attention(weights)
        return behaviors

    def extend(
        self, behaviors: Any, mask: Any, visible: Any, timestamp: Any, keys: Any, values: Any
    ) -> tuple[Any, Any, Any]:
        """Encodes new behaviors by what is known of the old ones, which stay as they are.

        Args:
            behaviors: float [B, A, D], the new ones.
            mask: bool [B, A], True = real.
            visible: bool [B, A, T], which of all behaviors, the new ones last, each new one sees.
            timestamp: int64 [B, T], of all.
            keys, values: float [B, L, T - A, D], of the old ones; without any, of length 0.

        Returns:
            The new behaviors encoded, float [B, A, D]; keys and values of all, float [B, L, T, D].
        """
        all_keys, all_values = [], []
        new = ops.shape(behaviors)[1]
        for place, (block, bias) in enumerate(self._layers):
            own_keys, own_values = block.attention.project(behaviors)
            all_keys.append(ops.concatenate([keys[:, place], own_keys], axis=1))
            all_values.append(ops.concatenate([values[:, place], own_values], axis=1))
            gaps = bias(timestamp[:, ops.shape(timestamp)[1] - new :], timestamp)
            behaviors = block.extend(behaviors, mask, all_keys[-1], all_values[-1], visible, gaps)
        if not self._layers:
            nothing = ops.zeros((ops.shape(behaviors)[0], 0, ops.shape(timestamp)[1], behaviors.shape[-1]))
            return behaviors, nothing, nothing
        return behaviors, ops.stack(all_keys, axis=1), ops.stack(all_values, axis=1)
