"""A ranker with what its scores came from: the weights of its attentions and the parts of each score.

Layers that attend and the place where parts are added up stand several calls below whoever asks. So they record into a
context, and no signature in between has an argument that only explanations use.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

from atrank_tf.models.inputs import candidate_inputs, group_numbers, history_inputs, profile_inputs, side_by_side
from atrank_tf.schema.inputs import BEHAVIOR_COLUMNS

PART = "score_"
"""What the names of the outputs that are parts of the score begin with."""


@dataclass
class Recording:
    """What one forward pass recorded.

    Glossary: B users, T behaviors, N candidates, K spaces.

    Args:
        self_attention: float [B, K, T, T] of each block, in the order of the blocks.
        target_attention: float [B, K, N, T]; None where no attention reads the memory.
        parts: name -> float [B, N], what is added up to the score.
    """

    self_attention: list[Any] = field(default_factory=list)
    target_attention: Any | None = None
    parts: dict[str, Any] = field(default_factory=dict)


_RECORDING: ContextVar[Recording | None] = ContextVar("recording", default=None)


@contextmanager
def recording() -> Iterator[Recording]:
    """Gives a recording that forward passes inside the block fill in."""
    found = Recording()
    token = _RECORDING.set(found)
    try:
        yield found
    finally:
        _RECORDING.reset(token)


def record_self_attention(weights: Any) -> None:
    """Records the attention weights of one more block, float [B, K, T, T], if anybody asks for them."""
    found = _RECORDING.get()
    if found is not None:
        found.self_attention.append(weights)


def record_target_attention(weights: Any) -> None:
    """Records the weights with which candidates read the memory, float [B, K, N, T], if anybody asks for them."""
    found = _RECORDING.get()
    if found is not None:
        found.target_attention = weights


def record_parts(parts: Mapping[str, Any]) -> None:
    """Records the parts of a score, name -> float [B, N], if anybody asks for them."""
    found = _RECORDING.get()
    if found is not None:
        found.parts.update(parts)


def explainer(ranker: Any, task: str) -> Any:
    """Returns the model of `Ranker.explainer`."""
    schema = ranker.schema
    inputs = history_inputs(schema) | profile_inputs(schema) | candidate_inputs(schema, task)
    with recording() as found:
        score = ranker.score(task, ranker.encode_user(inputs), ranker.profile(inputs), inputs)
    outputs = {"score": score} | {f"{PART}{name}": part for name, part in found.parts.items()}
    if found.self_attention:
        outputs["self_attention"] = ops.stack(found.self_attention, axis=1)
    if found.target_attention is not None:
        outputs["target_attention"] = found.target_attention
    outputs = {name: ops.cast(value, "float32") for name, value in outputs.items()}
    groups = tuple(schema.groups)
    for column in BEHAVIOR_COLUMNS:
        outputs[f"behavior_{column}"] = side_by_side(inputs, groups, column)
    outputs["behavior_group"] = group_numbers(inputs, groups)
    return keras.Model(inputs, outputs, name=f"explainer_{task}")
