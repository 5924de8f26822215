"""The memory as one candidate reads it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.layers.attention.masks import by_view
from atrank_tf.layers.attention.space_attention import SpaceAttention
from atrank_tf.layers.feed_forward import FeedForward
from atrank_tf.layers.packing import Packing


class Asked(NamedTuple):
    """N candidates for each of P moments of B users: what the moments see of the memory, and which candidates are real.

    `mask`: bool [B, P, T]. `bias`: float [B, K, P, T]. `places`: int [B, P * N], which row of the codes each candidate
    is. `packing`: of what is real in [B, P * N].
    """

    mask: Any
    bias: Any
    places: Any
    packing: Packing


@keras.saving.register_keras_serializable(package="atrank_tf")
class TargetAttention(keras.layers.Layer):
    """Vanilla attention of each candidate over the memory.

    Rough sketch:
        c = attention(h_t, C),   e_u = F_vanilla(c)

    Every candidate reads for itself, so that a score depends on no other candidate. An empty memory gives exactly 0.

    Glossary: B users, N candidates, T behaviors, D width, K spaces.

    Args:
        num_spaces: K.
        hidden: width of the feed-forward layer between.
        score: "bilinear" or "scaled_dot".
        activation: applied to the attention's projections.
        dropout: share of the feed-forward's output that training drops.
        sink: whether a candidate may read little of a memory where nothing fits: see `SpaceAttention`.

    Call arguments:
        candidates: float [B, N, D].
        memory: float [B, T, D].
        memory_mask: bool [B, T], True = seen.
        bias: float [B, K, 1, T], added to the scores; None for none.
        return_weights: also return the attention weights.

    Returns:
        float [B, N, D]; with `return_weights` also float [B, K, N, T].

    Reference:
        ATRank (arXiv 1711.06632), section "Downstream application network".
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

    def build(self, candidates_shape: tuple[int | None, ...], memory_shape: tuple[int | None, ...]) -> None:
        self.attention = SpaceAttention(
            self.num_spaces, self.score, self.activation, sink=self.sink, dtype=self.dtype_policy, name="attention"
        )
        self.feed_forward = FeedForward(self.hidden, self.dropout, dtype=self.dtype_policy, name="feed_forward")
        self.attention.build(candidates_shape, memory_shape)
        self.feed_forward.build(candidates_shape)

    def call(
        self,
        candidates: Any,
        memory: Any,
        memory_mask: Any,
        bias: Any = None,
        return_weights: bool = False,
        training: bool | None = None,
    ) -> Any:
        read, weights = self.attention(candidates, memory, memory_mask, bias, return_weights=True, training=training)
        # F_vanilla has biases: without this, a user without a history would be read as something.
        sees = ops.cast(ops.any(memory_mask, axis=-1), read.dtype)[:, None, None]
        read = self.feed_forward(read, training=training) * sees
        return (read, weights) if return_weights else read

    def read_packed(self, candidates: Any, memory: Any, asked: Sequence[Asked]) -> list[Any]:
        """Reads one memory for several sets of candidates, without their padding.

        What does not depend on the set is done once for all.

        Args:
            candidates: float [U, D], different ones.
            memory: float [B, T, D].
            asked: the sets.

        Returns:
            For each set, float [M, D]: of its M real candidates.
        """
        queries = self.attention.queries(candidates)
        keys, values = self.attention.by_space(*self.attention.project(memory))
        read, seen = [], []
        for each in asked:
            found, _ = self.attention.attend(queries, keys, values, each.mask, each.bias, each.places)
            read.append(each.packing.pack(found))
            sees = ops.cast(ops.any(each.mask, axis=-1), found.dtype)[:, :, None]  # [B, P, 1]
            seen.append(each.packing.pack(by_view(ops.ones_like(found[..., :1]), sees, 1)))
        together = self.feed_forward(ops.concatenate(read)) * ops.concatenate(seen)
        return tf.split(together, [tf.shape(each)[0] for each in read], num=len(read))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_spaces": self.num_spaces,
            "hidden": self.hidden,
            "score": self.score,
            "activation": self.activation,
            "dropout": self.dropout,
            "sink": self.sink,
        }
