"""What is counted of candidates: how popular they are of late, and what the user did with things like them."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from keras import ops

from atrank_tf.data import (
    PERIODS,
    Part,
    Popularity,
    Records,
    action_popularity,
    counted_actions,
    popularity,
    shown_popularity,
)
from atrank_tf.layers import RecentPopularity
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.schema import Candidates, Schema
from atrank_tf.schema.affinity import affinity_features
from atrank_tf.types import Tensor


class CandidateCounts:
    """Numbers that are counted of the candidates of each task, for the heads that read context.

    Glossary: N candidates, W windows of popularity, of all that is counted.

    Args:
        schema: a prepared schema.
        config: the model's config.
        tasks: the model's tasks.
    """

    def __init__(self, schema: Schema, config: RankerConfig, tasks: Sequence[str]) -> None:
        self._schema = schema
        self._layers: dict[str, RecentPopularity] = {}
        self._count: dict[str, Callable[..., Popularity]] = {}  # Layer -> what counts for it.
        self._of_task: dict[str, list[RecentPopularity]] = {}
        self._names: dict[str, list[str]] = {}
        for task in tasks if config.reads_context else ():
            self._names[task] = []
            if config.reads_popularity:
                self._add_popularity(task)
            if config.reads_affinity:
                self._names[task] += [str(feature) for feature in affinity_features(schema, task)]

    def _add_popularity(self, task: str) -> None:
        groups = self._schema.groups
        counted = {"popularity": (f"popularity_{task}", partial(popularity, task=task))}
        if self._schema.tasks[task].candidates is Candidates.IMPRESSIONS:
            counted["shown"] = (f"popularity_{task}_shown", partial(shown_popularity, task=task))
        for group, action in counted_actions(self._schema, task):  # Tasks on the same entity share their layers.
            name = f"popularity_{group}_{groups[group].actions.index(action)}"
            counted[f"{action} in {group}"] = (name, partial(action_popularity, group=group, action=action))
        rows = self._schema.entities[groups[self._schema.tasks[task].group].entity].rows
        for name, count in counted.values():
            if name not in self._layers:
                self._layers[name], self._count[name] = RecentPopularity(rows, PERIODS, name=name), count
                self._layers[name].build()
        self._of_task[task] = [self._layers[name] for name, _ in counted.values()]
        self._names[task] = [f"{what} {window}" for what in counted for window in range(PERIODS.bit_length())]

    @property
    def reads_now(self) -> bool:
        """Whether the request time is read."""
        return bool(self._of_task)

    def names(self, task: str) -> list[str]:
        """Returns the names of a task's numbers, popularity and then affinity; none where no head reads them."""
        return self._names.get(task, [])

    def popularity(self, task: str, ids: Tensor, now: Tensor | None) -> Tensor | None:
        """Returns the recent popularity of objects, int64 [..., N], float [..., N, W]; None if it is not read."""
        if task not in self._of_task:
            return None
        return ops.concatenate([layer(ids, now) for layer in self._of_task[task]], axis=-1)

    def load_popularity(self, records: Records, part: Part, total: Callable[[np.ndarray], np.ndarray]) -> None:
        """Counts how often each object was chosen, was shown, and had each action.

        Args:
            records: a records folder, of the groups that the model reads.
            part: of the targets that count.
            total: sums an array over the workers who share the records.
        """
        for name, layer in self._layers.items():
            layer.load(*self._count[name](records, part=part, total=total))
