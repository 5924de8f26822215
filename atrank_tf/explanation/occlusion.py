"""Occlusion: the effect of leaving out a behavior, a group or a semantic space on the scores of a request.

Attention weights say what was read, not what it did to the score. So the model scores the request again without it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import polars as pl

from atrank_tf.explanation.attention import Explanation
from atrank_tf.layers import SelfAttention, TargetAttention
from atrank_tf.models import Ranker
from atrank_tf.models.inputs import traced
from atrank_tf.schema import PADDING
from atrank_tf.schema.inputs import BEHAVIOR_COLUMNS, candidates_name, history_name

_WEIGHTS = 1 << 22
"""Most attention weights of a space in one batch; limits how many copies of a request are scored together."""


@dataclass(frozen=True, eq=False)
class Occlusion:
    """Effects: the score minus the score without something; above 0 if it spoke for the candidate.

    Glossary: T behaviors and N candidates in the order of the explanation; K semantic spaces.

    Args:
        behaviors: float32 [N, T].
        groups: group -> float32 [N], without all behaviors of the group.
        spaces: "self-attention 1", ... or "target attention" -> float32 [K, N], with the output of a space set to 0.
    """

    behaviors: np.ndarray
    groups: Mapping[str, np.ndarray]
    spaces: Mapping[str, np.ndarray]


class Occluder:
    """Scores requests again without behaviors, groups or semantic spaces.

    Behaviors and groups are left out of what attention reads, not of affinity, which is an input of its own: what the
    counts do to a score is the part "affinity".

    Args:
        model: the model of the explanations. Its weights are changed while a space is left out, so do not use it
            elsewhere meanwhile.
    """

    def __init__(self, model: Ranker) -> None:
        self._model = model
        self._score: dict[str, Callable[..., Any]] = {}

    def occlude(self, explanation: Explanation) -> Occlusion:
        """Returns the effects in an explained request."""
        task, real = explanation.task, explanation.inputs[candidates_name(explanation.task)][0] != PADDING
        whole = self._scores(task, explanation.inputs)
        groups = list(self._model.schema.groups)
        without: list[tuple[str, Any]] = [(behavior.group, behavior.place) for behavior in explanation.behaviors]
        without += [(group, slice(None)) for group in groups]
        drops = (whole - self._scores(task, _copies(explanation.inputs, without)))[:, real]
        behaviors, of_groups = np.split(drops, [len(explanation.behaviors)])
        spaces = {}
        for name, block in _attentions(self._model).items():
            found = []
            for space in range(block.num_spaces):
                with _without(block, space):
                    found.append(whole - self._scores(task, explanation.inputs))
            spaces[name] = np.concatenate(found)[:, real]
        return Occlusion(behaviors.T, dict(zip(groups, of_groups, strict=True)), spaces)

    def _scores(self, task: str, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        if task not in self._score:
            explainer = self._model.explainer(task)
            self._score[task] = traced(keras.Model(explainer.inputs, {"score": explainer.output["score"]}))
        behaviors = sum(inputs[history_name(group, "id")].shape[1] for group in self._model.schema.groups)
        weights = behaviors * max(behaviors, inputs[candidates_name(task)].shape[1])
        rows, step = len(inputs["now"]), max(1, _WEIGHTS // max(1, weights))
        parts = [
            {name: value[start : start + step] for name, value in inputs.items()} for start in range(0, rows, step)
        ]
        return np.concatenate([self._score[task](part)["score"].numpy() for part in parts])


def _copies(inputs: Mapping[str, np.ndarray], without: list[tuple[str, Any]]) -> dict[str, np.ndarray]:
    """Returns a batch with a copy of a request for each (group, places), without these behaviors."""
    copies = {name: np.repeat(value, len(without), axis=0) for name, value in inputs.items()}
    for row, (group, places) in enumerate(without):
        for column in BEHAVIOR_COLUMNS:
            copies[history_name(group, column)][row, places] = PADDING
    return copies


def _attentions(model: Any) -> dict[str, SelfAttention | TargetAttention]:
    """Returns the attention blocks of a model: "self-attention 1", ... and "target attention"."""
    found: dict[str, SelfAttention | TargetAttention] = {}
    for layer in model.layers:
        if isinstance(layer, SelfAttention):
            found[f"self-attention {len(found) + 1}"] = layer
        elif isinstance(layer, TargetAttention):
            found["target attention"] = layer
    return found


@contextmanager
def _without(block: SelfAttention | TargetAttention, space: int) -> Iterator[None]:
    """Context in which a space gives nothing: its values are 0, as all activations map 0 to 0, and so is its mass."""
    values = block.attention.value_kernel
    size = values.shape[1] // block.num_spaces
    cuts: list[tuple[Any, Any]] = [(values, np.s_[:, space * size : (space + 1) * size])]
    if isinstance(block, TargetAttention):
        cuts.append((block.mass_kernel, np.s_[space]))
    whole = [kernel.numpy() for kernel, _ in cuts]
    for (kernel, part), of_all in zip(cuts, whole, strict=True):
        cut = of_all.copy()
        cut[part] = 0
        kernel.assign(cut)
    try:
        yield
    finally:
        for (kernel, _), of_all in zip(cuts, whole, strict=True):
            kernel.assign(of_all)


def attention_agreement(explanation: Explanation, occlusion: Occlusion) -> np.ndarray:
    """Returns for each candidate the rank correlation of attention weights and effects of behaviors, float64 [N].

    It is Spearman's, of the candidate's weights (mean over the spaces) and the absolute effects. NaN for fewer than two
    behaviors, for weights or effects that are all equal, and for a model without target attention.
    """
    count = len(explanation.candidates)
    if not len(explanation.target_attention):
        return np.full(count, np.nan)
    read = explanation.target_attention.mean(axis=0)
    return np.array([spearman(read[n], np.abs(occlusion.behaviors[n])) for n in range(count)])


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the rank correlation of two series, with mean ranks for ties; NaN where one of them is constant.

    Reference:
        Spearman (1904): Pearson's correlation of ranks.
    """
    both = pl.DataFrame({"first": first, "second": second}).cast(pl.Float64)
    return float(both.select(pl.corr("first", "second", method="spearman")).item())
