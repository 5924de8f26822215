"""What a pass through a network shows to an explanation: the weights of its attentions, the parts of its scores.

A context, not an argument: the layers that attend and the place where parts are added stand several calls below whoever
asks, and no signature in between should have an argument that only explanations use.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Probe:
    """Glossary: B users, T behaviors, N candidates, K spaces.

    Args:
        self_attention: float [B, K, T, T] for each block, in the order of the blocks.
        target_attention: float [B, K, N, T]; None where no attention reads the memory.
        parts: name -> float [B, N], what is added up to the score.
    """

    self_attention: list[Any] = field(default_factory=list)
    target_attention: Any | None = None
    parts: dict[str, Any] = field(default_factory=dict)


_PROBE: ContextVar[Probe | None] = ContextVar("probe", default=None)


@contextmanager
def probing() -> Iterator[Probe]:
    """Gives a probe that the calls of a network inside the block fill in."""
    probe = Probe()
    token = _PROBE.set(probe)
    try:
        yield probe
    finally:
        _PROBE.reset(token)


def show_self_attention(weights: Any) -> None:
    """Tells whoever asks of the weights of one more block."""
    probe = _PROBE.get()
    if probe is not None:
        probe.self_attention.append(weights)


def show_target_attention(weights: Any) -> None:
    """Tells whoever asks of the weights with which candidates read the memory."""
    probe = _PROBE.get()
    if probe is not None:
        probe.target_attention = weights


def show_parts(parts: Mapping[str, Any]) -> None:
    """Tells whoever asks of the parts of a score."""
    probe = _PROBE.get()
    if probe is not None:
        probe.parts.update(parts)
