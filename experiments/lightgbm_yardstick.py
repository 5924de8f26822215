"""LightGBM on the numbers that a model's ranking heads read beside embeddings: what no embedding needs to know.

    python experiments/lightgbm_yardstick.py --records=DIR --config=experiments/complete_journey.toml --scores=PATH

It learns from the training requests of one epoch, stops where validation AUC is best, and scores the same requests of
validation and test as `evaluate`. It writes PATH_validation.parquet and PATH_test.parquet, for `evaluate --against`.
Needs the extra `experiments`.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from atrank_tf import Records, command, evaluation_batches, training_batches
from atrank_tf.data import Batching, Part
from atrank_tf.evaluation import AskedRequests, evaluate, metrics_table, score_requests, write_scores
from atrank_tf.models import RankerConfig
from atrank_tf.models.candidate_counts import CandidateCounts
from atrank_tf.models.list_numbers import ListNumbers
from atrank_tf.models.object_embedder import ObjectEmbedder
from atrank_tf.schema import Features
from atrank_tf.schema.affinity import AffinityFeature, affinity_features
from atrank_tf.schema.inputs import affinity_name, candidates_name, context_name, profile_name
from atrank_tf.training import load_experiment

_RECORDS = flags.DEFINE_string("records", None, "Records folder.")
_CONFIG = flags.DEFINE_string("config", None, "Experiment file: says which groups, tasks and batches.")
_SCORES = flags.DEFINE_string("scores", None, "Where the files of scores go: how their names begin.")

PARAMETERS = {
    "objective": "binary",
    "metric": "auc",
    "num_leaves": 31,
    "learning_rate": 0.05,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
MOST_TREES, PATIENCE = 2000, 40


class Numbers:
    """What is known of each candidate: affinity, recent popularity, its place in its list, the context, and the user.

    Values of a categorical column are numbers of rows of its table, a column for each where there may be several.

    Attributes:
        names: of the F numbers.
        categorical: which of them are categories.
    """

    def __init__(self, records: Records, task: str) -> None:
        schema, self._task = records.schema, task
        spec = schema.tasks[task]
        self._counts = CandidateCounts(schema, RankerConfig(ranking=("dnn",), affinity=False), [task])
        self._counts.load_popularity(records, Part.TRAINING, lambda array: array)
        objects = ObjectEmbedder(schema, id_dropout=0.0)
        objects.load_catalogs(records.catalogs)
        self._lists = ListNumbers(schema, RankerConfig(ranking=("dnn",)), [task], objects)
        self._context = [context_name(task, column) for column in (*spec.context.features, *spec.context.dense)]
        self._user = [profile_name(column) for column in (*schema.user.features, *schema.user.dense)]
        affinity = [_name(feature) for feature in affinity_features(schema, task)]
        self._affinity = [affinity_name(task)] if affinity else []
        counted = [*self._counts.names(task), *self._lists.names(task)]
        columns = [*_columns(spec.context, task), *_columns(schema.user, "user")]
        self.names = [*affinity, *counted, *(name for name, _ in columns)]
        first = len(affinity) + len(counted)
        self.categorical = [first + place for place, (_, is_category) in enumerate(columns) if is_category]

    def __call__(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Returns the numbers of the candidates of a batch, float32 [B, N, F]."""
        candidates = inputs[candidates_name(self._task)]
        requests, width = candidates.shape
        found = [inputs[name] for name in self._affinity]
        found.append(self._counts.popularity(self._task, candidates, inputs["now"]))
        lists = self._lists(self._task, inputs)
        found += [] if lists is None else [lists]
        found += [np.reshape(inputs[name], (requests, width, -1)) for name in self._context]
        for name in self._user:  # The same for all candidates.
            values = np.reshape(inputs[name], (requests, 1, -1))
            found.append(np.broadcast_to(values, (requests, width, values.shape[-1])))
        return np.concatenate([np.asarray(part, np.float32) for part in found], axis=-1)


def _columns(features: Features, place: str) -> Iterator[tuple[str, bool]]:
    """Yields name and whether it is a category, of each number of a context or a user."""
    for column, feature in features.features.items():
        yield from [(f"{place} {column}", True)] * feature.max_values
    for column in features.dense:
        yield f"{place} {column}", False


def _name(feature: AffinityFeature) -> str:
    (group, table), action, age = feature
    how_many = f"{action}, at most {age} s ago" if age else f"{action}, ever"
    return f"{group} of {table}: {how_many if action else 'how recently'}"


def collect(batches: Iterable[Any], task: str, numbers: Numbers) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the numbers of all candidates, float32 [rows, F] of each batch, and all their labels, [all rows]."""
    rows, labels = [], []
    for inputs, of_tasks, weights in batches:
        real = weights[task].numpy() > 0
        rows.append(numbers(inputs)[real])
        labels.append(of_tasks[task].numpy()[real])
    return rows, np.concatenate(labels)


def fit(lightgbm: Any, records: Records, task: str, numbers: Numbers, settings: Batching, seed: int) -> Any:
    """Returns trees that were trained on one epoch, as many as were best on validation."""
    epoch = training_batches(records, tasks=[task], settings=settings, seed=seed)
    rows, labels = collect(epoch.dataset.take(epoch.steps), task, numbers)
    training = lightgbm.Dataset(rows, labels, categorical_feature=numbers.categorical)
    batches = evaluation_batches(records, Part.VALIDATION, tasks=[task], settings=settings)
    validation = lightgbm.Dataset(*collect(batches, task, numbers), reference=training)
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    trees = lightgbm.train(PARAMETERS | {"seed": seed}, training, MOST_TREES, [validation], callbacks=[stop])
    gain = trees.feature_importance("gain")
    most = ", ".join(
        f"{numbers.names[place]} ({gain[place] / max(gain.sum(), 1e-9):.0%})" for place in np.argsort(-gain)[:5]
    )
    of = f"{len(labels):,} candidates with {len(numbers.names)} numbers"
    sys.stdout.write(f"{task}: {trees.best_iteration} trees of {of}; by most gain {most}\n\n")
    return trees


class Trees:
    """LightGBM models of some tasks, which score requests.

    Args:
        numbers: task -> what its candidates are known by.
        models: task -> its trees.
    """

    def __init__(self, numbers: Mapping[str, Numbers], models: Mapping[str, Any]) -> None:
        self._numbers, self._models = numbers, models

    @property
    def leaves(self) -> int:
        """How many leaves the trees have, which are what they learned."""
        return sum(
            tree["num_leaves"]
            for model in self._models.values()
            for tree in model.dump_model(num_iteration=model.best_iteration)["tree_info"]
        )

    def score(self, task: str, inputs: Mapping[str, Any], users: np.ndarray) -> np.ndarray:
        """Returns the scores of the candidates of a batch, [B, N]."""
        del users
        found = self._numbers[task](inputs)
        scores: np.ndarray = self._models[task].predict(found.reshape(-1, found.shape[-1]), raw_score=True)
        return scores.reshape(found.shape[:2])


def grow(records: Records, tasks: Sequence[str], settings: Batching, seed: int) -> Trees:
    """Returns trees of some tasks, fitted on the training requests of one epoch.

    Raises:
        ImportError: the package lightgbm is not installed.
    """
    try:
        import lightgbm
    except ImportError as error:
        raise ImportError("The yardstick needs lightgbm: pip install 'atrank-tf[experiments]'") from error
    numbers = {task: Numbers(records, task) for task in tasks}
    return Trees(numbers, {task: fit(lightgbm, records, task, numbers[task], settings, seed) for task in tasks})


def main() -> None:
    experiment = load_experiment(_CONFIG.value)
    records, settings = Records(_RECORDS.value), experiment.batching
    records.verify()
    records = records.select(experiment.model.groups)
    tasks = experiment.model.tasks or tuple(records.schema.tasks)
    trees = grow(records, tasks, settings, experiment.training.seed)
    for part in (Part.VALIDATION, Part.TEST):
        asked = AskedRequests()
        scored = score_requests({"LightGBM": trees.score}, tasks, records, part, settings, watch=asked)["LightGBM"]
        for task, found in scored.items():
            sys.stdout.write(metrics_table(f"{task}, {part}", {"LightGBM": evaluate(found)}) + "\n")
        if _SCORES.value and scored:
            write_scores(f"{_SCORES.value}_{part}.parquet", records, asked, scored)


if __name__ == "__main__":
    flags.mark_flags_as_required(["records", "config"])
    command.run(main)
