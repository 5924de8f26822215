"""The reader of ATRank: vanilla attention of each candidate over the memory."""

from typing import Any

from atrank_tf.layers import TargetAttention
from atrank_tf.models.probe import show_target_attention


class TargetReader:
    """A `TargetAttention` that shows its weights to whoever asks.

    Args:
        config: an `ATRankConfig`.
    """

    def __init__(self, config: Any) -> None:
        self.layer = TargetAttention(
            config.spaces,
            config.feed_forward,
            config.score,
            config.attention_activation,
            config.dropout,
            config.attention_sink,
            name="target_attention",
        )

    def __call__(self, *tensors: Any) -> Any:
        """Returns what the candidates read, float [B, N, D]; takes the tensors of the layer."""
        read, weights = self.layer(*tensors, return_weights=True)
        show_target_attention(weights)
        return read
