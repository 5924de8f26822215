"""The experiment file: which model, fed how, trained how."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from atrank_tf.experiment.batching import Batching
from atrank_tf.experiment.model_configs import MODEL_CONFIGS, RankerConfig
from atrank_tf.experiment.settings_check import check_settings
from atrank_tf.experiment.training import Training
from atrank_tf.schema import check_sections, dump_toml, load_toml, plain, read, suggestion

T = TypeVar("T")
REMOVED_KEYS = {
    "training": {
        "divide_tables_of": "tables sharded by hand cost fifty workers 0.4 seconds of messages in each step",
        "start_at_popularity": "a target was in its own count; the popularity that models read says more without that",
        "xla": "XLA made training a third slower on every CPU it was measured on",
    },
    "model": {
        "attention_sink": "every attention has sinks",
        "task_uncertainty": "losses weighed by a learned uncertainty ranked no task better",
        "task_tables": "a table of its own for each task ranked no task better",
    },
}
"""Section -> key that experiment files once had -> why it is gone."""
RENAMED_KEYS = {
    "width": "hidden_dim",
    "spaces": "num_spaces",
    "blocks": "num_blocks",
    "feed_forward": "intermediate_dim",
    "hidden": "hidden_units",
    "heads": "num_heads",
    "unit": "attention_units",
}
"""Key that [model] once had -> what it is called now."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that a training depends on beside the records.

    Args:
        name: the model's name in `MODEL_CONFIGS`.
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
    return dump_toml(experiment_to_dict(experiment))


def experiment_from_dict(raw: Mapping[str, Any]) -> Experiment:
    """Builds an experiment from nested dicts, as in an experiment file."""
    check_sections(raw)
    model = raw.get("model")
    if not isinstance(model, Mapping) or "name" not in model:
        raise ValueError(f'Expected [model] with name = "...", as name = "atrank". {suggestion("", MODEL_CONFIGS)}')
    name = model["name"]
    if not isinstance(name, str) or name not in MODEL_CONFIGS:
        raise ValueError(f"Unknown model {name!r} in [model]. {suggestion(str(name), MODEL_CONFIGS)}")
    settings = {**raw, "model": {key: value for key, value in model.items() if key != "name"}}
    kinds: dict[str, Any] = {"model": MODEL_CONFIGS[name], "batching": Batching, "training": Training}
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
    models = {f'the model "{name}"': config for name, config in MODEL_CONFIGS.items()}
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
                "docs/tried.md."
            )
    return read(kind, raw, section)
