"""The catalog as weights of the model: side features of objects, looked up by id."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class CatalogLookup(keras.layers.Layer):
    """Looks up the side features of objects.

    The columns are weights that no training changes, so that they travel with the model into every file and export.
    They are empty (0, padding) until `load` fills them or a saved model is read.

    Args:
        num_objects: rows of the catalog, padding and unknown included.
        columns: name -> values per object of a categorical column.
        dense: names of numeric columns. Defaults to none.

    Call arguments:
        ids: int [...], in 0..num_objects-1.

    Returns:
        Name -> int64 [...] for a column of 1 value, int64 [..., values] for more, float32 [...] for a numeric one.

    Example:
        >>> lookup = CatalogLookup(num_objects=4, columns={"category": 1})
        >>> lookup.load({"category": np.array([[0], [1], [5], [7]])})
        >>> lookup(np.array([[2, 3, 0]]))["category"]
        [[5, 7, 0]]
    """

    def __init__(
        self, num_objects: int, columns: Mapping[str, int], dense: tuple[str, ...] = (), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_objects = num_objects
        self.columns = dict(columns)
        self.dense = tuple(dense)
        fixed = {"initializer": "zeros", "trainable": False, "autocast": False}
        # Not int32, which TensorFlow keeps in the host's memory where there is a GPU, out of XLA's reach.
        self._by_name = {
            name: self.add_weight(name=name, shape=(num_objects, values), dtype="int64", **fixed)
            for name, values in self.columns.items()
        } | {name: self.add_weight(name=name, shape=(num_objects,), dtype="float32", **fixed) for name in self.dense}

    def load(self, values: Mapping[str, np.ndarray]) -> None:
        """Fills every column.

        Args:
            values: name -> [num_objects, values] of a categorical column, [num_objects] of a numeric one.

        Raises:
            ValueError: a column is missing, or its shape is not the layer's.
        """
        for name, weight in self._by_name.items():
            if name not in values:
                raise ValueError(f"Expected catalog column {name!r}. Received columns {sorted(values)}.")
            if tuple(values[name].shape) != tuple(weight.shape):
                raise ValueError(
                    f"Expected catalog column {name!r} of shape {tuple(weight.shape)}. Received: {values[name].shape}."
                )
            weight.assign(values[name])

    def categorical(self) -> dict[str, Tensor]:
        """Returns the categorical columns, name -> int64 [num_objects, values]."""
        return {name: self._by_name[name].value for name in self.columns}

    def call(self, ids: Tensor) -> dict[str, Tensor]:
        # Not ops.take, whose care for negative indices is eight operations of a graph for each column.
        found = {name: tf.gather(weight.value, ids) for name, weight in self._by_name.items()}
        return {
            name: tf.squeeze(column, -1) if self.columns.get(name) == 1 else column for name, column in found.items()
        }

    def compute_output_spec(self, ids: Tensor) -> dict[str, Any]:
        several = {name: () if values == 1 else (values,) for name, values in self.columns.items()}
        of_columns = {name: keras.KerasTensor((*ids.shape, *each), "int64") for name, each in several.items()}
        return of_columns | {name: keras.KerasTensor(ids.shape, "float32") for name in self.dense}

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_objects": self.num_objects,
            "columns": self.columns,
            "dense": self.dense,
        }
