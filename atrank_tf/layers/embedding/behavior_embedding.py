"""A behavior's code: what was acted on, how, and how long ago."""

from typing import Any

import keras
from keras import ops

from atrank_tf.layers.linear import linear


@keras.saving.register_keras_serializable(package="atrank_tf")
class BehaviorEmbedding(keras.layers.Layer):
    """Joins the object's code with the action's and the time bucket's embeddings.

    Rough sketch:
        sum:     u = W object + lookup_a(action) + lookup_t(bucket)       W only where `width` differs from D_o
        concat:  u = W [object; lookup_a(action); lookup_t(bucket)]

    A candidate has neither action nor time: call the layer with the object alone, and the missing parts are 0.

    Glossary: B users, T behaviors (or candidates), D_o width of the object's code, D_g width of the group.

    Args:
        width: D_g; None means D_o.
        actions: rows of the action table, padding and unknown included.
        buckets: number of time buckets; None for a code that knows no time.
        combine: "sum" (the paper's equation) or "concat" (the authors' code).

    Call arguments:
        objects: float [B, T, D_o].
        actions: int [B, T]; None for candidates.
        buckets: int [B, T]; None for candidates, and for a code that knows no time.

    Returns:
        float [B, T, D_g].

    Reference:
        ATRank (arXiv 1711.06632), section "Raw feature spaces": u_ij = emb_i(o_j) + lookup_i^t(..) + lookup_i^a(..).
    """

    def __init__(
        self, width: int | None, actions: int, buckets: int | None, combine: str = "sum", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if combine not in ("sum", "concat"):
            raise ValueError(f'Expected combine="sum" or "concat". Received: combine={combine!r}.')
        self.width = width
        self.actions = actions
        self.buckets = buckets
        self.combine = combine

    def build(self, objects_shape: tuple[int | None, ...]) -> None:
        self._coded = int(objects_shape[-1])  # type: ignore[arg-type]
        width = self.width or self._coded
        side = width if self.combine == "sum" else max(1, width // 4)
        self.action_table = self.add_weight(name="action_table", shape=(self.actions, side), initializer="uniform")
        self.time_table = None
        if self.buckets is not None:
            self.time_table = self.add_weight(name="time_table", shape=(self.buckets, side), initializer="uniform")
        self.kernel = None
        if self.combine == "concat" or width != self._coded:
            sides = 0 if self.combine == "sum" else 1 if self.buckets is None else 2
            rows = self._coded + sides * side
            self.kernel = self.add_weight(name="kernel", shape=(rows, width), initializer="glorot_uniform")

    def call(self, objects: Any, actions: Any = None, buckets: Any = None) -> Any:
        code = objects if self.kernel is None else linear(objects, self.kernel[: self._coded])
        if actions is None:
            return code
        action = ops.take(self.action_table, actions, axis=0)
        if self.combine == "concat":
            action = linear(action, self.kernel[self._coded : self._coded + action.shape[-1]])  # type: ignore[index]
        if self.time_table is None:
            return code + action
        time = ops.take(self.time_table, buckets, axis=0)
        if self.combine == "concat":
            time = linear(time, self.kernel[self._coded + time.shape[-1] :])  # type: ignore[index]
        return code + action + time

    def compute_output_shape(self, objects_shape: tuple[int | None, ...], *_: Any) -> tuple[int | None, ...]:
        return (*objects_shape[:-1], self.width or objects_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "width": self.width,
            "actions": self.actions,
            "buckets": self.buckets,
            "combine": self.combine,
        }
