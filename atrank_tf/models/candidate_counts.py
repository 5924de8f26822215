"""What is counted of candidates: how popular they are of late, and what the user did with things like them."""

from collections.abc import Callable, Sequence

import numpy as np
from keras import ops

from atrank_tf.data import PERIODS, Part, Records, action_popularity, counted_actions, popularity
from atrank_tf.layers import RecentPopularity
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.schema import Schema
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
        self._of_task: dict[str, list[RecentPopularity]] = {}
        self._of_positives: dict[str, RecentPopularity] = {}
        self._of_actions: dict[tuple[str, str], RecentPopularity] = {}  # Tasks on the same entity share it.
        self._names: dict[str, list[str]] = {}
        for task in tasks if config.reads_context else ():
            if config.reads_popularity:
                self._add_popularity(task)
            else:
                self._names[task] = []
            if config.reads_affinity:
                self._names[task] += [str(feature) for feature in affinity_features(schema, task)]

    def _add_popularity(self, task: str) -> None:
        group = self._schema.tasks[task].group
        rows = self._schema.entities[self._schema.groups[group].entity].rows
        self._of_positives[task] = RecentPopularity(rows, PERIODS, name=f"popularity_{task}")
        actions = counted_actions(self._schema, task)
        for name, action in actions:
            if (name, action) not in self._of_actions:
                number = self._schema.groups[name].actions.index(action)
                layer = RecentPopularity(rows, PERIODS, name=f"popularity_{name}_{number}")
                self._of_actions[name, action] = layer
        self._of_task[task] = [self._of_positives[task], *(self._of_actions[each] for each in actions)]
        for layer in self._of_task[task]:
            if not layer.built:
                layer.build()
        sources = ["popularity", *(f"popularity of {action} in {name}" for name, action in actions)]
        self._names[task] = [f"{source} {window}" for source in sources for window in range(PERIODS.bit_length())]

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
        """Counts how often each object was chosen, and had each action.

        Args:
            records: a records folder, of the groups that the model reads.
            part: of the targets that count.
            total: sums an array over the workers who share the records.
        """
        for task, layer in self._of_positives.items():
            layer.load(*popularity(records, task, part, total))
        for (group, action), layer in self._of_actions.items():
            layer.load(*action_popularity(records, group, action, part, total))
