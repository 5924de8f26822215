"""Test of the types of the installed package, outside the repository: `mypy --strict typed.py`."""

from typing import assert_type

import atrank_tf
from atrank_tf.experiment import Experiment, load_experiment
from atrank_tf.schema import Schema
from atrank_tf.server import ServerSettings, serve

records = atrank_tf.Records("records")
assert_type(records.path, str)
assert_type(records.schema, Schema)
assert_type(atrank_tf.Batching().batch_size, int)
assert_type(load_experiment("experiment.toml"), Experiment)
atrank_tf.Batching(batch_size="many")  # type: ignore[arg-type]
serve({}, ServerSettings())  # type: ignore[arg-type]
