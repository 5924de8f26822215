"""Embedding of a behavior: what was acted on, how, and how long ago."""

from typing import Any

import keras
from keras import ops

from atrank_tf.layers.dense import linear, linear_concat
from atrank_tf.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class BehaviorEmbedding(keras.layers.Layer):
    """Combines an object's embedding with those of the action and of the time bucket.

    Rough sketch:
        sum:     u = W object + lookup_a(action) + lookup_t(bucket)       W only where D_g differs from D_o
        concat:  u = W [object; lookup_a(action); lookup_t(bucket)]

    A candidate has neither action nor time: call the layer with the object alone, and the missing parts are 0.

    Glossary: B users, T behaviors (or candidates), D_o dimension of the object's embedding, D_g that of the group.

    Args:
        embedding_dim: D_g; None means D_o.
        num_actions: rows of the action table, padding and unknown included.
        num_buckets: number of time buckets; None for an embedding without time.
        combine: "sum" (the paper's equation) or "concat" (the authors' code). Defaults to "sum".
        kernel_initializer: of W. Defaults to "glorot_uniform".

    Call arguments:
        objects: float [B, T, D_o], the objects' embeddings.
        actions: int [B, T]; None for candidates.
        buckets: int [B, T]; None for candidates, and for an embedding without time.

    Returns:
        float [B, T, D_g].

    Raises:
        ValueError: `combine` is unknown.

    Reference:
        ATRank (arXiv 1711.06632), section "Raw feature spaces": u_ij = emb_i(o_j) + lookup_i^t(..) + lookup_i^a(..).
    """

    def __init__(
        self,
        embedding_dim: int | None,
        num_actions: int,
        num_buckets: int | None,
        combine: str = "sum",
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if combine not in ("sum", "concat"):
            raise ValueError(f'Expected combine="sum" or "concat". Received: combine={combine!r}.')
        self.embedding_dim = embedding_dim
        self.num_actions = num_actions
        self.num_buckets = num_buckets
        self.combine = combine
        self.kernel_initializer = kernel_initializer

    def build(self, objects_shape: Shape) -> None:
        object_dim = int(objects_shape[-1])
        dim = self.embedding_dim or object_dim
        side = dim if self.combine == "sum" else max(1, dim // 4)
        self.action_table = self.add_weight(name="action_table", shape=(self.num_actions, side), initializer="uniform")
        self.time_table = None
        if self.num_buckets is not None:
            self.time_table = self.add_weight(name="time_table", shape=(self.num_buckets, side), initializer="uniform")
        self.kernel = None
        if self.combine == "concat" or dim != object_dim:
            sides = 0 if self.combine == "sum" else 1 if self.num_buckets is None else 2
            shape = (object_dim + sides * side, dim)
            self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.kernel_initializer)

    def call(self, objects: Tensor, actions: Tensor | None = None, buckets: Tensor | None = None) -> Tensor:
        sides = []
        if actions is not None:
            sides.append(ops.take(self.action_table, actions, axis=0))
            if self.time_table is not None:
                sides.append(ops.take(self.time_table, buckets, axis=0))
        if self.combine == "concat":
            return linear_concat([objects, *sides], self.kernel)
        embedding = objects if self.kernel is None else linear(objects, self.kernel)
        for side in sides:
            embedding = embedding + side
        return embedding

    def compute_output_shape(self, objects_shape: Shape, *_: Any) -> Shape:
        return (*objects_shape[:-1], self.embedding_dim or objects_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "embedding_dim": self.embedding_dim,
            "num_actions": self.num_actions,
            "num_buckets": self.num_buckets,
            "combine": self.combine,
            "kernel_initializer": keras.initializers.serialize(keras.initializers.get(self.kernel_initializer)),
        }
