"""What is counted of candidates: recent popularity, what they were shown with, and affinity."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from keras import ops

from atrank_tf.data import (
    PERIODS,
    Catalog,
    Events,
    Part,
    Popularity,
    Records,
    chosen,
    counted_actions,
    done,
    popularity,
    popularity_of_values,
    shown,
    shown_values,
)
from atrank_tf.experiment import RankerConfig
from atrank_tf.layers import MeanPooling, RecentPopularity, UsualValues
from atrank_tf.models.list_numbers import logarithmic, varying_columns
from atrank_tf.models.object_embedder import ObjectEmbedder
from atrank_tf.schema import PADDING, Candidates, Schema
from atrank_tf.schema.affinity import affinity_features
from atrank_tf.schema.inputs import candidates_name, context_name
from atrank_tf.types import Tensor

_WINDOWS = PERIODS.bit_length()


class CandidateCounts:
    """Numbers that are counted of the candidates of each task, for the heads that read context.

    Of a candidate in a list it is also known at what price, position and so on the same object was shown before.

    Glossary: N candidates, C numbers.

    Args:
        schema: a prepared schema.
        config: the model's config.
        tasks: the model's tasks.
        objects: the model's tables and catalogs.
    """

    def __init__(self, schema: Schema, config: RankerConfig, tasks: Sequence[str], objects: ObjectEmbedder) -> None:
        self._schema, self._objects = schema, objects
        self._counts: dict[str, Counts] = {}  # By the name of their layer.
        self._of_task: dict[str, list[Counts]] = {}
        self._usual: dict[str, UsualValues] = {}
        self._names: dict[str, list[str]] = {}
        for task in tasks if config.reads_context else ():
            self._names[task] = []
            if config.reads_popularity:
                self._add_popularity(task)
            if config.reads_affinity:
                self._names[task] += [str(feature) for feature in affinity_features(schema, task)]

    def _add_popularity(self, task: str) -> None:
        groups, entity = self._schema.groups, self._schema.entity_of(task)
        lists = self._schema.tasks[task].candidates is Candidates.IMPRESSIONS
        # Where many lists of one moment have the same candidates, numbers of features, too, would tell each by itself.
        features = {} if lists else self._table_rows(entity)
        counted = {"popularity": self._once(f"popularity_{task}", entity, partial(chosen, task=task), features)}
        if lists:
            counted["shown"] = self._once(f"popularity_{task}_shown", entity, partial(shown, task=task), {})
        for group, action in counted_actions(self._schema, task):
            name = f"popularity_{group}_{groups[group].actions.index(action)}"
            counted[f"{action} in {group}"] = self._once(name, entity, partial(done, group=group, action=action), {})
        self._of_task[task] = list(counted.values())
        for what, counts in counted.items():
            for each in (what, *(f"{what} of {column}" for column in counts.of_values)):
                self._names[task] += [f"{each} {window}" for window in range(_WINDOWS)]
        columns = varying_columns(self._schema, task) if lists else []
        if columns:
            rows = self._schema.entities[entity].rows
            self._usual[task] = UsualValues(rows, PERIODS, len(columns), name=f"usual_{task}")
            self._usual[task].build()
            self._names[task] += [f"{column}, {what}" for what in ("usual", "beyond") for column in columns]

    def _table_rows(self, entity: str) -> dict[str, int]:
        """Returns the rows of the table of each feature whose values have rows of their own."""
        features = self._schema.entities[entity].features
        tables = {column: self._schema.tables[feature.table] for column, feature in features.items()}
        return {column: table.rows for column, table in tables.items() if not table.coded}

    def _once(self, name: str, entity: str, events: Events, columns: Mapping[str, int]) -> "Counts":
        """Returns new counts, or those that another task on the same entity has."""
        if name not in self._counts:
            rows, values = self._schema.entities[entity].rows, self._objects.catalogs[entity]
            self._counts[name] = Counts(name, entity, rows, events, columns, values)
        return self._counts[name]

    @property
    def parts(self) -> list["Counts"]:
        """What is counted, of all tasks: each once."""
        return list(self._counts.values())

    @property
    def reads_now(self) -> bool:
        """Whether the request time is read."""
        return bool(self._of_task)

    def names(self, task: str) -> list[str]:
        """Returns the names of a task's numbers, popularity and then affinity; none where no head reads them."""
        return self._names.get(task, [])

    def __call__(self, task: str, inputs: Mapping[str, Tensor], now: Tensor | None) -> Tensor | None:
        """Returns what is counted of a task's candidates but affinity, float [..., N, C]; None if nothing is read.

        Args:
            task: a task.
            inputs: the candidates, int64 [..., N], and their context.
            now: int64 [...], the request times.
        """
        if task not in self._of_task:
            return None
        ids = inputs[candidates_name(task)]
        found = [counts(ids, now) for counts in self._of_task[task]]
        if task in self._usual:
            shown_with = [
                number(inputs[context_name(task, column)])[..., None] for column, number in self._numbers(task).items()
            ]
            found.append(self._usual[task](ids, ops.concatenate(shown_with, axis=-1), now))
        return ops.concatenate(found, axis=-1)

    def load(self, records: Records, part: Part, total: Callable[[np.ndarray], np.ndarray]) -> None:
        """Counts how often each object was chosen, was shown, and had each action, and adds up what it was shown with.

        Args:
            records: a records folder, of the groups that the model reads.
            part: of the targets that count.
            total: sums an array over the workers who share the records.
        """
        counted = [(counts.entity, counts.events) for counts in self._counts.values()]
        found = popularity(records, counted, part, total) if counted else []
        for counts, of_objects in zip(self._counts.values(), found, strict=True):
            counts.load(of_objects, records.catalogs[counts.entity])
        begins = {name: of_objects.begins for name, of_objects in zip(self._counts, found, strict=True)}
        for task, layer in self._usual.items():
            periods = begins[f"popularity_{task}_shown"]
            layer.load(*shown_values(records, task, self._numbers(task), periods, part, total))

    def _numbers(self, task: str) -> dict[str, Callable[[Tensor], Tensor]]:
        """Returns the columns that candidates are shown with, and what makes a number of each of their values."""
        dense = self._schema.tasks[task].context.dense
        return {
            column: partial(logarithmic, mean=dense[column].middle) for column in varying_columns(self._schema, task)
        }


class Counts:
    """How often all users did one thing of late: with an object, and with any that shares a value of a feature.

    Args:
        name: of the layer of the objects.
        entity, rows: of the objects.
        events: what is counted of the objects.
        columns: features -> rows of their tables.
        values: objects -> the values of their features.

    Attributes:
        size: C, how many numbers an object has.
        ahead: a function (ids, now) -> what `compute` gives, looked up; None where nothing was computed ahead.
    """

    def __init__(
        self,
        name: str,
        entity: str,
        rows: int,
        events: Events,
        columns: Mapping[str, int],
        values: Callable[[Tensor], Mapping[str, Tensor]],
    ) -> None:
        self.name, self.entity, self.events = name, entity, events
        self.rows, self.size = rows, _WINDOWS * (1 + len(columns))
        self.ahead: Callable[[Tensor, Tensor], Tensor] | None = None
        self._values = values
        self._of_objects = RecentPopularity(rows, PERIODS, name=name)
        self.of_values = {
            column: RecentPopularity(size, PERIODS, name=f"{name}__{place}")
            for place, (column, size) in enumerate(columns.items())
        }
        self._pool = MeanPooling(name=f"{name}__mean")
        for layer in (self._of_objects, *self.of_values.values()):
            layer.build()

    def __call__(self, ids: Tensor, now: Tensor) -> Tensor:
        """Returns popularity of objects, int64 [..., N], at request times, int64 [...]: float [..., N, C]."""
        return (self.ahead or self.compute)(ids, now)

    def compute(self, ids: Tensor, now: Tensor) -> Tensor:
        """As a call, whatever was computed ahead."""
        found = [self._of_objects(ids, now)]
        values = self._values(ids) if self.of_values else {}
        for column, layer in self.of_values.items():
            shares = layer(values[column], now)
            if len(values[column].shape) > len(ids.shape):
                shares = self._pool(shares, ops.not_equal(values[column], PADDING))
            found.append(shares)
        return ops.concatenate(found, axis=-1)

    @property
    def begins(self) -> np.ndarray:
        """When a period begins, int64 [PERIODS], Unix seconds: only there the numbers change."""
        return np.asarray(self._of_objects.begins)

    def load(self, of_objects: Popularity, catalog: Catalog) -> None:
        self._of_objects.load(*of_objects)
        for column, layer in self.of_values.items():
            layer.load(*popularity_of_values(of_objects, catalog.features[column], layer.num_objects))
