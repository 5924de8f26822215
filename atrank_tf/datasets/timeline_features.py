"""The layout of `atrank_tf.preparation.timelines`, as TensorFlow Datasets must know it to read the Examples."""

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from atrank_tf.schema import Candidates, Features, Schema
from atrank_tf.schema.inputs import BEHAVIOR_COLUMNS


def timeline_features(schema: Schema) -> Any:
    """Returns the `tfds.features.FeaturesDict` of the timelines that a schema makes.

    A slash in the name of a feature of an Example becomes a level of the dict: `timeline["purchase"]["id"]`.
    """
    integers = tfds.features.Sequence(np.int64)
    found = {group: tfds.features.Sequence(dict.fromkeys(BEHAVIOR_COLUMNS, np.int64)) for group in schema.groups}
    for name, task in schema.tasks.items():
        if task.candidates is Candidates.IMPRESSIONS:
            request = dict.fromkeys(("timestamp", "row_lengths", "candidates", "label"), integers)
            found[name] = request | _sides(task.context, tfds.features.Sequence(np.float32))
    user = _sides(schema.user, tfds.features.Scalar(np.float32))
    return tfds.features.FeaturesDict({"user_id": tfds.features.Text(), **found, **({"user": user} if user else {})})


def _sides(features: Features, dense: Any) -> dict[str, Any]:
    integers = tfds.features.Sequence(np.int64)
    return dict.fromkeys(features.features, integers) | dict.fromkeys(features.dense, dense)
