"""Attention in several semantic spaces: the core of ATRank."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from atrank_tf.layers.attention.masks import by_view, hidden
from atrank_tf.layers.dropout import Dropout
from atrank_tf.layers.embedding.take import take
from atrank_tf.layers.linear import linear


@keras.saving.register_keras_serializable(package="atrank_tf")
class SpaceAttention(keras.layers.Layer):
    """Relates queries to a memory in K semantic spaces, each with its own projection and score.

    Rough sketch, for each space k:
        bilinear:    a_k = (query P_k) W_k (memory P_k)^T                      the paper
        scaled_dot:  a_k = f(query P_k) f(memory R_k)^T / sqrt(d)              the authors' code, with f = relu
        out_k = softmax(a_k) f(memory Q_k),   out = [out_1; ...; out_K]
        with sinks:  exp(a_kj) / (exp(s_k) + sum_i exp(a_ki)) in place of the softmax, s_k learned

    Glossary: B users, Q queries, T behaviors in the memory, D width, K spaces, d = D / K; R views: queries that see the
    same part of the memory share a view, Q / R consecutive ones each.

    With a sink a query may read little, where nothing fits; and more where many behaviors fit, which a softmax cannot
    tell from one.

    Masking: what a query does not see gets weight 0; a query that sees nothing gives exactly 0.

    Args:
        num_spaces: K; must divide the query's width.
        score: "bilinear" or "scaled_dot".
        activation: f, applied to the projections; None for linear ones. In the bilinear score, to the values only.
        dropout: share of the attention weights that training drops.
        sink: whether each space has a sink; weights then add up to less than 1.

    Call arguments:
        query: float [B, Q, D].
        memory: float [B, T, D].
        memory_mask: bool [B, T], True = seen, the same for all queries, or [B, R, T], one for each view. (Keras keeps
            the name `mask` for masks that it passes on by itself.)
        bias: float [B, K, R, T], added to the scores; None for none.
        return_weights: also return the weights.

    Returns:
        float [B, Q, D]; with `return_weights` also float [B, K, Q, T].

    Reference:
        ATRank (arXiv 1711.06632), sections "Self-attention layer" and "Downstream application network"; sinks: Xiao et
        al., arXiv 2309.17453, section 3.3, here with a learned score.
    """

    def __init__(
        self,
        num_spaces: int,
        score: str = "bilinear",
        activation: str | None = None,
        dropout: float = 0.0,
        sink: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if score not in ("bilinear", "scaled_dot"):
            raise ValueError(f'Expected score="bilinear" or "scaled_dot". Received: score={score!r}.')
        self.num_spaces = num_spaces
        self.score = score
        self.activation = keras.activations.get(activation)
        self.dropout = dropout
        self.sink = sink

    def build(self, query_shape: tuple[int | None, ...], memory_shape: tuple[int | None, ...]) -> None:
        width = int(query_shape[-1])  # type: ignore[arg-type]
        if width % self.num_spaces:
            raise ValueError(f"num_spaces must divide the width {width}. Received: num_spaces={self.num_spaces}.")
        if memory_shape[-1] != width:
            raise ValueError(f"Expected query and memory of one width. Received: {width} and {memory_shape[-1]}.")
        spaces, size = self.num_spaces, width // self.num_spaces
        self.query_kernel = self.add_weight(name="query_kernel", shape=(width, width), initializer="glorot_uniform")
        if self.score == "bilinear":
            # Var(W) = 1 / d^2 gives scores of about unit size, as the scaled dot product has.
            self.score_kernel = self.add_weight(
                name="score_kernel",
                shape=(spaces, size, size),
                initializer=keras.initializers.RandomNormal(stddev=1.0 / size),
            )
        else:
            self.key_kernel = self.add_weight(name="key_kernel", shape=(width, width), initializer="glorot_uniform")
        self.value_kernel = self.add_weight(name="value_kernel", shape=(width, width), initializer="glorot_uniform")
        if self.sink:
            self.sink_score = self.add_weight(name="sink_score", shape=(spaces,), initializer="zeros")
        self.drop = Dropout(self.dropout, dtype=self.dtype_policy)

    def call(
        self,
        query: Any,
        memory: Any,
        memory_mask: Any,
        bias: Any = None,
        return_weights: bool = False,
        training: bool | None = None,
    ) -> Any:
        keys, values = self.project(memory)
        return self.read(query, keys, values, memory_mask, bias, return_weights, training)

    def project(self, memory: Any) -> tuple[Any, Any]:
        """Returns the keys and values of a memory, float [B, T, D] each: what `read` needs of it, space after space."""
        values = self.activation(linear(memory, self.value_kernel))
        if self.score == "bilinear":
            return linear(memory, self.query_kernel), values
        return self.activation(linear(memory, self.key_kernel)), values

    def read(
        self,
        query: Any,
        keys: Any,
        values: Any,
        memory_mask: Any,
        bias: Any = None,
        return_weights: bool = False,
        training: bool | None = None,
    ) -> Any:
        """As a call, given the keys and values of the memory."""
        mask = memory_mask if len(memory_mask.shape) == 3 else memory_mask[:, None]
        queries, split = self.queries(query), self.by_space(keys, values)
        out, weights = self.attend(queries, *split, mask, bias, training=training)
        sees = ops.cast(ops.any(mask, axis=-1), out.dtype)[:, :, None]  # [B, R, 1]
        if not return_weights:
            return by_view(out, sees, 1)
        return by_view(out, sees, 1), by_view(weights, sees[:, None], 2)

    def queries(self, query: Any) -> Any:
        """Returns what is compared with the keys, float [..., D], space after space."""
        if self.score == "bilinear":
            return linear(query, self._scored_kernel())
        queries = self.activation(linear(query, self.query_kernel))
        return queries / ((queries.shape[-1] // self.num_spaces) ** 0.5)

    def by_space(self, keys: Any, values: Any) -> tuple[Any, Any]:
        """Returns keys, float [B, K, d, T], and values, float [B, K, T, d]; with a sink, of T + 1."""
        keys, values = self._spaces(keys), self._spaces(values)
        if self.sink:  # One more place: its score is `sink_score`, its value 0.
            keys, values = (ops.pad(each, ((0, 0), (0, 0), (0, 1), (0, 0))) for each in (keys, values))
        return ops.transpose(keys, (0, 1, 3, 2)), values

    def attend(
        self,
        queries: Any,
        keys: Any,
        values: Any,
        mask: Any,
        bias: Any = None,
        places: Any = None,
        training: bool | None = None,
    ) -> tuple[Any, Any]:
        """As `read`, of what `queries` and `by_space` return, but a query that sees nothing gives just anything.

        Args:
            mask: bool [B, R, T].
            places: int [B, Q], which row of `queries` [U, D] each query is, so that equal ones are projected once; None
                for queries as they stand.

        Returns:
            float [B, Q, D] and the weights, float [B, K, Q, T].
        """
        scores = ops.matmul(self._spaces(take(queries, places)), keys)  # [B, K, Q, T]
        weights = self._weights(scores, mask, bias)
        read = ops.matmul(self.drop(weights, training=training), values)  # [B, K, Q, d]
        read = ops.transpose(read, (0, 2, 1, 3))
        out = ops.reshape(read, (*ops.shape(read)[:2], queries.shape[-1]))  # [B, Q, D]
        return out, weights[..., :-1] if self.sink else weights

    def _weights(self, scores: Any, mask: Any, bias: Any) -> Any:
        """Softmax of scores [B, K, Q, T] under a mask [B, R, T] and a bias [B, K, R, T]; with a sink, of T + 1."""
        added = hidden(mask, scores.dtype)[:, None]  # [B, 1, R, T]
        if bias is not None:
            added = added + bias
        if self.sink:
            batch, _, views, _ = ops.shape(added)
            sinks = ops.cast(self.sink_score, added.dtype)[:, None, None]
            sinks = ops.broadcast_to(sinks, (batch, self.num_spaces, views, 1))
            added = ops.concatenate([added + ops.zeros_like(sinks), sinks], axis=-1)
        if mask.shape[1] == 1:
            return tf.nn.softmax(scores + added)  # Keras' warns where T = 1.
        shape = ops.shape(scores)
        views = ops.reshape(scores, (*shape[:2], ops.shape(mask)[1], -1, shape[-1]))  # [B, K, R, Q / R, T]
        return ops.reshape(tf.nn.softmax(views + added[:, :, :, None]), shape)

    def _scored_kernel(self) -> Any:
        """P_k W_k of all spaces side by side, [D, D]: cheaper than applying W_k to every query."""
        width, spaces = self.query_kernel.shape[0], self.num_spaces
        by_space = ops.transpose(ops.reshape(self.query_kernel, (width, spaces, width // spaces)), (1, 0, 2))
        return ops.reshape(ops.transpose(ops.matmul(by_space, self.score_kernel), (1, 0, 2)), (width, width))

    def _spaces(self, projected: Any) -> Any:
        """[B, T, D] -> [B, K, T, d]."""
        size = projected.shape[-1] // self.num_spaces
        split = ops.reshape(projected, (*ops.shape(projected)[:2], self.num_spaces, size))
        return ops.transpose(split, (0, 2, 1, 3))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_spaces": self.num_spaces,
            "score": self.score,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "sink": self.sink,
        }
