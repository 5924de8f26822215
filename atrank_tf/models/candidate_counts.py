"""What is counted of candidates: how popular they are of late, and what the user did with things like them."""

from collections.abc import Callable, Sequence

import numpy as np
from keras import ops

from atrank_tf.data import PERIODS, Batching, Part, Records, popularity, requests
from atrank_tf.layers import Normalization, RecentPopularity
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.schema import Schema
from atrank_tf.schema.affinity import affinity_features
from atrank_tf.schema.inputs import affinity_name, candidates_name
from atrank_tf.types import Tensor

_SAMPLE = Batching(targets_per_user=4)
_REQUESTS = 4096
"""How many training requests mean and variance are taken of."""


class CandidateCounts:
    """Numbers that are counted of the candidates of each task, for the heads that read context.

    Glossary: B users, N candidates, W windows of popularity, F numbers.

    Args:
        schema: a prepared schema.
        config: the model's config.
        tasks: the model's tasks.
    """

    def __init__(self, schema: Schema, config: RankerConfig, tasks: Sequence[str]) -> None:
        self._popularity: dict[str, RecentPopularity] = {}
        self._normalization: dict[str, Normalization] = {}
        self._names: dict[str, list[str]] = {}
        for task in tasks if config.reads_context else ():
            windows = range(PERIODS.bit_length() if config.reads_popularity else 0)
            names = [f"popularity {window}" for window in windows]
            names += [str(feature) for feature in affinity_features(schema, task)]
            if config.reads_popularity:
                rows = schema.entities[schema.groups[schema.tasks[task].group].entity].rows
                self._popularity[task] = RecentPopularity(rows, PERIODS, name=f"popularity_{task}")
                self._popularity[task].build()
            if names:
                self._normalization[task] = Normalization(name=f"normalization_{task}")
                self._normalization[task].build((None, None, len(names)))
            self._names[task] = names

    @property
    def reads_now(self) -> bool:
        """Whether the request time is read."""
        return bool(self._popularity)

    def names(self, task: str) -> list[str]:
        """Returns the names of the F numbers of a task; none for a model whose heads read none."""
        return self._names.get(task, [])

    def row_names(self) -> dict[str, list[str]]:
        """Returns the weights whose rows stand for numbers: path of the weight -> names of the numbers."""
        return {
            weight.path: self._names[task] for task, layer in self._normalization.items() for weight in layer.weights
        }

    def popularity(self, task: str, ids: Tensor, now: Tensor | None) -> Tensor | None:
        """Returns the recent popularity of objects, int64 [..., N], float [..., N, W]; None if it is not read."""
        return self._popularity[task](ids, now) if task in self._popularity else None

    def numbers(self, task: str, popularity: Tensor | None, affinity: Tensor | None) -> Tensor | None:
        """Returns all numbers of candidates on a common scale, float [B, N, F]; None if there are none.

        Args:
            task: a task.
            popularity: of the candidates, float [B, N, W].
            affinity: of the candidates, float [B, N, F - W].
        """
        found = _joined(popularity, affinity)
        return None if found is None else self._normalization[task](found)

    def settle(self, records: Records, part: Part, total: Callable[[np.ndarray], np.ndarray]) -> None:
        """Counts how popular objects are, and of some training requests mean and variance of each number.

        Args:
            records: a records folder, of the groups that the model reads.
            part: of the targets that count.
            total: sums an array over the workers who share the records.
        """
        for task, layer in self._popularity.items():
            layer.load(*popularity(records, task, part, total))
        for task, normalization in self._normalization.items():
            number, mean, square = total(self._moments(records, task, part))
            seen = np.maximum(number, 1)
            normalization.load(mean / seen, np.maximum(square / seen - (mean / seen) ** 2, 0.0))

    def _moments(self, records: Records, task: str, part: Part) -> np.ndarray:
        """Returns number, sum and sum of squares of each number of a task's candidates, float64 [3, F]."""
        found, taken = np.zeros((3, len(self._names[task]))), 0
        for inputs, _, weights, _ in requests(records, part, tasks=[task], settings=_SAMPLE):
            popularity = self.popularity(task, inputs[candidates_name(task)], inputs["now"])
            numbers = _joined(popularity, inputs.get(affinity_name(task)))
            rows = np.asarray(numbers, np.float64)[np.asarray(weights[task]) > 0]
            found += np.stack([np.full(rows.shape[1], len(rows)), rows.sum(axis=0), (rows**2).sum(axis=0)])
            taken += len(weights[task])
            if taken >= _REQUESTS:
                break
        return found


def _joined(popularity: Tensor | None, affinity: Tensor | None) -> Tensor | None:
    found = [ops.cast(part, "float32") for part in (popularity, affinity) if part is not None]
    return ops.concatenate(found, axis=-1) if len(found) > 1 else next(iter(found), None)
