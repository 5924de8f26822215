"""Arguments of the blocks in which a feed-forward network follows an attention."""

from typing import Any

import keras

from atrank_tf.layers.attention.space_attention import SpaceAttention
from atrank_tf.layers.dense import FeedForward


class AttentionBlock(keras.layers.Layer):
    """Base of `SelfAttention` and `TargetAttention`: the arguments that both take.

    A model passes the same keywords to all of its blocks:

        options = {"num_spaces": 4, "intermediate_dim": 128, "score": "scaled_dot"}
        blocks = [SelfAttention(**options, dropout=0.1, name=f"self_attention_{number}") for number in range(2)]
        target_attention = TargetAttention(**options)

    Args:
        num_spaces: K, the number of semantic spaces; must divide D.
        intermediate_dim: units of the layer inside the feed-forward network.
        score: "bilinear" or "scaled_dot". Defaults to "bilinear".
        activation: applied to the attention's projections: see `SpaceAttention`. Defaults to None.
    """

    def __init__(
        self,
        num_spaces: int,
        *,
        intermediate_dim: int,
        score: str = "bilinear",
        activation: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_spaces = num_spaces
        self.intermediate_dim = intermediate_dim
        self.score = score
        self.activation = activation

    def make_attention(self, **own: Any) -> SpaceAttention:
        """Returns the attention that the arguments ask for, not built yet; with the block's `own` keywords."""
        return SpaceAttention(
            self.num_spaces,
            score=self.score,
            activation=self.activation,
            dtype=self.dtype_policy,
            name="attention",
            **own,
        )

    def make_feed_forward(self, **own: Any) -> FeedForward:
        """Returns the feed-forward network that the arguments ask for, likewise."""
        return FeedForward(self.intermediate_dim, dtype=self.dtype_policy, name="feed_forward", **own)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_spaces": self.num_spaces,
            "intermediate_dim": self.intermediate_dim,
            "score": self.score,
            "activation": self.activation,
        }
