"""Writes the experiment file for a plan: settings that were measured on data of its kind, scaled to its size."""

from typing import Any

import polars as pl

from atrank_tf.description.behaviors import history_length
from atrank_tf.description.plans import Plan
from atrank_tf.schema import toml_value

_READ = {"adam": 7_000_000, "muon": 3_000_000}
"""Optimizer -> behaviors that a training reads in all, each as often as there are epochs."""
_TARGETS = {"adam": 150, "muon": 300}
"""Optimizer -> targets that an epoch draws of a user who has more, or so many more, in fifties, that it draws
`_TARGETS_OF_ALL` of all users, where there are these: heads that read many counts need the steps."""
_TARGETS_OF_ALL = 200_000
_MODEL: dict[str, Any] = {"name": "timeline_atrank", "hidden_dim": 64, "num_spaces": 4, "intermediate_dim": 64}
_TRAINING: dict[str, Any] = {"learning_rate": 1e-3, "clip_norm": 5.0, "seed": 1}

RECIPES: dict[str, tuple[str, int, dict[str, dict[str, Any]]]] = {
    "repeats": (
        "Users come back to the same things: settings of experiments/complete_journey.toml.",
        12,
        {
            "model": {"dropout": 0.2, "hidden_units": [256, 128, 64], "item_bias": False},
            "batching": {"negatives": 3},
            "training": {
                **{"optimizer": "muon", "learning_rate": 2e-3, "warmup": 0.05},
                **{"decay_at": [0.4, 0.6, 0.8, 0.9], "decay": 0.4, "l2": 1e-5},
            },
        },
    ),
    "funnel": (
        "Some behaviors lead to others, as views to purchases: settings of experiments/taobao.toml.",
        12,
        {
            "model": {"dropout": 0.2, "hidden_units": [128, 64], "item_bias": False},
            "batching": {"correct_sampling": True},
            "training": {"loss": "listwise", "decay_at": [0.3], "decay": 0.5, "l2": 5e-5},
        },
    ),
    "once": (
        "Things are chosen once: settings of experiments/amazon_sports_best.toml.",
        24,
        {
            "model": {
                **{"hidden_dim": 128, "num_spaces": 8, "intermediate_dim": 32, "dropout": 0.1, "id_dropout": 0.2},
                "hidden_units": [32],
            },
            "batching": {"negatives": 4},
            "training": {"learning_rate": 2e-3, "warmup": 0.05, "decay_at": [0.3], "decay": 0.5},
        },
    ),
    "one of a list": (
        "Lists of which one is chosen: settings of experiments/hotel_lists.toml.",
        12,
        {
            "model": {"dropout": 0.4, "hidden_units": [256, 128], "normalize_counts": True, "item_bias": False},
            "batching": {},
            "training": {
                **{"loss": "listwise", "learning_rate": 2e-3, "warmup": 0.05, "decay_at": [0.5], "decay": 0.4},
                **{"l2": 1e-4, "weight_decay": 5.0},
            },
        },
    ),
    "several of a list": (
        "Lists of which several or none are chosen: settings of experiments/market_timeline.toml.",
        12,
        {
            "model": {"dropout": 0.1, "hidden_units": [64, 32]},
            "batching": {},
            "training": {"learning_rate": 2e-3, "decay_at": [0.6, 0.85], "decay": 0.2},
        },
    ),
}
_AVERAGED = {"funnel": 0.5, "once": 0.6, "one of a list": 0.4}
"""Recipes whose weights are averaged from this share of the training on."""
_L2_OF_AN_OBJECT, _L2_OF_ALL, _MOST_L2 = 5e-3, 100.0, 3e-3
"""`l2` of the recipe "once" is the first / behaviors of an object, at most the second / behaviors, and the third."""
_SMALL = 500_000
"""Logs of fewer behaviors are small."""
_OF_SMALL: dict[str, Any] = {"warmup": 0.05, "decay_at": [0.5], "decay": 0.4, "l2": 1e-4, "average_from": 0.4}
"""What recipes of a smaller fixed `l2` have for fewer than `_SMALL` behaviors, which they would learn by heart."""
_FEW_FOR_IDS, _ID_DROPOUT = 15, 0.5
"""Small logs with fewer behaviors of an object than the first drop the second of the ids."""


def experiment_text(plan: Plan) -> str:
    """Returns the text of `experiment.toml`."""
    kind = _kind(plan)
    why, most, settings = RECIPES[kind]
    rows = plan.behaviors
    per_object = plan.behaviors_per_object
    small = rows < _SMALL and kind != "once" and settings["training"].get("l2", 0.0) < _OF_SMALL["l2"]
    optimizer = "adam" if small else settings["training"].get("optimizer", "adam")
    read, targets = _READ[optimizer], _targets_per_user(plan, _TARGETS[optimizer])
    epochs = min(max(round(read / rows), 2), most)
    tokens = 1024 if rows < 3_000_000 else 4096 if rows < 30_000_000 else 8192
    if kind == "one of a list":
        tokens *= 2
    model = _MODEL | settings["model"] | {"ranking": ["dot", "dnn"]}
    batching = {"batch_tokens": tokens} | settings["batching"]
    longest = max(history_length(task.positives) for task in plan.tasks)
    if longest > targets:
        batching["targets_per_user"] = targets
    elif kind == "repeats":  # Fewer negatives are for more targets, and these are all.
        batching.pop("negatives")
    per_user = _evaluated_per_user(plan)
    if per_user:
        batching["evaluation_targets_per_user"] = per_user
    training: dict[str, Any] = {"epochs": epochs} | _TRAINING | settings["training"]
    if kind in _AVERAGED and epochs >= 5:
        training["average_from"] = _AVERAGED[kind]
    if kind == "once":
        training["l2"] = min(float(f"{min(_L2_OF_AN_OBJECT / per_object, _L2_OF_ALL / rows):.0e}"), _MOST_L2)
    if small:
        training |= _OF_SMALL
        training.pop("optimizer", None)  # Muon gains nothing there.
        model["dropout"] = 0.2
    few_for_ids = (small or kind == "once") and rows < _SMALL and per_object < _FEW_FOR_IDS
    if few_for_ids:
        model["id_dropout"] = _ID_DROPOUT
    lines = [
        "# ATRank trained on whole timelines; docs/experiment.md has every key.",
        f"# {why}",
        f"# {rows:,} behaviors, so {epochs} epochs: {read // 1_000_000} million are read in all, in at most {most}.",
    ]
    if kind == "once" or few_for_ids:
        lines.append(f"# {per_object:.1f} behaviors of an object teach its embedding:")
    if kind == "once":
        lines.append(
            f"# - so l2 is {_L2_OF_AN_OBJECT:g} / that, at most {_L2_OF_ALL:g} / all behaviors and {_MOST_L2:g}."
        )
    if few_for_ids:
        lines.append("# - few, so half of the ids are dropped in training, and features and counts say more.")
    if small:
        lines.append(
            "# Few, so that models overfit: with more l2 and dropout, and the weights of the last epochs averaged."
        )
    if batching.get("correct_sampling"):
        lines.append(
            "# correct_sampling: scores rank the whole catalog (evaluate --candidates=catalog). Take it out, and"
        )
        lines.append("# loss too, if candidates are always such as negatives draws.")
    if "targets_per_user" in batching:
        lines.append(
            f"# 5 of 100 users have more than {longest:,} targets: {targets} of each are drawn anew in each epoch."
        )
        if kind == "repeats":
            lines.append("# With fewer negatives than evaluation has: more targets in the same time say more.")
    if per_user:
        lines.append(f"# Validation and test take {per_user} targets of each user: enough to tell epochs apart.")
    for name, entries in (("model", model), ("batching", batching), ("training", training)):
        lines += ["", f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in entries.items())]
    return "\n".join(lines) + "\n"


def _kind(plan: Plan) -> str:
    kinds = [task.kind for task in plan.tasks]
    for kind in ("repeats", "funnel", "once"):
        if kind in kinds:
            return kind
    one = min(task.one_positive for task in plan.tasks)
    return "one of a list" if one > 0.8 else "several of a list"


def _targets_per_user(plan: Plan, targets: int) -> int:
    """Returns how many targets an epoch draws of each user: so many, or more until they are enough of all."""
    of_users = max((task.positives["user"].value_counts()["count"] for task in plan.tasks), key=pl.Series.sum)
    while of_users.clip(upper_bound=targets).sum() < min(_TARGETS_OF_ALL, of_users.sum()):
        targets += 50
    return targets


def _evaluated_per_user(plan: Plan) -> int:
    """Returns how many targets of a user are evaluated so that there are about 10,000 of a task; 0 for all."""
    if plan.cut is None:
        return 0
    most = max(validation for _, validation, _ in plan.cut.parts.values())
    if most < 30_000:
        return 0
    users = max(task.positives["user"].n_unique() for task in plan.tasks)
    return max(round(10_000 / users), 1)
