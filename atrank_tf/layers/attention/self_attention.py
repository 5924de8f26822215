"""Behaviors of all groups related to each other."""

from typing import Any

import keras
from keras import ops

from atrank_tf.layers.attention.space_attention import SpaceAttention
from atrank_tf.layers.dropout import Dropout
from atrank_tf.layers.feed_forward import FeedForward


@keras.saving.register_keras_serializable(package="atrank_tf")
class SelfAttention(keras.layers.Layer):
    """One block of self-attention over all behaviors; blocks stack, one for each order of influence.

    Rough sketch:
        C = norm(S + attention(S, S)),   out = F_self(C),   padding set to 0

    Glossary: B users, T behaviors of all groups, D width, K spaces.

    Args:
        num_spaces: K.
        hidden: width of the feed-forward layer between.
        score: "bilinear" or "scaled_dot".
        activation: applied to the attention's projections.
        dropout: share of the attention's and the feed-forward's output that training drops.
        sink: whether the attention has sinks: see `SpaceAttention`.

    Call arguments:
        behaviors: float [B, T, D].
        behavior_mask: bool [B, T], True = real.
        visible: bool [B, T, T], which behaviors (last axis) each behavior sees; None for all that are real.
        bias: float [B, K, T, T], added to the scores; None for none.
        return_weights: also return the attention weights.

    Returns:
        float [B, T, D], 0 at padding; with `return_weights` also float [B, K, T, T].

    Reference:
        ATRank (arXiv 1711.06632), section "Self-attention layer".
    """

    def __init__(
        self,
        num_spaces: int,
        hidden: int,
        score: str = "bilinear",
        activation: str | None = None,
        dropout: float = 0.0,
        sink: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_spaces = num_spaces
        self.hidden = hidden
        self.score = score
        self.activation = activation
        self.dropout = dropout
        self.sink = sink

    def build(self, behaviors_shape: tuple[int | None, ...]) -> None:
        self.attention = SpaceAttention(
            self.num_spaces, self.score, self.activation, sink=self.sink, dtype=self.dtype_policy, name="attention"
        )
        self.drop = Dropout(self.dropout, dtype=self.dtype_policy)
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6, dtype=self.dtype_policy, name="norm")
        self.feed_forward = FeedForward(self.hidden, self.dropout, dtype=self.dtype_policy, name="feed_forward")
        self.attention.build(behaviors_shape, behaviors_shape)
        self.norm.build(behaviors_shape)
        self.feed_forward.build(behaviors_shape)

    def call(
        self,
        behaviors: Any,
        behavior_mask: Any,
        visible: Any = None,
        bias: Any = None,
        return_weights: bool = False,
        training: bool | None = None,
    ) -> Any:
        seen = behavior_mask if visible is None else ops.logical_and(visible, behavior_mask[:, None])
        related, weights = self.attention(behaviors, behaviors, seen, bias, return_weights=True, training=training)
        memory = self._fed_forward(behaviors, related, behavior_mask, training)
        return (memory, weights) if return_weights else memory

    def extend(self, behaviors: Any, behavior_mask: Any, keys: Any, values: Any, visible: Any, bias: Any = None) -> Any:
        """Relates the last of the behaviors to all of them, given the keys and values of all.

        Args:
            behaviors: float [B, A, D], those that are new.
            behavior_mask: bool [B, A], True = real.
            keys, values: float [B, T, D], of old and new behaviors, as `attention.project` gives them.
            visible: bool [B, A, T], which behaviors each new one sees.
            bias: float [B, K, A, T], added to the scores.

        Returns:
            float [B, A, D]: what a call on all T behaviors gives for the new ones.
        """
        related = self.attention.read(behaviors, keys, values, visible, bias)
        return self._fed_forward(behaviors, related, behavior_mask, training=False)

    def _fed_forward(self, behaviors: Any, related: Any, behavior_mask: Any, training: bool | None) -> Any:
        memory = self.norm(behaviors + self.drop(related, training=training))
        memory = self.feed_forward(memory, training=training)
        return memory * ops.cast(ops.expand_dims(behavior_mask, -1), memory.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_spaces": self.num_spaces,
            "hidden": self.hidden,
            "score": self.score,
            "activation": self.activation,
            "dropout": self.dropout,
            "sink": self.sink,
        }
