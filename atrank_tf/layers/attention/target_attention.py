"""Attention of each candidate over the memory."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.layers.attention.attention_block import AttentionBlock
from atrank_tf.layers.attention.masks import scale_by_view
from atrank_tf.layers.packing import Packing
from atrank_tf.types import Shape, Tensor


class CandidateQueries(NamedTuple):
    """Attention queries of the N candidates of each of P requests of B users, to the memories of these users.

    Args:
        mask: bool [B, P, T], which behaviors each request sees.
        bias: float [B, K, P, T], added to the scores of each request.
        indices: int [B, P * N], which of the U different candidates each one is.
        packing: of the real candidates among the [B, P * N].
    """

    mask: Tensor
    bias: Tensor
    indices: Tensor
    packing: Packing


@keras.saving.register_keras_serializable(package="atrank_tf")
class TargetAttention(AttentionBlock):
    """Attends from each candidate to the memory, and returns a user vector for each candidate.

    Rough sketch:
        c = attention(h_t, C),   e_u = F_vanilla(c)

    Each candidate attends by itself, so that a score depends on no other candidate.

    Glossary: B users, N candidates, T behaviors, D hidden dim, K spaces.

    Masking: a masked behavior has weight 0. An empty memory gives exactly 0.

    Args:
        num_spaces: K; must divide D.
        intermediate_dim: units of the layer inside F_vanilla.
        score: "bilinear" or "scaled_dot". Defaults to "bilinear".
        activation: applied to the attention's projections: see `SpaceAttention`. Defaults to None.
        sink: whether a candidate may read little of a memory where nothing fits: see `SpaceAttention`. Defaults to
            False.

    Call arguments:
        candidates: float [B, N, D].
        memory: float [B, T, D].
        memory_mask: bool [B, T], True = seen.
        bias: float [B, K, 1, T], added to the scores; None for none.
        return_weights: also return the attention weights.

    Returns:
        User vectors, float [B, N, D]; with `return_weights` also float [B, K, N, T].

    Reference:
        ATRank (arXiv 1711.06632), section "Downstream application network".
    """

    def build(self, candidates_shape: Shape, memory_shape: Shape) -> None:
        self.attention = self.make_attention(starts_alike=True)
        self.feed_forward = self.make_feed_forward()
        self.attention.build(candidates_shape, memory_shape)
        self.feed_forward.build(candidates_shape)

    def call(
        self,
        candidates: Tensor,
        memory: Tensor,
        memory_mask: Tensor,
        bias: Tensor | None = None,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        user_vector, weights = self.attention(candidates, memory, memory_mask, bias, return_weights=True)
        # F_vanilla has biases: without this, a user without a history would have a vector other than 0.
        sees = ops.cast(ops.any(memory_mask, axis=-1), user_vector.dtype)[:, None, None]
        user_vector = self.feed_forward(user_vector) * sees
        return (user_vector, weights) if return_weights else user_vector

    def attend_packed(self, candidates: Tensor, memory: Tensor, queries: Sequence[CandidateQueries]) -> list[Tensor]:
        """Attends from several sets of candidates to one memory, without their padding.

        What does not depend on the set is done once for all.

        Args:
            candidates: float [U, D], different ones.
            memory: float [B, T, D].
            queries: the sets.

        Returns:
            For each set, the user vectors of its M real candidates, float [M, D].
        """
        projected = self.attention.project_query(candidates)
        keys, values = self.attention.split_spaces(*self.attention.project(memory))
        vectors, seen = [], []
        for each in queries:
            found, _ = self.attention.attend_projected(projected, keys, values, each.mask, each.bias, each.indices)
            vectors.append(each.packing.pack(found))
            sees = ops.cast(ops.any(each.mask, axis=-1), found.dtype)[:, :, None]  # [B, P, 1]
            seen.append(each.packing.pack(scale_by_view(ops.ones_like(found[..., :1]), sees, axis=1)))
        together = self.feed_forward(ops.concatenate(vectors)) * ops.concatenate(seen)
        return tf.split(together, [tf.shape(each)[0] for each in vectors], num=len(vectors))
