"""The section `[training]` of an experiment file: how a model is trained."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from atrank_tf.schema import suggestion

LOSSES = ("pointwise", "pairwise", "listwise")
"""Losses that an experiment may name; `training.new_model` has their classes."""
INITIALIZERS = ("co_occurrence", "random")
"""What embedding tables of ids may begin with."""
OPTIMIZERS = ("adam", "muon")
"""Optimizers that an experiment may name; `training.new_model` has their classes."""
_LARGEST_SEED = 2**32 - 1
"""NumPy takes no larger one."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model is trained.

    Args:
        loss: what is made small, a name of `LOSSES`: "pointwise" (each candidate by itself, the paper), "pairwise"
            (each positive beside each negative of its request, BPR) or "listwise" (each positive among all candidates
            of its request, softmax).
        embeddings_initializer: what embedding tables of ids begin with: "random", or "co_occurrence", vectors that are
            alike where the same users did something with both, in groups that the model reads and does not predict
            (`data.co_occurrence`). Where there is no such group, both are the same.
        optimizer: what takes the steps, a name of `OPTIMIZERS`: "adam" (`SparseAdam`), or "muon" (weight matrices by
            Muon, all else by Adam: `SparseMuon`).
        epochs: most epochs.
        learning_rate: at the start.
        warmup: share of the training, in 0..1, in which the learning rate rises from 0 to `learning_rate`, evenly.
        l2: weight of the squared entries of the embedding tables (item biases left out) in the loss; reaches rows that
            no batch reads, too.
        weight_decay: of weight matrices, embedding tables left out: in each step they are multiplied by
            1 - learning rate * weight_decay (AdamW, arXiv 1711.05101).
        decay_at: shares of the training, ascending in 0..1, at which the learning rate is multiplied by `decay`.
        decay: factor of one decay.
        average_from: share of the training, in 0..1, after which the weights at the ends of epochs are averaged; their
            mean is what is validated and kept (`AverageWeights`). 0 for no averaging.
        clip_norm: largest global norm of the gradient; 0 for no clipping.
        task_weights: task -> factor of its loss; 1 for a task that is not named.
        patience: epochs without a better validation AUC after which training stops; 0 for never.
        include_validation: whether the targets of validation are trained on too: a last training, when everything has
            been chosen. Nothing is validated then, and the model of the last epoch is kept.
        slices: into how many slices of users a batch is cut, computed side by side: as many as there are cores, so that
            each core has one. Losses are those of the whole batch; dropout is drawn for each slice.
        seed: of weights, order, dropout and negatives.
    """

    loss: str = "pointwise"
    embeddings_initializer: str = "co_occurrence"
    optimizer: str = "adam"
    epochs: int = 10
    learning_rate: float = 1e-3
    warmup: float = 0.0
    l2: float = 0.0
    weight_decay: float = 0.0
    decay_at: tuple[float, ...] = ()
    decay: float = 0.1
    average_from: float = 0.0
    clip_norm: float = 0.0
    task_weights: Mapping[str, float] = field(default_factory=dict)
    patience: int = 0
    include_validation: bool = False
    slices: int = 1
    seed: int = 1

    @property
    def first_averaged(self) -> int | None:
        """The first epoch whose end is averaged, from 0; None for no averaging."""
        return math.ceil(round(self.average_from * self.epochs, 9)) if self.average_from and self.epochs else None

    def __post_init__(self) -> None:
        for name, valid in (
            ("loss", LOSSES),
            ("embeddings_initializer", INITIALIZERS),
            ("optimizer", OPTIMIZERS),
        ):
            value = getattr(self, name)
            if value not in valid:
                raise ValueError(f"Unknown {name} {value!r} in [training]. {suggestion(value, valid)}")
        for name in ("slices", "learning_rate", "decay"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive. Received: {name}={getattr(self, name)} in [training].")
        for name in ("warmup", "average_from"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    "Expected a share of the training, at least 0 and below 1. Received: "
                    f"{name}={getattr(self, name)} in [training]."
                )
        if self.first_averaged is not None and self.first_averaged > self.epochs - 2:
            raise ValueError(
                "Expected two epochs or more to average. Received: "
                f"average_from={self.average_from} of epochs={self.epochs} in [training]."
            )
        for name in ("epochs", "l2", "weight_decay", "clip_norm", "patience", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative. Received: {name}={getattr(self, name)} in [training].")
        if self.seed > _LARGEST_SEED:
            raise ValueError(f"seed must be at most {_LARGEST_SEED}. Received: seed={self.seed} in [training].")
        for task, weight in self.task_weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(
                    f"A task's weight must not be negative. Received: {task}={weight} in [training.task_weights]."
                )
        if self.patience and self.include_validation:
            raise ValueError(
                "patience needs a validation: it does not go with include_validation. Received: "
                f"patience={self.patience} in [training]."
            )
        if list(self.decay_at) != sorted(set(self.decay_at)) or any(not 0 < at < 1 for at in self.decay_at):
            raise ValueError(
                f"Expected ascending shares between 0 and 1. Received: decay_at={list(self.decay_at)} in [training]."
            )
