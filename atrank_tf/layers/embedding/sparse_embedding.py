"""An embedding table that costs what is read of it."""

from typing import Any

import keras
import tensorflow as tf

from atrank_tf.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class SparseEmbedding(keras.layers.Layer):
    """Looks rows up in an embedding table, at a cost that does not depend on the table's size.

    `keras.layers.Embedding` reads the whole variable and then gathers from the copy. This layer gathers from the
    variable itself, and its gradient is of the rows that were read. The weight has the same name and shape, so
    `get_weights` of either layer fits `set_weights` of the other.

    `SparseAdam` and `SparseAdagrad` defer the decay of a row until it is read. The optimizer leaves the function that
    applies pending decay on the variable (`embeddings.apply_pending`), and a call applies it to the rows that it is
    about to gather, unless `training` is False. Saving applies it to all rows first, so a file holds a plain table.

    Glossary: R rows, D width.

    Args:
        input_dim: R.
        output_dim: D.
        embeddings_initializer: of the table.
        decays: whether weight decay and `l2` of `SparseAdam` and `SparseAdagrad` reach the table.

    Call arguments:
        inputs: whole numbers in 0..R-1, of any shape, also an empty one.

    Returns:
        float [..., D] in the compute dtype; the table itself stays in the variable dtype.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        decays: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Else Keras has XLA compile the whole step where there is a GPU, anew for every size of a batch.
        self.supports_jit = False
        for name, size in (("input_dim", input_dim), ("output_dim", output_dim)):
            if size <= 0:
                raise ValueError(f"{name} must be positive. Received: {name}={size}.")
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.decays = decays

    def build(self, input_shape: Any = None) -> None:
        # autocast would cast the whole table before the lookup.
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            autocast=False,
        )
        self.embeddings.apply_pending = None  # The mark of a table, and the place for an optimizer's function.
        self.embeddings.decays = self.decays

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        ids = inputs if inputs.dtype in (tf.int32, tf.int64) else tf.cast(inputs, tf.int32)
        # None counts as training: a model whose `call` has no `training` argument is trained without it.
        if training is not False and self.embeddings.apply_pending is not None:
            self.embeddings.apply_pending(ids)
        return tf.cast(tf.gather(self.embeddings.value, ids), self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def compute_output_spec(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def save_own_variables(self, store: Any) -> None:
        if self.built and self.embeddings.apply_pending is not None:
            self.embeddings.apply_pending()
        super().save_own_variables(store)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "decays": self.decays,
        }
