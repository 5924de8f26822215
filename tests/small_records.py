"""Records of three objects and nobody, for tests of their folder."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from atrank_tf.data import Catalog
from atrank_tf.files import file_checksum
from atrank_tf.preparation.records_folder import shard_name, write_description, write_manifest
from atrank_tf.schema import schema_from_dict

SCHEMA = schema_from_dict(
    {
        "tables": {"item": {"dim": 2, "rows": 4}},
        "entities": {"item": {"id": {"column": "item_id", "table": "item", "dtype": "int64"}, "rows": 5}},
        "groups": {"click": {"entity": "item", "actions": ["view"]}},
        "tasks": {"next": {"group": "click", "negatives": {"uniform": 1}}},
    }
)
CATALOG = Catalog(np.array([7, 8, 9]), np.array([0, 0, 2, 1, 1]), np.array([0, 1, 2, 3, 1], np.int32), {}, {})


def write(folder: Path, inputs: str = "abc") -> None:
    """Writes the records into a folder, in two files."""
    vocabulary = {"item": np.array(["7", "8"])}
    checksums = write_description(folder, SCHEMA, {"item": CATALOG}, vocabulary)
    for shard in range(2):
        path = folder / shard_name(shard, 2)
        tf.io.TFRecordWriter(str(path)).close()
        checksums[path.name] = file_checksum(str(path))
    write_manifest(folder, {"inputs": inputs, "shards": 2}, checksums)
