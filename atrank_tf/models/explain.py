"""Records attention weights and parts of scores in a forward pass, and builds the model that outputs them.

Attention layers and the sum of the parts are several calls below the caller. So they record into a context, and no
signature in between has an argument that only explanations use.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

from atrank_tf.models.inputs import behavior_columns, candidate_inputs, history_inputs, profile_inputs
from atrank_tf.schema.inputs import affinity_name, candidates_name
from atrank_tf.types import Tensor

PART = "score_"
"""Prefix of the outputs that are parts of the score."""


@dataclass
class Recording:
    """Attention weights and parts of scores of one forward pass.

    Glossary: B users, T behaviors, N candidates, K spaces.

    Args:
        self_attention: float [B, K, T, T] of each block, in the order of the blocks.
        target_attention: float [B, K, N, T]; None for a model without target attention.
        parts: name -> float [B, N]; their sum is the score.
    """

    self_attention: list[Tensor] = field(default_factory=list)
    target_attention: Tensor | None = None
    parts: dict[str, Tensor] = field(default_factory=dict)


_RECORDING: ContextVar[Recording | None] = ContextVar("recording", default=None)


@contextmanager
def recording() -> Iterator[Recording]:
    """Context that yields a recording, which forward passes inside it fill in."""
    found = Recording()
    token = _RECORDING.set(found)
    try:
        yield found
    finally:
        _RECORDING.reset(token)


def is_recorded() -> bool:
    """Returns whether there is a recording, which asks for the weights of every behavior over all others."""
    return _RECORDING.get() is not None


def record_self_attention(weights: Tensor) -> None:
    """Adds the self-attention weights of a block, float [B, K, T, T], to the recording, if there is one."""
    found = _RECORDING.get()
    if found is not None:
        found.self_attention.append(weights)


def record_target_attention(weights: Tensor) -> None:
    """Adds the target attention weights, float [B, K, N, T], to the recording, if there is one."""
    found = _RECORDING.get()
    if found is not None:
        found.target_attention = weights


def record_parts(parts: Mapping[str, Tensor]) -> None:
    """Adds the parts of a score, name -> float [B, N], to the recording, if there is one."""
    found = _RECORDING.get()
    if found is not None:
        found.parts.update(parts)


def explainer(ranker: Any, task: str) -> Any:
    """Builds what `Ranker.explainer` returns.

    The part of affinity is the score minus that of a user who never did anything with anything (affinity of zeros), and
    the other parts are that user's. The user is encoded once; only the heads run twice.
    """
    schema = ranker.schema
    inputs = history_inputs(schema) | profile_inputs(schema) | candidate_inputs(schema, task)
    with recording() as found:
        candidates, profile = ranker.embed_candidates(task, inputs[candidates_name(task)]), ranker.profile(inputs)
        user = ranker.user_vectors(candidates.embedding, ranker.encode_user(inputs), profile, inputs)
        score = ranker.rank(task, user, candidates, profile, inputs)
    affinity = affinity_name(task)
    if affinity in inputs:
        nothing = inputs | {affinity: ops.zeros_like(inputs[affinity])}
        with recording() as without:
            others = ranker.rank(task, user, candidates, profile, nothing)
        found.parts = without.parts | {"affinity": score - others}
    outputs = {"score": score} | {f"{PART}{name}": part for name, part in found.parts.items()}
    if found.self_attention:
        outputs["self_attention"] = ops.stack(found.self_attention, axis=1)
    if found.target_attention is not None:
        outputs["target_attention"] = found.target_attention
    outputs = {name: ops.cast(value, "float32") for name, value in outputs.items()}
    groups = tuple(schema.groups)
    outputs |= {f"behavior_{column}": value for column, value in behavior_columns(inputs, groups).items()}
    return keras.Model(inputs, outputs, name=f"explainer_{task}")
