"""LightGBM on the numbers that a model's ranking heads read beside embeddings: what no embedding needs to know."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from atrank_tf.data import Part, Records, count_targets, evaluation_batches, training_batches
from atrank_tf.data.candidates import log_training_rate
from atrank_tf.evaluation.protocol import score_requests
from atrank_tf.evaluation.scored_requests import ScoredRequests
from atrank_tf.experiment import Batching, RankerConfig
from atrank_tf.models.candidate_counts import CandidateCounts
from atrank_tf.models.list_numbers import ListNumbers
from atrank_tf.models.object_embedder import ObjectEmbedder
from atrank_tf.progress import progress
from atrank_tf.schema import Candidates, Features
from atrank_tf.schema.affinity import affinity_features
from atrank_tf.schema.inputs import affinity_name, candidates_name, context_name, profile_name
from atrank_tf.types import Tensor

LIGHTGBM = "LightGBM"
"""What its row in tables is called."""
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


class LightGBM:
    """Trees that rank as one would without this package: by the counts that a ranking head reads beside embeddings.

    They learn from training requests of one epoch, and are as many as were best on validation. Beside a model of a
    last training, which knows the targets of validation, as many learn from these, too.

    Args:
        records: a records folder, of the groups that count, with affinity.
        tasks: the tasks.
        settings: which requests there are; those of the models that it is compared with.
        seed: of the draws of negatives and of LightGBM.
        most_candidates: that the trees of a task learn from. Each takes a kilobyte of memory where 256 numbers are
            known of it. In a last training so many more as validation has.
        part: `Part.TRAINING`, or `Part.TRAINING_AND_VALIDATION` for a last training.

    Raises:
        ImportError: the package lightgbm is not installed.
        ValueError: a task has no targets of validation, by which the number of trees is chosen.
    """

    def __init__(
        self,
        records: Records,
        tasks: Sequence[str],
        settings: Batching,
        seed: int,
        most_candidates: int = 300_000,
        part: Part = Part.TRAINING,
    ) -> None:
        self._records, self._settings = records, settings
        self._grown = {task: _grow(records, task, settings, seed, most_candidates, part) for task in tasks}

    @property
    def leaves(self) -> int:
        """How many leaves the trees have, which are what they learned."""
        return sum(
            tree["num_leaves"]
            for _, trees, number, _ in self._grown.values()
            for tree in trees.dump_model(num_iteration=number)["tree_info"]
        )

    def about(self, task: str) -> str:
        """Returns in a line what a task's trees learned from, and the five numbers by which they gain most."""
        numbers, trees, number, learned_from = self._grown[task]
        names, gain = numbers.names, trees.feature_importance("gain")
        shares = gain / max(gain.sum(), 1e-9)
        most = ", ".join(f"{names[place]} ({shares[place]:.0%})" for place in np.argsort(-gain, kind="stable")[:5])
        return (
            f"{LIGHTGBM}: {number} trees, learned from {learned_from:,} candidates with "
            f"{len(names)} numbers; by most gain {most}."
        )

    def score(self, part: Part | str) -> dict[str, ScoredRequests]:
        """Scores every request of a part of the data, as `score_model` does.

        Returns:
            task -> scored requests; a task without a request in this part is left out.
        """
        scores = {LIGHTGBM: self._scores}
        return score_requests(scores, [*self._grown], self._records, part, self._settings)[LIGHTGBM]

    def _scores(self, task: str, inputs: Mapping[str, Any], users: np.ndarray) -> np.ndarray:
        """Returns logits for as many negatives as the schema says, as a model's are, [B, N]."""
        del users
        numbers, trees, number, _ = self._grown[task]
        found = numbers(inputs)
        rows = found.reshape(-1, found.shape[-1])
        scores: np.ndarray = trees.predict(rows, raw_score=True, num_iteration=number)
        spec = self._records.schema.tasks[task]
        if spec.candidates is Candidates.SAMPLED:
            scores += log_training_rate(spec, self._settings)
        return scores.reshape(found.shape[:2])


class _Grown(NamedTuple):
    """The trees of a task.

    Attributes:
        numbers: what they read.
        trees: LightGBM's booster.
        number: how many of its trees count.
        learned_from: of how many candidates they learned.
    """

    numbers: "_Numbers"
    trees: Any
    number: int
    learned_from: int


def _grow(records: Records, task: str, settings: Batching, seed: int, most: int, part: Part) -> _Grown:
    """Returns trees that learned from at most so many candidates of a part, as many as are best on validation."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:  # OSError: libgomp, which its wheels do not bring.
        install = "pip install 'atrank-tf[experiments]'"
        raise ImportError(f"LightGBM cannot be imported ({error}): {install}, or evaluate with --against=") from error
    parameters = PARAMETERS | {"seed": seed}

    def learned(part: Part, numbers: _Numbers, most: int) -> tuple[Any, int]:
        epoch = training_batches(records, tasks=[task], settings=settings, seed=seed, part=part)
        rows, labels = _collect(epoch.dataset.take(epoch.steps), task, numbers, most)
        return lightgbm.Dataset(rows, labels, categorical_feature=numbers.categorical), len(labels)

    if not count_targets(records, task, Part.VALIDATION, settings):
        raise ValueError(
            f"Expected targets of validation for {task}: they say how many trees are best. Found none in "
            f"{records.path}: evaluate with --against="
        )
    numbers = _Numbers(records, task, Part.TRAINING)
    training, learned_from = learned(Part.TRAINING, numbers, most)
    batches = evaluation_batches(records, Part.VALIDATION, tasks=[task], settings=settings)
    rows, labels = _collect(batches, task, numbers, most)
    validation = lightgbm.Dataset(rows, labels, reference=training)
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    with progress(f"{LIGHTGBM}, {task}", "trees") as shown:
        told: list[Any] = [stop, lambda _: shown.update(1)]
        trees = lightgbm.train(parameters, training, MOST_TREES, [validation], callbacks=told)
    number = trees.best_iteration
    if part is not Part.TRAINING:
        numbers = _Numbers(records, task, part)
        training, learned_from = learned(part, numbers, most + len(labels))
        with progress(f"{LIGHTGBM} again, {task}", "trees", total=number) as shown:
            trees = lightgbm.train(parameters, training, number, callbacks=[lambda _: shown.update(1)])
    return _Grown(numbers, trees, number, learned_from)


def _collect(batches: Iterable[Any], task: str, numbers: "_Numbers", most: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the numbers of candidates, float32 [rows, F] of each batch, and all their labels, [all rows]."""
    rows, labels, found = [], [], 0
    with progress(f"{LIGHTGBM}, {task}", "candidates") as shown:
        for inputs, of_tasks, weights in batches:
            real = weights[task].numpy() > 0
            rows.append(numbers(inputs)[real])
            labels.append(of_tasks[task].numpy()[real])
            shown.update(len(rows[-1]))
            found += len(rows[-1])
            if found >= most:
                break
    return rows, np.concatenate(labels)


class _Numbers:
    """What is known of each candidate: affinity, recent popularity, its place in its list, context, user, and calendar.

    Popularity counts the choices of `part`, as that of a model that is trained on it.

    Values of a categorical column are numbers of rows of its table, a column for each where there may be several.

    Attributes:
        names: of the F numbers.
        categorical: which of them are categories.
    """

    def __init__(self, records: Records, task: str, part: Part) -> None:
        schema, self._task = records.schema, task
        spec = schema.tasks[task]
        objects = ObjectEmbedder(schema, id_dropout=0.0)
        objects.load_catalogs(records.catalogs)
        self._counts = CandidateCounts(schema, RankerConfig(ranking=("dnn",), affinity=False), [task], objects)
        self._counts.load(records, part, lambda array: array)
        self._lists = ListNumbers(schema, RankerConfig(ranking=("dnn",)), [task], objects)
        self._context = [context_name(task, column) for column in (*spec.context.features, *spec.context.dense)]
        self._user = [profile_name(column) for column in (*schema.user.features, *schema.user.dense)]
        affinity = [str(feature) for feature in affinity_features(schema, task)]
        self._affinity = [affinity_name(task)] if affinity else []
        counted = [*self._counts.names(task), *self._lists.names(task)]
        columns = [*_columns(spec.context, task), *_columns(schema.user, "user")]
        self.names = [*affinity, *counted, *(name for name, _ in columns), "hour", "weekday"]
        first = len(affinity) + len(counted)
        self.categorical = [first + place for place, (_, is_category) in enumerate(columns) if is_category]
        self._counted = tf.function(self._count, reduce_retracing=True, autograph=False)

    def __call__(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Returns the numbers of the candidates of a batch, float32 [B, N, F]."""
        requests, width = inputs[candidates_name(self._task)].shape
        found = [*(inputs[name] for name in self._affinity), *self._counted(inputs)]
        found += [np.reshape(inputs[name], (requests, width, -1)) for name in self._context]
        for name in self._user:  # The same for all candidates.
            values = np.reshape(inputs[name], (requests, 1, -1))
            found.append(np.broadcast_to(values, (requests, width, values.shape[-1])))
        hours = np.asarray(inputs["now"])[:, np.newaxis, np.newaxis] // 3600
        found += [np.broadcast_to(each, (requests, width, 1)) for each in (hours % 24, hours // 24 % 7)]
        return np.concatenate([np.asarray(part, np.float32) for part in found], axis=-1)

    def _count(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Returns popularity, and the places in the list if there are lists."""
        popularity = self._counts(self._task, inputs, inputs["now"])
        return [part for part in (popularity, self._lists(self._task, inputs)) if part is not None]


def _columns(features: Features, place: str) -> Iterator[tuple[str, bool]]:
    """Yields name and whether it is a category, of each number of a context or a user."""
    for column, feature in features.features.items():
        yield from [(f"{place} {column}", True)] * feature.max_values
    for column in features.dense:
        yield f"{place} {column}", False
