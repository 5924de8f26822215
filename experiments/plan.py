"""The plan of `make experiments`: comparisons, their models, and one run for each model and seed."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atrank_tf.schema import read

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Model:
    """An experiment file with changes; or LightGBM in place of its model.

    Args:
        file: experiment file of this folder.
        change: section -> key -> value, overrides the file's.
        schema: schema file; the comparison's by default. Groups, tasks and split must be the same, so that the requests
            of the evaluation are the same.
        against: the model that this one is compared with; the comparison's by default.
        trees: whether LightGBM takes the place of the model, on what the model reads beside embeddings
            (`atrank_tf.evaluation.LightGBM`).
    """

    file: str
    schema: str = ""
    against: str = ""
    trees: bool = False
    change: Mapping[str, Any] = field(default_factory=dict)

    def experiment(self, seed: int) -> dict[str, Any]:
        """Returns the experiment as nested dicts."""
        raw = tomllib.loads((FOLDER / self.file).read_text())
        for section, keys in self.change.items():
            raw[section] = raw.get(section, {}) | keys
        raw["training"] = raw.get("training", {}) | {"seed": seed}
        return raw


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Models that are compared on the same records.

    Args:
        title: what is compared.
        logs: a logs folder, from the top of the repository, or the name of ready logs; for a simulated market, a folder
            under that of all runs.
        schema: schema file, from the top of the repository.
        seeds: one run for each.
        models: by the name that the results show.
        against: the model that the others are compared with.
        note: text under the heading of the page.
        reach: a model; the page shows the seconds to its best validation AUC. "" for none.
        simulated_users: users of the simulated market in the logs; 0 for other logs.
        candidates: "task" or "catalog": what is ranked, as the flag of `evaluate` says.
        exclude_history: with "catalog", what the user did before in the task's own group is not ranked.

    Raises:
        ValueError: candidates of another name.
    """

    title: str
    logs: str
    schema: str
    seeds: tuple[int, ...]
    models: Mapping[str, Model]
    against: str
    note: str = ""
    reach: str = ""
    simulated_users: int = 0
    candidates: str = "task"
    exclude_history: bool = False

    def __post_init__(self) -> None:
        if self.candidates not in ("task", "catalog"):
            raise ValueError(f'Expected candidates = "task" or "catalog". Received: {self.candidates!r}.')

    @property
    def ranks_catalog(self) -> bool:
        """Whether all objects are ranked."""
        return self.candidates == "catalog"

    @property
    def metric(self) -> str:
        """The metric by which models are compared."""
        return "ndcg@10" if self.ranks_catalog else "user_auc"

    def logs_folder(self, build: Path) -> str:
        """Returns the logs folder, or the name of ready logs; `build` is the folder of all runs."""
        return str(build / self.logs) if self.simulated_users else self.logs


@dataclass(frozen=True)
class Run:
    """One training; `folder` is its path under the folder of all runs."""

    comparison: str
    model: str
    seed: int

    @property
    def folder(self) -> str:
        return f"{self.comparison}/{re.sub(r'[^a-z0-9]+', '_', self.model.lower())}/{self.seed}"

    def records(self, plan: Mapping[str, Comparison]) -> str:
        """Returns the path of its records under the folder of all runs, one for each schema of the comparison."""
        return f"{self.comparison}/records/{Path(plan[self.comparison].models[self.model].schema).name.split('.')[0]}"

    def compared_with(self, plan: Mapping[str, Comparison]) -> "Run":
        """Returns the run with the same seed of the model that this one is compared with."""
        return Run(self.comparison, plan[self.comparison].models[self.model].against, self.seed)

    def __str__(self) -> str:
        return f"{self.comparison}: {self.model}, seed {self.seed}"


def load_plan(path: Path = FOLDER / "plan.toml") -> dict[str, Comparison]:
    """Reads the plan.

    Raises:
        ValueError: a key or value is wrong, or `against` names no model of the comparison.
    """
    raw = tomllib.loads(path.read_text())
    changes = {}
    for name, comparison in raw["comparisons"].items():
        for model, keys in comparison["models"].items():
            changes[name, model] = keys.pop("change", {})
    plan = {}
    for name, keys in raw["comparisons"].items():
        comparison = read(Comparison, keys, f"comparisons.{name}")
        models = {
            model: Model(
                file=each.file,
                schema=each.schema or comparison.schema,
                against=each.against or comparison.against,
                trees=each.trees,
                change=changes[name, model],
            )
            for model, each in comparison.models.items()
        }
        for model in models.values():
            if model.against not in models:
                raise ValueError(f"Expected a model of [comparisons.{name}] for against. Received: {model.against!r}.")
        plan[name] = Comparison(**{**vars(comparison), "models": models})
    return plan


def runs(plan: Mapping[str, Comparison]) -> Iterator[Run]:
    """Yields all runs, the first seed of every model first, so that early results compare all models."""
    for turn in range(max(len(comparison.seeds) for comparison in plan.values())):
        for name, comparison in plan.items():
            if turn < len(comparison.seeds):
                for model in comparison.models:
                    yield Run(name, model, comparison.seeds[turn])
