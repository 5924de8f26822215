"""What is known of a candidate within its list: where it stands by price, position and what the user did with it."""

from collections.abc import Mapping, Sequence

from keras import ops

from atrank_tf.experiment import RankerConfig
from atrank_tf.layers import ListComparison, ListDistance
from atrank_tf.models.object_embedder import ObjectEmbedder
from atrank_tf.schema import PADDING, Candidates, Schema
from atrank_tf.schema.affinity import SAME_OBJECT, affinity_features
from atrank_tf.schema.inputs import affinity_name, candidates_name, context_name
from atrank_tf.types import Tensor

NEAR = 8
"""Places above and below the candidate that the user did something with last that are told apart."""
_FARTHEST = 1e12
"""What is farther from 0 in a list, infinity too, is taken for so far: scores stay finite whatever a request holds."""
_PLACES = ("from the top", "from the bottom", "from the mean", "from the mean, of the spread")


class ListNumbers:
    """Numbers of the candidates of impressions, beside those of the others in the list, for heads that read context.

    Compared are numeric columns of context (as logarithms: prices by their ratio) and catalog, how often the user did
    something with things like the candidate, and how recently. Where the task says which column is the `position` in
    the list, the distance from the candidate that the user did something with last is told, too. A task with sampled
    negatives has none of it: its candidates are no list that anyone was shown.

    Glossary: N candidates, F numbers that are compared.

    Args:
        schema: a prepared schema.
        config: the model's config.
        tasks: the model's tasks.
        objects: the model's tables and catalogs.
    """

    def __init__(self, schema: Schema, config: RankerConfig, tasks: Sequence[str], objects: ObjectEmbedder) -> None:
        self._schema, self._objects = schema, objects
        shown = [task for task in tasks if schema.tasks[task].candidates is Candidates.IMPRESSIONS]
        self._compare = {
            task: ListComparison(name=f"list_comparison_{task}")
            for task in shown
            if config.reads_context and config.within_list
        }
        self._distance = ListDistance(NEAR, name="list_distance")
        self._counts: dict[str, list[int]] = {}
        self._last: dict[str, list[int]] = {}
        for task in self._compare:
            features = list(enumerate(affinity_features(schema, task)))
            self._counts[task] = [place for place, (_, _, age) in features if not age]
            self._last[task] = [
                place for place, (channel, action, _) in features if channel.table == SAME_OBJECT and not action
            ]

    def __call__(self, task: str, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Returns what is known of a task's candidates within their lists, or None.

        Args:
            task: a task.
            inputs: the task's candidates, int64 [..., N], their context and affinity.

        Returns:
            float [..., N, L].
        """
        if task not in self._compare:
            return None
        ids, affinity = inputs[candidates_name(task)], inputs.get(affinity_name(task))
        context = self._schema.tasks[task].context.dense
        compared = [
            logarithmic(inputs[context_name(task, column)], context[column].middle)[..., None]
            for column in varying_columns(self._schema, task)
        ]
        numbers = self._objects.object_numbers(self._schema.entity_of(task), ids)
        compared += [] if numbers is None else [ops.cast(numbers, "float32")]
        compared += [] if affinity is None else [ops.take(affinity, self._counts[task], axis=-1)]
        if not compared:
            return None
        found = [self._compare[task](ops.concatenate(compared, axis=-1), ops.not_equal(ids, PADDING))]
        if affinity is not None and self._places(task):
            position = self._schema.tasks[task].position
            last = ops.max(ops.take(affinity, self._last[task], axis=-1), axis=-1)  # [..., N]
            found.append(self._distance(inputs[context_name(task, position)], last))
        return ops.concatenate(found, axis=-1)

    def names(self, task: str) -> list[str]:
        """Returns the names of the numbers of a task, in their order."""
        if task not in self._compare:
            return []
        features = affinity_features(self._schema, task)
        compared = [*varying_columns(self._schema, task), *self._schema.entities[self._schema.entity_of(task)].dense]
        compared += [str(features[place]) for place in self._counts[task]]
        found = [f"{name}, {place}" for place in _PLACES for name in compared]
        return found + [f"{place} places below the last" for place in self._places(task)]

    def _places(self, task: str) -> range:
        """Returns the places below the last candidate of a list with which something was done that are told apart."""
        known = self._schema.tasks[task].position and self._last[task]
        return range(-NEAR, NEAR + 1) if known else range(0)


def varying_columns(schema: Schema, task: str) -> list[str]:
    """Returns the numeric columns of a task's context that differ within a list."""
    spec = schema.tasks[task]
    return [column for column in spec.context.dense if column not in spec.of_request]


def logarithmic(values: Tensor, mean: float) -> Tensor:
    """Returns sign(x) log(1 + |x|), so that a difference of two is about a ratio; of the mean where x is missing."""
    values = ops.clip(ops.cast(ops.where(ops.isnan(values), mean, values), "float32"), -_FARTHEST, _FARTHEST)
    return ops.sign(values) * ops.log1p(ops.absolute(values))
