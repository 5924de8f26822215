"""Scores of a request with attention weights and parts, without padding, and with names instead of indices."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from atrank_tf.explanation.affinity_words import affinity_words
from atrank_tf.explanation.names import Names, Thing
from atrank_tf.explanation.requests import Request
from atrank_tf.models import Ranker
from atrank_tf.models.explain import PART
from atrank_tf.models.inputs import traced
from atrank_tf.schema import PADDING
from atrank_tf.schema.affinity import affinity_features
from atrank_tf.schema.inputs import affinity_name, candidates_name


class Behavior(NamedTuple):
    """A behavior of the user; `place` is its index in the inputs of its group."""

    group: str
    action: str
    timestamp: int
    thing: Thing
    place: int


@dataclass(frozen=True, eq=False)
class Explanation:
    """A request with its scores, their parts, and attention weights.

    Glossary: T behaviors of all groups, in time order; N candidates, in the order of the request; K semantic spaces.

    Args:
        user: the user's id.
        task: the task.
        group: the group whose objects the task ranks.
        now: time of the request, Unix seconds.
        behaviors: T behaviors; those of one timestamp in the order of the schema's groups and of the log.
        candidates: N candidates.
        labels: float32 [N], 1 for chosen candidates; None if unknown.
        score: float32 [N], logits.
        parts: name -> float32 [N]; their sum is `score`.
        affinity: N lists of texts: what the user did before with things like the candidate, as `affinity_words` tells
            it. Empty for a model that does not read affinity.
        self_attention: float32 [blocks, K, T, T]; row t has the weights of behavior t over all, which sum to less
            than 1: the rest is the sink's. No blocks if the model has none.
        target_attention: float32 [K, N, T]; row n has the weights of candidate n over the behaviors, likewise. K = 0
            for a model without target attention.
        inputs: inputs of the model, a batch of one request.
    """

    user: str
    task: str
    group: str
    now: int
    behaviors: tuple[Behavior, ...]
    candidates: tuple[Thing, ...]
    labels: np.ndarray | None
    score: np.ndarray
    parts: Mapping[str, np.ndarray]
    affinity: tuple[tuple[str, ...], ...]
    self_attention: np.ndarray
    target_attention: np.ndarray
    inputs: Mapping[str, np.ndarray]


class Explainer:
    """Explains requests by one forward pass of the model each.

    Args:
        model: a trained model.
        names: names of its objects, actions and values.
    """

    def __init__(self, model: Ranker, names: Names) -> None:
        self.model = model
        self.names = names
        self._functions: dict[str, Callable[..., Any]] = {}

    def outputs(self, task: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Returns the outputs of `Ranker.explainer` for a batch; other inputs in it are ignored."""
        if task not in self._functions:
            self._functions[task] = traced(self.model.explainer(task))
        return {name: value.numpy() for name, value in self._functions[task](inputs).items()}

    def explain(
        self, task: str, inputs: Mapping[str, Any], users: Sequence[str], labels: np.ndarray | None = None
    ) -> list[Explanation]:
        """Explains each request of a batch.

        Args:
            task: the task.
            inputs: the model's inputs of B requests, as `atrank_tf.data.requests` gives them.
            users: B ids.
            labels: float [B, N], if known.

        Returns:
            B explanations.
        """
        batch = {name: np.asarray(value) for name, value in inputs.items()}
        found = self.outputs(task, batch)
        return [
            self._one(
                task,
                {name: value[row : row + 1] for name, value in batch.items()},
                {name: value[row] for name, value in found.items()},
                user,
                None if labels is None else np.asarray(labels)[row],
            )
            for row, user in enumerate(users)
        ]

    def explain_one(self, request: Request) -> Explanation:
        """Explains one request of one user."""
        [found] = self.explain(request.task, request.inputs, [request.user], request.labels)
        return found

    def _one(
        self, task: str, inputs: dict[str, np.ndarray], found: dict[str, np.ndarray], user: str, labels: Any
    ) -> Explanation:
        schema, groups = self.names.schema, list(self.names.schema.groups)
        order = _behavior_order(found)
        behaviors = []
        first = np.searchsorted(found["behavior_group"], np.arange(len(groups)))
        for place in order:
            group = groups[found["behavior_group"][place]]
            behaviors.append(
                Behavior(
                    group=group,
                    action=self.names.action(group, int(found["behavior_action"][place])),
                    timestamp=int(found["behavior_timestamp"][place]),
                    thing=self.names.things(schema.groups[group].entity, found["behavior_id"][[place]])[0],
                    place=int(place - first[found["behavior_group"][place]]),
                )
            )
        rows = inputs[candidates_name(task)][0]
        real = np.flatnonzero(rows != PADDING)
        entity = schema.entity_of(task)
        nothing = np.zeros((0, 0, 0, 0), np.float32)
        target = found.get("target_attention", np.zeros((0, len(rows), len(found["behavior_id"])), np.float32))
        told: tuple[tuple[str, ...], ...] = ((),) * len(real)
        if affinity_features(self.model.schema, task):
            told = tuple(affinity_words(row, self.model.schema, task) for row in inputs[affinity_name(task)][0, real])
        return Explanation(
            user=user,
            task=task,
            group=schema.tasks[task].group,
            now=int(inputs["now"][0]),
            behaviors=tuple(behaviors),
            candidates=tuple(self.names.things(entity, rows[real])),
            labels=None if labels is None else labels[real],
            score=found["score"][real],
            parts={name.removeprefix(PART): v[real] for name, v in found.items() if name.startswith(PART)},
            affinity=told,
            self_attention=found["self_attention"][..., order, :][..., order] if "self_attention" in found else nothing,
            target_attention=target[:, real][..., order],
            inputs=inputs,
        )


def _behavior_order(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the indices of real behaviors in time order, int [T], for one request of `Explainer.outputs`."""
    real = np.flatnonzero(found["behavior_id"] != PADDING)
    return real[np.argsort(found["behavior_timestamp"][real], kind="stable")]
