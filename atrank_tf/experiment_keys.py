"""Keys and models of experiment files, known without importing what they name: a misspelt one is told at once."""

import ast
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from atrank_tf.experiment import MODEL_CONFIGS
from atrank_tf.schema import suggestion

REMOVED_KEYS = {
    "training": {
        "divide_tables_of": "tables sharded by hand cost fifty workers 0.4 seconds of messages in each step",
        "start_at_popularity": "a target was in its own count; the popularity that models read says more without that",
        "xla": "XLA made training a third slower on every CPU it was measured on",
    },
    "model": {
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


def check_keys(raw: Mapping[str, Any]) -> None:
    """Checks that each key of an experiment file is one of some model or section, and that there is its model.

    `training.load_experiment` checks everything else; it needs TensorFlow, whose import takes seconds.

    Raises:
        ValueError: there is no such key or model anywhere; names it, its section and the nearest valid one.
    """
    model = raw.get("model")
    name = model.get("name") if isinstance(model, Mapping) else None
    if isinstance(name, str) and name not in model_names():
        raise ValueError(f"Unknown model {name!r} in [model]. {suggestion(name, model_names())}")
    names = key_names()
    known = set(RENAMED_KEYS).union(*names.values(), *REMOVED_KEYS.values())
    for section, valid in names.items():
        for key in raw[section] if isinstance(raw.get(section), Mapping) else ():
            if key not in known:
                raise ValueError(f'Unknown key "{key}" in [{section}]. {suggestion(key, valid)}')


def key_names() -> dict[str, set[str]]:
    """Returns the keys that each section may have, `[model]` those of all models.

    Those of other sections are from the source of their classes: to import these would be to import TensorFlow.
    """
    rooms = Path(__file__).parent
    configs = ({field.name for field in fields(config)} for config in MODEL_CONFIGS.values())
    return {
        "model": {"name"}.union(*configs),
        "batching": _fields(rooms / "experiment/batching.py", "Batching"),
        "training": _fields(rooms / "training/experiment.py", "Training"),
    }


def model_names() -> list[str]:
    """Returns the names that `[model] name` may have."""
    return list(MODEL_CONFIGS)


def _fields(path: Path, ending: str) -> set[str]:
    """Returns the fields of the classes in a file whose names end so."""
    return {
        field.target.id
        for kind in ast.parse(path.read_text()).body
        if isinstance(kind, ast.ClassDef) and kind.name.endswith(ending)
        for field in kind.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }
