"""Embeddings of objects, user features and context, from the tables and catalogs of a schema."""

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from atrank_tf.data import Catalog, Part, Records, co_occurrence, known_from
from atrank_tf.layers import (
    CatalogLookup,
    HashedRows,
    IdDropout,
    MeanPooling,
    PointInTime,
    SparseEmbedding,
    Standardize,
    take,
)
from atrank_tf.schema import FIRST_ROW, PADDING, UNKNOWN, Features, Schema, Table, Transform
from atrank_tf.schema.inputs import context_name, profile_name
from atrank_tf.types import Tensor

TABLE_STDDEV = 0.2
"""Standard deviation at which embedding tables start.

Keras starts tables at 0.03: dot products and whatever else is read of them then begin so small that training spends its
first epochs on making the tables larger.
"""


class ObjectEmbedder:
    """Embedding tables and catalogs of a model, and lookups in them.

    An object is given by its catalog row, or by -row if its id is to be unknown (`known_at`).

    Args:
        schema: a prepared schema.
        id_dropout: share of the objects whose id is replaced by the unknown id in training.
    """

    def __init__(self, schema: Schema, id_dropout: float) -> None:
        self._schema = schema
        self._drop_ids = IdDropout(id_dropout, UNKNOWN, name="id_dropout")
        self._pool = MeanPooling(name="mean_pooling")
        self.tables = {
            name: SparseEmbedding(
                table.rows,
                table.dim,
                keras.initializers.RandomNormal(stddev=_stddev(table)),
                name=f"table_{name}",
            )
            for name, table in schema.tables.items()
            if table.dim
        }
        self._hashed = hashed_rows(schema, "table")
        self.catalogs = {
            name: CatalogLookup(
                entity.rows,
                {entity.id.column: 1} | {column: feature.max_values for column, feature in entity.features.items()},
                tuple(entity.dense),
                name=f"catalog_{name}",
            )
            for name, entity in schema.entities.items()
        }
        self._points_in_time = {
            name: PointInTime(entity.rows, name=f"point_in_time_{name}")
            for name, entity in schema.entities.items()
            if entity.id.table
        }
        self._standardize: dict[str, Standardize] = {}

    def load_catalogs(self, catalogs: Mapping[str, Catalog]) -> None:
        """Loads catalogs into the model.

        Raises:
            ValueError: an entity is missing, or a catalog does not fit the schema.
        """
        for name, entity in self._schema.entities.items():
            if name not in catalogs:
                raise ValueError(f"Expected a catalog of entity {name!r}. Received catalogs of {sorted(catalogs)}.")
            catalog = catalogs[name]
            columns: dict[str, np.ndarray] = {entity.id.column: catalog.table_rows[:, np.newaxis], **catalog.dense}
            for column, feature in entity.features.items():
                values = catalog.features[column]
                columns[column] = np.pad(values, ((0, 0), (0, feature.max_values - values.shape[1])))
            self.catalogs[name].load(columns)

    def load_known_from(self, records: Records, part: Part, total: Callable[[np.ndarray], np.ndarray]) -> None:
        """Finds out since when each id is known; arguments as of `data.known_from`."""
        for name, since in known_from(records, list(self._points_in_time), part, total).items():
            self._points_in_time[name].load(since)

    def initialize_tables(
        self, records: Records, tasks: Sequence[str], part: Part, total: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        """Begins tables with the vectors of `data.co_occurrence`; arguments as of that.

        Their entries have the spread of the random ones, which rows keep of which nothing is known.
        """
        rows = {}
        for entity, spec in self._schema.entities.items():
            table = spec.id.table
            if table and self.tables[table].built:  # Not those of behaviors, in a model that reads none.
                codes = records.catalogs[entity].table_rows
                rows[entity] = np.asarray(self._hashed[table](codes)) if table in self._hashed else codes[:, np.newaxis]
        for name, vectors in co_occurrence(records, tasks, rows, part, total).items():
            spread = _stddev(self._schema.tables[name]) * vectors.shape[1] ** 0.5
            known = vectors.any(axis=1, keepdims=True)
            self.tables[name].embeddings.assign(np.where(known, spread * vectors, self.tables[name].embeddings))

    def catalog_columns(self) -> dict[str, dict[str, Tensor]]:
        """Returns the columns of the catalogs, as `data.affinity` takes them; they are those in the model."""
        return {name: self.catalogs[name].categorical() for name in self.catalogs}

    def known_at(self, entity: str, rows: Tensor, times: Tensor) -> Tensor:
        """Returns objects, int64 [...]; in training the row of each whose id was unknown at its time is negative."""
        return self._points_in_time[entity](rows, times) if entity in self._points_in_time else rows

    def id_rows(self, entity: str, rows: Tensor) -> Tensor:
        """Returns the indices of objects in the table of their ids; or their codes, of a table with `hash`."""
        return self._ids(entity, rows, self.catalogs[entity](ops.abs(rows)))

    def objects(self, entity: str, rows: Tensor) -> Tensor:
        """Returns the embeddings of objects, float [..., D_o]: id, side features and numeric columns, concatenated."""
        spec = self._schema.entities[entity]
        found = self.catalogs[entity](ops.abs(rows))
        parts = []
        if spec.id.table:
            parts.append(self._embed(spec.id.table, self._drop_ids(self._ids(entity, rows, found))))
        parts += self._features(spec, found, f"standardize_{entity}")
        return _concatenate(parts)

    def objects_once(self, entity: str, rows: Sequence[Tensor]) -> list[Tensor]:
        """`objects` for several tensors of rows; an object that is in them more than once is looked up once."""
        flat = [ops.reshape(each, (-1,)) for each in rows]
        different, places = tf.unique(ops.concatenate(flat, axis=0))
        embeddings = self.objects(entity, different)
        parts = tf.split(places, [tf.size(each) for each in flat], num=len(flat))
        return [take(embeddings, ops.reshape(part, ops.shape(each))) for part, each in zip(parts, rows, strict=True)]

    def profile(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Returns the embedding of user features, float [B, D_u], or None if the schema has none."""
        user = self._schema.user
        found = {column: inputs[profile_name(column)] for column in (*user.features, *user.dense)}
        for column, feature in user.features.items():
            if feature.max_values == 1:
                found[column] = found[column][:, 0]
        return _concatenate(self._features(user, found, "standardize_user"))

    def context(self, task: str, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Returns the embedding of the candidates' context, float [B, N, D_c], or None if the task has none."""
        context = self._schema.tasks[task].context
        found = {column: inputs[context_name(task, column)] for column in (*context.features, *context.dense)}
        return _concatenate(self._features(context, found, f"standardize_{task}"))

    def object_numbers(self, entity: str, rows: Tensor) -> Tensor | None:
        """Returns the numeric columns of objects, standardized, float [..., columns], or None if there are none."""
        spec = self._schema.entities[entity]
        return self._numbers(spec, self.catalogs[entity](rows), f"standardize_{entity}") if spec.dense else None

    def _ids(self, entity: str, rows: Tensor, found: Mapping[str, Tensor]) -> Tensor:
        ids = found[self._schema.entities[entity].id.column]
        return ops.where(rows < PADDING, ops.full_like(ids, UNKNOWN), ids)

    def _features(self, features: Features, found: Mapping[str, Tensor], name: str) -> list[Tensor]:
        parts = []
        for column, feature in features.features.items():
            if feature.table not in self.tables:  # Only affinity reads it.
                continue
            embedded = self._embed(feature.table, found[column])
            if feature.max_values > 1:
                embedded = self._pool(embedded, ops.not_equal(found[column], PADDING))
            parts.append(embedded)
        numbers = self._numbers(features, found, name)
        return parts if numbers is None else [*parts, numbers]

    def _embed(self, table: str, rows: Tensor) -> Tensor:
        """Looks rows, or codes, up in a table: float [..., D]."""
        if table not in self._hashed:
            return self.tables[table](rows)
        return ops.sum(self.tables[table](self._hashed[table](rows)), axis=-2)

    def _numbers(self, features: Features, found: Mapping[str, Tensor], name: str) -> Tensor | None:
        """Returns the numeric columns, standardized, float [..., columns]."""
        if not features.dense:
            return None
        if name not in self._standardize:
            moments = features.dense.values()
            self._standardize[name] = Standardize(
                [dense.mean for dense in moments],
                [dense.variance for dense in moments],
                [dense.transform is Transform.LOG for dense in moments],
                name=name,
            )
        return self._standardize[name]([found[column] for column in features.dense])


def hashed_rows(schema: Schema, of: str) -> dict[str, HashedRows]:
    """Returns the layers that find rows in tables with `hash`, table -> layer; `of` begins their names."""
    return {
        name: HashedRows(table.hash, table.hashes, FIRST_ROW, name=f"{of}_rows_{name}")
        for name, table in schema.tables.items()
        if table.hash
    }


def _stddev(table: Table) -> float:
    """Returns the spread that the entries of a table begin with: an embedding is the sum of a row for each hash."""
    return TABLE_STDDEV / table.hashes**0.5


def _concatenate(parts: list[Tensor]) -> Tensor | None:
    if len(parts) > 1:
        return ops.concatenate(parts, axis=-1)
    return parts[0] if parts else None
