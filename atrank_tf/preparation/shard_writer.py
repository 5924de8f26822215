"""Staged rows -> the TFRecord files of the records, shard by shard."""

from pathlib import Path

import numpy as np
import polars as pl
import tensorflow as tf

from atrank_tf.data.records import read_catalog, read_vocabulary, shard_name
from atrank_tf.data.vocabulary import Vocabulary
from atrank_tf.files import whole_file
from atrank_tf.preparation.shard_timelines import ShardTimelines
from atrank_tf.preparation.staging import Staging
from atrank_tf.preparation.totals import Totals
from atrank_tf.schema import Schema


class ShardWriter:
    """Writes shards of the timelines.

    It holds what rows are looked up in: the ids of all catalogs with their table rows, and the vocabularies of user and
    context features.

    Args:
        staging: rows without duplicates.
        folder: the records folder; the catalogs and the vocabularies are there already.
        schema: the schema, prepared.
    """

    def __init__(self, staging: Staging, folder: Path, schema: Schema) -> None:
        self._staging, self._folder, self._schema = staging, folder, schema
        self._objects: dict[str, Vocabulary] = {}
        self._table_rows: dict[str, np.ndarray] = {}
        for name in schema.entities:
            catalog = read_catalog(str(folder), name)
            self._objects[name], self._table_rows[name] = Vocabulary(pl.Series(catalog.ids)), catalog.table_rows
        sides = (schema.user, *(task.context for task in schema.tasks.values()))
        tables = {feature.table for side in sides for feature in side.features.values()}
        self._vocabularies = {name: Vocabulary(pl.Series(read_vocabulary(str(folder), name))) for name in tables}

    def write(self, shard: int) -> Totals:
        """Writes the file of one shard, whole or not at all."""
        timelines = ShardTimelines(self._staging, shard, self._schema, self._objects, self._vocabularies)
        path = self._folder / shard_name(shard, self._staging.shards)
        with whole_file(path, concurrent=True) as partial, tf.io.TFRecordWriter(partial) as writer:
            for example in timelines:
                writer.write(example.SerializeToString(deterministic=True))
        return Totals.of(timelines, self._schema, self._table_rows)
