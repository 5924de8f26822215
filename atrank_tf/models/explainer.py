"""A ranker that gives, beside its scores, what they came from."""

from typing import Any

import keras
from keras import ops

from atrank_tf.models.inputs import (
    candidate_inputs,
    group_numbers,
    history_inputs,
    profile_inputs,
    side_by_side,
)
from atrank_tf.models.network import Network
from atrank_tf.models.probe import probing

PART = "score_"
"""What the names of the outputs that are parts of the score begin with."""


def explainer(network: Network, task: str) -> Any:
    """Returns the model of `Ranker.explainer`."""
    inputs = history_inputs(network.schema) | profile_inputs(network.schema) | candidate_inputs(network.schema, task)
    with probing() as probe:
        score = network.score(task, network.encode(inputs), network.objects.profile(inputs), inputs)
    found = {"score": score} | {f"{PART}{name}": part for name, part in probe.parts.items()}
    if probe.self_attention:
        found["self_attention"] = ops.stack(probe.self_attention, axis=1)
    if probe.target_attention is not None:
        found["target_attention"] = probe.target_attention
    outputs = {name: ops.cast(value, "float32") for name, value in found.items()}
    groups = tuple(network.schema.groups)
    for column in ("id", "action", "timestamp"):
        outputs[f"behavior_{column}"] = side_by_side(inputs, groups, column)
    outputs["behavior_group"] = group_numbers(inputs, groups)
    return keras.Model(inputs, outputs, name=f"explainer_{task}")
