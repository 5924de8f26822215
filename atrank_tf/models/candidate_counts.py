"""What is counted of candidates: how popular they are of late, and what the user did with things like them."""

from collections.abc import Callable, Sequence

import numpy as np

from atrank_tf.data import PERIODS, Part, Records, popularity
from atrank_tf.layers import RecentPopularity
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.schema import Schema
from atrank_tf.schema.affinity import affinity_features
from atrank_tf.types import Tensor


class CandidateCounts:
    """Numbers that are counted of the candidates of each task, for the heads that read context.

    Glossary: N candidates, W windows of popularity.

    Args:
        schema: a prepared schema.
        config: the model's config.
        tasks: the model's tasks.
    """

    def __init__(self, schema: Schema, config: RankerConfig, tasks: Sequence[str]) -> None:
        self._popularity: dict[str, RecentPopularity] = {}
        self._names: dict[str, list[str]] = {}
        for task in tasks if config.reads_context else ():
            windows = range(PERIODS.bit_length() if config.reads_popularity else 0)
            self._names[task] = [f"popularity {window}" for window in windows]
            self._names[task] += [str(feature) for feature in affinity_features(schema, task)]
            if config.reads_popularity:
                rows = schema.entities[schema.groups[schema.tasks[task].group].entity].rows
                self._popularity[task] = RecentPopularity(rows, PERIODS, name=f"popularity_{task}")
                self._popularity[task].build()

    @property
    def reads_now(self) -> bool:
        """Whether the request time is read."""
        return bool(self._popularity)

    def names(self, task: str) -> list[str]:
        """Returns the names of a task's numbers, popularity and then affinity; none where no head reads them."""
        return self._names.get(task, [])

    def popularity(self, task: str, ids: Tensor, now: Tensor | None) -> Tensor | None:
        """Returns the recent popularity of objects, int64 [..., N], float [..., N, W]; None if it is not read."""
        return self._popularity[task](ids, now) if task in self._popularity else None

    def load_popularity(self, records: Records, part: Part, total: Callable[[np.ndarray], np.ndarray]) -> None:
        """Counts how often each object was chosen.

        Args:
            records: a records folder, of the groups that the model reads.
            part: of the targets that count.
            total: sums an array over the workers who share the records.
        """
        for task, layer in self._popularity.items():
            layer.load(*popularity(records, task, part, total))
