"""Attention in several semantic spaces: the core of ATRank."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.layers.attention.masks import additive_mask
from atrank_tf.layers.dense import linear, unit_rms
from atrank_tf.layers.packing import take
from atrank_tf.types import Shape, Tensor

_SQUARE_OF_LIKE = 8
"""Square of the score of a vector with itself where scores start alike: enough to lead, not to be all that is read."""


@keras.saving.register_keras_serializable(package="atrank_tf")
class SpaceAttention(keras.layers.Layer):
    """Attends from queries to a memory in K semantic spaces, each with its own projections and scores.

    Rough sketch, for each space k, with |x| = x / sqrt(mean(x^2)):
        bilinear:    a_k = |query P_k W_k| |memory P_k|^T / sqrt(d)            the paper: (query P_k) W_k (memory P_k)^T
        scaled_dot:  a_k = |f(query P_k)| |f(memory R_k)|^T / sqrt(d)          the authors' code, with |x| = x, f = relu
        w_kj = exp(a_kj) / (exp(s_k) + sum_i exp(a_ki))
        out_k = w_k f(memory Q_k),   out = [out_1; ...; out_K]

    Glossary: B users, Q queries, T behaviors in the memory, D hidden dim, K spaces, d = D / K; R views: queries that
    see the same part of the memory share a view, Q / R consecutive ones each.

    What is compared has unit size, so that scores are about 1 from the first step, however small the embeddings start,
    and at most sqrt(d), however large the kernels grow. Otherwise all weights of a new model would be equal, with
    gradients that shrink with the embeddings' square. Values keep their size: a penalty on the embeddings shrinks them.

    s_k is the learned score of a sink, whose value is 0. So a query reads little where nothing fits, and more where
    many behaviors fit, which a softmax cannot tell from one; and the sink's weight tells how much of the memory fits.

    With `starts_alike` queries and keys are projected alike at the start, but for noise: W_k = I + noise, R_k = P_k +
    noise, as much as makes the score of a vector with itself about sqrt(8) (or sqrt(d), if that is less). So a query
    finds what it resembles before anything is learned.

    Masking: a masked behavior has weight 0. A fully masked query gives all its weight to the sink: its output is
    exactly 0.

    Args:
        num_spaces: K; must divide D.
        score: "bilinear" or "scaled_dot". Defaults to "bilinear".
        activation: f, applied to the projections; None for linear ones. In the bilinear score, to the values only.
            Defaults to None.
        starts_alike: whether scores begin with what is alike, as where a query is compared with its like. Defaults to
            False.
        value_initializer: of Q. Defaults to "glorot_uniform".

    Call arguments:
        query: float [B, Q, D].
        memory: float [B, T, D].
        memory_mask: bool [B, T], True = seen, the same for all queries, or [B, R, T], one for each view. (Keras keeps
            the name `mask` for masks that it passes on by itself.)
        bias: float [B, K, R, T], added to the scores; None for none.
        return_weights: also return the weights.

    Returns:
        float [B, Q, D]; with `return_weights` also float [B, K, Q, T + 1], whose last one is the sink's.

    Raises:
        ValueError: `score` is unknown, K does not divide D, or query and memory differ in D.

    Reference:
        ATRank (arXiv 1711.06632), sections "Self-attention layer" and "Downstream application network", which have
        softmax weights; sinks: Xiao et al., arXiv 2309.17453, section 3.3, here with a learned score.
    """

    def __init__(
        self,
        num_spaces: int,
        *,
        score: str = "bilinear",
        activation: str | None = None,
        starts_alike: bool = False,
        value_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if score not in ("bilinear", "scaled_dot"):
            raise ValueError(f'Expected score="bilinear" or "scaled_dot". Received: score={score!r}.')
        self.num_spaces = num_spaces
        self.score = score
        self.activation = keras.activations.get(activation)
        self.starts_alike = starts_alike
        self.value_initializer = value_initializer

    def build(self, query_shape: Shape, memory_shape: Shape) -> None:
        hidden_dim = int(query_shape[-1])
        if hidden_dim % self.num_spaces:
            raise ValueError(
                f"num_spaces must divide the hidden dim {hidden_dim}. Received: num_spaces={self.num_spaces}."
            )
        if memory_shape[-1] != hidden_dim:
            raise ValueError(
                f"Expected query and memory of one dimension. Received: {hidden_dim} and {memory_shape[-1]}."
            )
        square, space_dim = (hidden_dim, hidden_dim), hidden_dim // self.num_spaces
        start = keras.initializers.GlorotUniform()
        noise = max(space_dim / _SQUARE_OF_LIKE - 1, 0) ** 0.5
        self.query_kernel = self.add_weight(name="query_kernel", shape=square, initializer=start)
        if self.score == "bilinear":
            other = keras.initializers.RandomNormal(stddev=1.0 / space_dim)
            shape = (self.num_spaces, space_dim, space_dim)
            initializer = _sum(_identities, noise * space_dim**0.5, other) if self.starts_alike else other
            self.score_kernel = self.add_weight(name="score_kernel", shape=shape, initializer=initializer)
        else:
            other = keras.initializers.GlorotUniform()
            initializer = _sum(start, noise, other) if self.starts_alike else other
            self.key_kernel = self.add_weight(name="key_kernel", shape=square, initializer=initializer)
        self.value_kernel = self.add_weight(name="value_kernel", shape=square, initializer=self.value_initializer)
        self.sink_score = self.add_weight(name="sink_score", shape=(self.num_spaces,), initializer="zeros")

    def call(
        self,
        query: Tensor,
        memory: Tensor,
        memory_mask: Tensor,
        bias: Tensor | None = None,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        keys, values = self.project(memory)
        return self.attend(query, keys, values, memory_mask, bias, return_weights)

    def compute_output_spec(
        self,
        query: Tensor,
        memory: Tensor,
        memory_mask: Tensor,
        bias: Tensor | None = None,
        return_weights: bool = False,
    ) -> Any:
        del memory_mask, bias
        out = keras.KerasTensor(query.shape, self.compute_dtype)
        seen = None if memory.shape[1] is None else memory.shape[1] + 1
        shape = (query.shape[0], self.num_spaces, query.shape[1], seen)
        return (out, keras.KerasTensor(shape, self.compute_dtype)) if return_weights else out

    def project(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Returns keys and values of a memory, float [B, T, D] each, space after space: what `attend` needs of it."""
        values = self.activation(linear(memory, self.value_kernel))
        if self.score == "bilinear":
            return self._unit_size(linear(memory, self.query_kernel)), values
        return self._unit_size(self.activation(linear(memory, self.key_kernel))), values

    def attend(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        memory_mask: Tensor,
        bias: Tensor | None = None,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """As a call, given keys and values of the memory."""
        mask = memory_mask if len(memory_mask.shape) == 3 else memory_mask[:, None]
        keys, values = self.split_spaces(keys, values)  # [B, K, d, T], [B, K, T, d]
        queries = self.project_query(query)  # [B, Q, D]
        out, weights = self.attend_projected(queries, keys, values, mask, bias)
        return (out, weights) if return_weights else out

    def project_query(self, query: Tensor) -> Tensor:
        """Returns what is compared with the keys, float [..., D], space after space."""
        if self.score == "bilinear":
            queries = linear(query, self._scored_kernel())
        else:
            queries = self.activation(linear(query, self.query_kernel))
        return self._unit_size(queries) / ((queries.shape[-1] // self.num_spaces) ** 0.5)

    def split_spaces(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Returns keys, float [B, K, d, T + 1], and values, float [B, K, T + 1, d]: those of the sink, too, both 0."""
        keys, values = (ops.pad(self._spaces(each), ((0, 0), (0, 0), (0, 1), (0, 0))) for each in (keys, values))
        return ops.transpose(keys, (0, 1, 3, 2)), values

    def attend_projected(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        mask: Tensor,
        bias: Tensor | None = None,
        indices: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `attend`, given the results of `project_query` and `split_spaces`.

        Args:
            queries: float [B, Q, D]; with `indices` [U, D].
            keys, values: of `split_spaces`.
            mask: bool [B, R, T].
            bias: float [B, K, R, T].
            indices: int [B, Q], which of the U queries each one is, so that equal ones are projected once.

        Returns:
            float [B, Q, D] and the weights, float [B, K, Q, T + 1].
        """
        scores = ops.matmul(self._spaces(take(queries, indices)), keys)  # [B, K, Q, T + 1]
        weights = self._softmax(scores, mask, bias)
        out = ops.matmul(weights, values)  # [B, K, Q, d]
        out = ops.transpose(out, (0, 2, 1, 3))  # [B, Q, K, d]
        out = ops.reshape(out, (*ops.shape(out)[:2], queries.shape[-1]))  # [B, Q, D]
        return out, weights

    def _softmax(self, scores: Tensor, mask: Tensor, bias: Tensor | None) -> Tensor:
        """Softmax of scores [B, K, Q, T + 1] under a mask [B, R, T], a bias [B, K, R, T], and the sink's score."""
        added = additive_mask(mask, scores.dtype)[:, None]  # [B, 1, R, T]
        if bias is not None:
            added = added + bias  # [B, K, R, T]
        batch, _, views, _ = ops.shape(added)
        sinks = ops.cast(self.sink_score, added.dtype)[:, None, None]
        sinks = ops.broadcast_to(sinks, (batch, self.num_spaces, views, 1))
        added = ops.concatenate([added + ops.zeros_like(sinks), sinks], axis=-1)  # [B, K, R, T + 1]
        if mask.shape[1] == 1:
            return tf.nn.softmax(scores + added)  # Keras' warns where T = 1.
        shape = ops.shape(scores)
        by_view = ops.reshape(scores, (*shape[:2], ops.shape(mask)[1], -1, shape[-1]))  # [B, K, R, Q / R, T]
        return ops.reshape(tf.nn.softmax(by_view + added[:, :, :, None]), shape)

    def _scored_kernel(self) -> Tensor:
        """P_k W_k of all spaces side by side, [D, D]: cheaper than applying W_k to every query."""
        hidden_dim, spaces = self.query_kernel.shape[0], self.num_spaces
        by_space = ops.reshape(self.query_kernel, (hidden_dim, spaces, hidden_dim // spaces))  # [D, K, d]
        scored = ops.matmul(ops.transpose(by_space, (1, 0, 2)), self.score_kernel)  # [K, D, d]
        return ops.reshape(ops.transpose(scored, (1, 0, 2)), (hidden_dim, hidden_dim))

    def _unit_size(self, projected: Tensor) -> Tensor:
        """Scales the part of each space in vectors [..., D] to a root mean square of 1."""
        shape = ops.shape(projected)
        split = ops.reshape(projected, (*shape[:-1], self.num_spaces, projected.shape[-1] // self.num_spaces))
        return ops.reshape(unit_rms(split), shape)

    def _spaces(self, projected: Tensor) -> Tensor:
        """[B, T, D] -> [B, K, T, d]."""
        space_dim = projected.shape[-1] // self.num_spaces
        split = ops.reshape(projected, (*ops.shape(projected)[:2], self.num_spaces, space_dim))
        return ops.transpose(split, (0, 2, 1, 3))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_spaces": self.num_spaces,
            "score": self.score,
            "activation": keras.activations.serialize(self.activation),
            "starts_alike": self.starts_alike,
            "value_initializer": keras.initializers.serialize(keras.initializers.get(self.value_initializer)),
        }


def _identities(shape: Shape, dtype: Any = None) -> Tensor:
    """Returns identity matrices, float [K, d, d]."""
    return ops.broadcast_to(ops.eye(shape[-1], dtype=dtype), shape)


def _sum(one: Callable[..., Tensor], factor: float, other: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Returns an initializer that gives the sum of what two give, the second times a factor."""
    return lambda shape, dtype=None: one(shape, dtype) + factor * other(shape, dtype)
