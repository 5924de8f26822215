"""The experiment file: which model, fed how, trained how."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from atrank_tf.data import Part
from atrank_tf.experiment import Batching, RankerConfig
from atrank_tf.experiment_keys import REMOVED_KEYS, RENAMED_KEYS
from atrank_tf.losses import ListwiseCrossentropy, PairwiseCrossentropy, PointwiseCrossentropy
from atrank_tf.models import MODELS
from atrank_tf.schema import check_sections, dump_toml, load_toml, plain, read, suggestion
from atrank_tf.training.settings_check import check_settings

T = TypeVar("T")
LOSSES = {"pointwise": PointwiseCrossentropy, "pairwise": PairwiseCrossentropy, "listwise": ListwiseCrossentropy}
"""Losses by the name that an experiment file gives: `[training] loss`."""
_LARGEST_SEED = 2**32 - 1
"""NumPy takes no larger one."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model is trained.

    Args:
        loss: what is made small, a name of `LOSSES`: "pointwise" (each candidate by itself, the paper), "pairwise"
            (each positive beside each negative of its request, BPR) or "listwise" (each positive among all candidates
            of its request, softmax).
        epochs: most epochs.
        learning_rate: of Adam, at the start.
        warmup: share of the training, in 0..1, in which the learning rate rises from 0 to `learning_rate`, evenly.
        l2: weight of the squared entries of the embedding tables (item biases left out) in the loss; reaches rows that
            no batch reads, too.
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
    epochs: int = 10
    learning_rate: float = 1e-3
    warmup: float = 0.0
    l2: float = 0.0
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

    @property
    def part(self) -> Part:
        """Which targets are trained on."""
        return Part.TRAINING_AND_VALIDATION if self.include_validation else Part.TRAINING

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"Unknown loss {self.loss!r} in [training]. {suggestion(self.loss, LOSSES)}")
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
        for name in ("epochs", "l2", "clip_norm", "patience", "seed"):
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


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that a training depends on beside the records.

    Args:
        name: the model's name in `atrank_tf.models.MODELS`.
        model: the model's config.
        batching: how batches are made.
        training: how the model is trained.
    """

    name: str
    model: RankerConfig
    batching: Batching = field(default_factory=Batching)
    training: Training = field(default_factory=Training)


def load_experiment(path: str) -> Experiment:
    """Reads an experiment file: TOML with [model] (`name` and the keys of its config), [batching] and [training].

    Raises:
        ValueError: a key or value is wrong, or has no effect; names the key, its place, the nearest valid one and the
            file.
        FileNotFoundError: there is no such file.
    """
    raw = load_toml(path)
    try:
        experiment = experiment_from_dict(raw)
        check_settings(experiment)
        return experiment
    except ValueError as error:
        raise ValueError(f"{error} (in {path})") from error


def dump_experiment(experiment: Experiment) -> str:
    """Returns the TOML text of an experiment with every key, defaults included.

    `load_experiment` of that text gives an equal experiment.
    """
    tables = {name: asdict(getattr(experiment, name)) for name in ("model", "batching", "training")}
    return dump_toml({**tables, "model": {"name": experiment.name, **tables["model"]}})


def experiment_from_dict(raw: Mapping[str, Any]) -> Experiment:
    """Builds an experiment from nested dicts, as in an experiment file."""
    check_sections(raw)
    model = raw.get("model")
    if not isinstance(model, Mapping) or "name" not in model:
        raise ValueError(f'Expected [model] with name = "...", as name = "atrank". {suggestion("", MODELS)}')
    name = model["name"]
    if not isinstance(name, str) or name not in MODELS:
        raise ValueError(f"Unknown model {name!r} in [model]. {suggestion(str(name), MODELS)}")
    settings = {**raw, "model": {key: value for key, value in model.items() if key != "name"}}
    kinds: dict[str, Any] = {"model": MODELS[name].Config, "batching": Batching, "training": Training}
    _check_places(settings, kinds)
    return Experiment(
        name=name, **{section: _read(kind, settings.get(section, {}), section) for section, kind in kinds.items()}
    )


def experiment_to_dict(experiment: Experiment) -> dict[str, Any]:
    """Returns the nested dict of an experiment with every key; `experiment_from_dict` of it gives an equal one."""
    return {
        "model": {"name": experiment.name, **plain(experiment.model, defaults=True)},
        "batching": plain(experiment.batching, defaults=True),
        "training": plain(experiment.training, defaults=True),
    }


def _check_places(settings: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Raises ValueError if a key is not of its section, but of another one, or of another model."""
    sections = {f"[{section}]": kind for section, kind in kinds.items()}
    models = {f'the model "{name}"': model.Config for name, model in MODELS.items()}
    for section, kind in kinds.items():
        for key in settings.get(section, {}) if isinstance(settings.get(section, {}), Mapping) else ():
            owners = [owner for owner, other in (sections | models).items() if _has(other, key)]
            if owners and not _has(kind, key):
                raise ValueError(f'Unknown key "{key}" in [{section}]. It is a key of {owners[0]}.')


def _has(kind: Any, key: str) -> bool:
    return key in {each.name for each in fields(kind)}


def _read(kind: type[T], raw: Any, section: str) -> T:
    """`read`, but of a key that was removed it is told why, and of one that was renamed how it is called now."""
    for key, name in RENAMED_KEYS.items():
        if section == "model" and isinstance(raw, Mapping) and key in raw:
            raise ValueError(f'Unknown key "{key}" in [model]: it is called "{name}" now.')
    for key, reason in REMOVED_KEYS.get(section, {}).items():
        if isinstance(raw, Mapping) and key in raw:
            raise ValueError(
                f'Unknown key "{key}" in [{section}]: it was removed, because {reason}. Delete it from the file; see '
                '"Tried, and left out" in docs/architecture.md.'
            )
    return read(kind, raw, section)
