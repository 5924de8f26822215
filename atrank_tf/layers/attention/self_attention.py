"""Self-attention over the behaviors of all groups."""

from typing import Any

import keras
from keras import ops

from atrank_tf.layers.attention.attention_block import AttentionBlock
from atrank_tf.layers.attention.causal_blocks import TimeBlocks
from atrank_tf.layers.attention.masks import zero_padding
from atrank_tf.layers.dropout import Dropout
from atrank_tf.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class SelfAttention(AttentionBlock):
    """Relates all behaviors to each other: one block of self-attention and feed-forward; blocks stack.

    Rough sketch:
        C = norm(S + attention(S, S)),   out = F_self(C),   padding set to 0

    What is added to behaviors begins near 0: a new block returns them normalized. So what is like a candidate is like
    it in the memory, too, and training adds what relating behaviors is good for.

    Glossary: B users, T behaviors of all groups, D hidden dim, K spaces.

    Masking: padding is not attended to, and its output is exactly 0.

    Args:
        num_spaces: K; must divide D.
        intermediate_dim: units of the layer inside F_self.
        score: "bilinear" or "scaled_dot". Defaults to "bilinear".
        activation: applied to the attention's projections: see `SpaceAttention`. Defaults to None.
        dropout: share of the attention's and of the feed-forward's output that training drops. Defaults to 0.

    Call arguments:
        behaviors: float [B, T, D].
        behavior_mask: bool [B, T], True = real.
        visible: bool [B, T, T], which behaviors (last axis) each behavior sees; None for all that are real. With
            `position` [B * n, C, S], of each block, as `CausalBlocks` gives it.
        bias: float [B, K, T, T], added to the scores; None for none. With `position` [B * n, K, C, S].
        position: int64 [B, T], where each behavior stands by time: it then attends to its block and the one before, at
            a cost of T times S. None for no blocks.
        return_weights: also return the attention weights.
        training: whether to drop.

    Returns:
        float [B, T, D], 0 at padding; with `return_weights` also float [B, K, T, T], with `position` [B * n, K, C, S].

    Reference:
        ATRank (arXiv 1711.06632), section "Self-attention layer".
    """

    def __init__(self, num_spaces: int, *, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(num_spaces, **kwargs)
        self.dropout = dropout

    def build(self, behaviors_shape: Shape) -> None:
        near_zero = keras.initializers.VarianceScaling(1e-4, "fan_avg", "uniform")  # At 0 a relu would keep them.
        self.attention = self.make_attention(value_initializer=near_zero)
        self.drop = Dropout(self.dropout, dtype=self.dtype_policy)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=self.dtype_policy, name="norm")
        self.feed_forward = self.make_feed_forward(dropout=self.dropout, outer_initializer="zeros")
        self.attention.build(behaviors_shape, behaviors_shape)
        self.norm.build(behaviors_shape)
        self.feed_forward.build(behaviors_shape)

    def call(
        self,
        behaviors: Tensor,
        behavior_mask: Tensor,
        visible: Tensor | None = None,
        bias: Tensor | None = None,
        position: Tensor | None = None,
        return_weights: bool = False,
        training: bool | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        if position is None:
            seen = behavior_mask if visible is None else ops.logical_and(visible, behavior_mask[:, None])
            related, weights = self.attention(behaviors, behaviors, seen, bias, return_weights=True)
        else:
            blocks = TimeBlocks(position, ops.shape(visible)[1])
            by_time = blocks.split(behaviors)  # [B * n, C, D]
            keys, values = (blocks.seen(each) for each in self.attention.project(by_time))  # [B * n, S, D]
            related, weights = self.attention.attend(by_time, keys, values, visible, bias, return_weights=True)
            related = blocks.join(related)
        memory = self._feed_forward(behaviors, related, behavior_mask, training)
        return (memory, weights[..., :-1]) if return_weights else memory

    def compute_output_spec(
        self,
        behaviors: Tensor,
        behavior_mask: Tensor,
        visible: Tensor | None = None,
        bias: Tensor | None = None,
        position: Tensor | None = None,
        return_weights: bool = False,
        training: bool | None = None,
    ) -> Any:
        del bias, position, training
        memory = keras.KerasTensor(behaviors.shape, self.compute_dtype)
        batch, queries, seen = (*behavior_mask.shape, behavior_mask.shape[1]) if visible is None else visible.shape
        weights = keras.KerasTensor((batch, self.num_spaces, queries, seen), self.compute_dtype)
        return (memory, weights) if return_weights else memory

    def extend(
        self,
        behaviors: Tensor,
        behavior_mask: Tensor,
        keys: Tensor,
        values: Tensor,
        visible: Tensor,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Relates new behaviors to all of them, given keys and values of all.

        Args:
            behaviors: float [B, A, D], the new ones.
            behavior_mask: bool [B, A], True = real.
            keys, values: float [B, T, D], of old and new behaviors, as `attention.project` gives them.
            visible: bool [B, A, T], which behaviors each new one sees.
            bias: float [B, K, A, T], added to the scores.

        Returns:
            float [B, A, D]: what a call on all T behaviors gives for the new ones.
        """
        related = self.attention.attend(behaviors, keys, values, visible, bias)
        return self._feed_forward(behaviors, related, behavior_mask, training=False)

    def _feed_forward(self, behaviors: Tensor, related: Tensor, behavior_mask: Tensor, training: bool | None) -> Tensor:
        memory = self.norm(behaviors + self.drop(related, training=training))
        return zero_padding(self.feed_forward(memory, training=training), behavior_mask)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"dropout": self.dropout}
