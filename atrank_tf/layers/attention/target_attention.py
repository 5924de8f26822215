"""Attention of each candidate over the memory."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.layers.attention.attention_block import AttentionBlock
from atrank_tf.layers.attention.masks import scale_by_view
from atrank_tf.layers.dense import linear
from atrank_tf.layers.packing import Packing
from atrank_tf.types import Shape, Tensor

_LEAST_WEIGHT = 1e-7
"""Of a sink: a smaller one could be 0 in float16. What weighs ten million times the sink is all that is read."""


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
        c, w = attention(h_t, C),   m_k = -log w_k,sink = log(1 + sum_j exp(a_kj - s_k))
        e_u = F_vanilla(c) + m M

    c tells what fits a candidate, and F_vanilla, which normalizes, leaves little of how much. So the mass m_k of the
    attention in each space is added: large where many behaviors fit, or one fits well. The paper has F_vanilla alone.

    Each candidate attends by itself, so that a score depends on no other candidate.

    Glossary: B users, N candidates, T behaviors, D hidden dim, K spaces.

    Masking: a masked behavior has weight 0. An empty memory gives exactly 0.

    Args:
        num_spaces: K; must divide D.
        intermediate_dim: units of the layer inside F_vanilla.
        score: "bilinear" or "scaled_dot". Defaults to "bilinear".
        activation: applied to the attention's projections: see `SpaceAttention`. Defaults to None.

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
        self.mass_kernel = self.add_weight(name="mass_kernel", shape=(self.num_spaces, candidates_shape[-1]))

    def call(
        self,
        candidates: Tensor,
        memory: Tensor,
        memory_mask: Tensor,
        bias: Tensor | None = None,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        read, weights = self.attention(candidates, memory, memory_mask, bias, return_weights=True)
        # F_vanilla has biases: without this, a user without a history would have a vector other than 0.
        sees = ops.cast(ops.any(memory_mask, axis=-1), read.dtype)[:, None, None]
        user_vector = (self.feed_forward(read) + linear(_mass(weights), self.mass_kernel)) * sees
        return (user_vector, weights[..., :-1]) if return_weights else user_vector

    def compute_output_spec(
        self,
        candidates: Tensor,
        memory: Tensor,
        memory_mask: Tensor,
        bias: Tensor | None = None,
        return_weights: bool = False,
    ) -> Any:
        del memory, bias
        user_vector = keras.KerasTensor(candidates.shape, self.compute_dtype)
        shape = (candidates.shape[0], self.num_spaces, candidates.shape[1], memory_mask.shape[1])
        return (user_vector, keras.KerasTensor(shape, self.compute_dtype)) if return_weights else user_vector

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
        reads, masses, seen = [], [], []
        for each in queries:
            read, weights = self.attention.attend_projected(projected, keys, values, each.mask, each.bias, each.indices)
            reads.append(each.packing.pack(read))
            masses.append(each.packing.pack(_mass(weights)))
            sees = ops.cast(ops.any(each.mask, axis=-1), read.dtype)[:, :, None]  # [B, P, 1]
            seen.append(each.packing.pack(scale_by_view(ops.ones_like(read[..., :1]), sees)))
        masses = linear(ops.concatenate(masses), self.mass_kernel)
        together = (self.feed_forward(ops.concatenate(reads)) + masses) * ops.concatenate(seen)
        return tf.split(together, [tf.shape(each)[0] for each in reads], num=len(reads))


def _mass(weights: Tensor) -> Tensor:
    """Returns how much of the memory fits each query in each space, float [B, Q, K], of weights [B, K, Q, T + 1]."""
    return -ops.transpose(ops.log(ops.maximum(weights[..., -1], _LEAST_WEIGHT)), (0, 2, 1))
