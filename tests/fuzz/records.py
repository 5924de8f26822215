"""Any bytes as a file of a records folder: the folder as it was, or a ValueError that names the file.

The first byte says which file it is. The checksums of the manifest are left out, as if whoever wrote the file had
written a fitting manifest too: what is fuzzed are the readers behind them.
"""

import json
import shutil

import harness
import numpy as np
import tensorflow as tf

with harness.watched():
    from atrank_tf.data import Catalog, Records
    from atrank_tf.preparation.records_folder import shard_name, write_description, write_manifest
    from atrank_tf.schema import schema_from_dict

FOLDER = harness.scratch() / "records"
FILES = ["manifest.json", "schema.toml", "catalog/item.npz", "vocabulary/item.npz"]
SCHEMA = schema_from_dict(
    {
        "tables": {"item": {"dim": 2, "rows": 4}},
        "entities": {"item": {"id": {"column": "item_id", "table": "item", "dtype": "int64"}, "rows": 5}},
        "groups": {"click": {"entity": "item", "actions": ["view"]}},
        "tasks": {"next": {"group": "click", "negatives": {"uniform": 1}}},
    }
)
CATALOG = Catalog(np.array([7, 8, 9]), np.array([0, 0, 2, 1, 1]), np.array([0, 1, 2, 3, 1], np.int32), {}, {})


def write() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    checksums = write_description(FOLDER, SCHEMA, {"item": CATALOG}, {"item": np.array(["7", "8"])})
    tf.io.TFRecordWriter(str(FOLDER / shard_name(0, 1))).close()
    write_manifest(FOLDER, {"inputs": "abc", "shards": 1}, checksums)
    manifest = json.loads((FOLDER / "manifest.json").read_text())
    del manifest["sha256"]
    (FOLDER / "manifest.json").write_text(json.dumps(manifest))


def one(data: bytes) -> None:
    if not data:
        return
    name = FILES[data[0] % len(FILES)]
    before = (FOLDER / name).read_bytes()
    (FOLDER / name).write_bytes(data[1:])
    try:
        Records(str(FOLDER))
    except ValueError as error:
        if str(FOLDER) not in str(error):
            raise
    finally:
        (FOLDER / name).write_bytes(before)


if __name__ == "__main__":
    write()
    Records._compare = lambda *_: None
    harness.main("records", one, [bytes([n]) + (FOLDER / name).read_bytes() for n, name in enumerate(FILES)])
