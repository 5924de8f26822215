"""Preprocessor of an export: raw ids and values, as logs or `tf.train.Example`s hold them -> inputs of a model."""

import itertools
import math
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.data import IdMaps
from atrank_tf.data.affinity import Affinity, history_behaviors
from atrank_tf.data.codes import codes
from atrank_tf.data.targets import Behaviors
from atrank_tf.files import text_array
from atrank_tf.models import Ranker
from atrank_tf.schema import FIRST_ROW, LATEST, PADDING, UNKNOWN, IdFeature, Schema, suggestion
from atrank_tf.schema.affinity import affinity_channels
from atrank_tf.schema.inputs import (
    BEHAVIOR_COLUMNS,
    InputSpec,
    affinity_name,
    candidates_name,
    context_name,
    history_name,
    join_names,
    profile_name,
    raw_candidate_specs,
    raw_history_specs,
    raw_input_specs,
    raw_profile_specs,
)
from atrank_tf.types import Tensor

NO_CANDIDATE = {"string": "", "int64": -1}
"""Raw id that fills up a list of candidates, by its dtype."""
_MISSING = {"string": "", "int64": 0, "float32": math.nan}


def history_signature(schema: Schema) -> dict[str, tf.TensorSpec]:
    """Returns the raw inputs of users' histories by name, users first."""
    return _signature(raw_history_specs(schema))


def candidate_signature(schema: Schema, task: str) -> dict[str, tf.TensorSpec]:
    """Returns the raw inputs of users and of a task's candidates by name, users first."""
    return _signature([*raw_profile_specs(schema), *raw_candidate_specs(schema, task)])


def request_signature(schema: Schema, task: str) -> dict[str, tf.TensorSpec]:
    """Returns the raw inputs of a task's signature by name, users first."""
    return _signature(raw_input_specs(schema, task))


class Preprocessor:
    """Maps raw ids and values to the inputs of a model: in Python, and inside the graph of an export.

    B users, T_g behaviors of group g, N candidates, W values of a multi-valued column. What the hash tables do not hold
    is `UNKNOWN`.

    Args:
        model: the model, whose catalogs its affinity is counted by.
        values: the raw values behind its rows.

    Attributes:
        tables: the hash tables, which a SavedModel must track.

    Example:
        >>> preprocessor = atrank_tf.Preprocessor(model, atrank_tf.data.IdMaps.of(records))
        >>> model.predict(preprocessor({"now": [1_700_000_000], "next_purchase__candidates": [["p1", "p2"]]}))
    """

    def __init__(self, model: Ranker, values: IdMaps) -> None:
        schema = self._schema = model.schema
        self._tasks = model.tasks
        columns = model.objects.catalog_columns()
        self._affinity = {
            task: Affinity(schema, task, columns) for task in model.tasks if affinity_channels(schema, task)
        }
        folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        ids, features = values.ids.items(), values.request_tables(schema).items()
        self._ids = {name: _hash_table(known, f"{folder}/ids_{name}.txt") for name, known in ids}
        self._features = {name: _hash_table(known, f"{folder}/table_{name}.txt") for name, known in features}
        self._actions = {
            name: _hash_table(text_array(group.actions), f"{folder}/actions_{name}.txt")
            for name, group in schema.groups.items()
        }
        self.tables = [*self._ids.values(), *self._features.values(), *self._actions.values()]

    def __call__(self, raw: Mapping[str, Any]) -> dict[str, Tensor]:
        """Returns all inputs of the model, as `fit` and `predict` take them.

        Args:
            raw: raw inputs by the names that an export's signature has, users first: arrays, tensors, or lists of lists
                of any lengths. `now` must be there. A group that is missing is one in which nobody did anything; a
                missing column of the user or the context is unknown; a missing task has no candidates.

        Returns:
            `input_specs` of its tasks: name -> tensor.

        Raises:
            ValueError: `now` is missing, or a name is none of the raw inputs; the error says which are.
        """
        candidates = [raw_candidate_specs(self._schema, task) for task in self._tasks]
        specs = [*raw_history_specs(self._schema), *raw_profile_specs(self._schema), *itertools.chain(*candidates)]
        for name in raw:
            if name not in (names := [spec.name for spec in specs]):
                raise ValueError(f"Unknown raw input {name!r}. {suggestion(name, names)}")
        if "now" not in raw:
            raise ValueError(f'Expected "now", the Unix seconds of each request. Received: {sorted(raw)}.')
        found = {spec.name: _tensor(raw[spec.name], spec) for spec in specs if spec.name in raw}
        users = tf.shape(found["now"])[0]
        for ids, *context in candidates:
            shown = found.setdefault(ids.name, _missing(ids, [users, 0]))
            for spec in context:
                found.setdefault(spec.name, _missing(spec, tf.shape(shown) if spec.shape else [users]))
        for spec in specs:
            found.setdefault(spec.name, _missing(spec, [users]))
        history = self.history(found)
        inputs = self.newest(history)
        for task in self._tasks:
            inputs |= self.candidates(found, task)
            affinity = self.affinity(task, history_behaviors(history, self._schema.groups), inputs["now"])
            inputs |= affinity(inputs[candidates_name(task)])
        return inputs

    def history(self, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns rows for raw histories, of any length, by the rules of prepare.

        What cannot be true fails: a behavior after `now` or before 1970, a `now` that is not between 1970 and 2100.
        Behaviors whose action the schema does not name are dropped, as from logs.

        Args:
            raw: tensors as `history_signature` says. Timestamp 0 is padding.

        Returns:
            `now` int64 [B]; of each group id, action and timestamp, int64 [B, T_g].
        """
        now = checked_now(raw["now"])
        found: dict[str, Tensor] = {"now": now}
        for name, group in self._schema.groups.items():
            columns = [raw[column] for column in _columns(name)]
            with tf.control_dependencies([_one_shape(name, columns), _possible_times(name, columns[-1], now)]):
                ids, actions, timestamp = (tf.identity(column) for column in columns)
            rows, actions = self._ids[group.entity].lookup(ids), self._actions[name].lookup(actions)
            # Any id may be real, 0 too; no behavior is of 1970-01-01 00:00:00.
            real = (timestamp > 0) & (actions != UNKNOWN)
            for column, values in zip(_columns(name), (rows, actions, timestamp), strict=True):
                found[column] = tf.where(real, values, tf.constant(PADDING, tf.int64))
        return found

    def newest(self, history: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns a model's history inputs: of each group the newest `max_length` behaviors, in time order."""
        found = dict(history)
        for name, group in self._schema.groups.items():
            newest = newest_indices(history[history_name(name, "timestamp")], group.max_length)
            found |= {column: tf.gather(history[column], newest, batch_dims=1) for column in _columns(name)}
        return found

    def affinity(
        self, task: str, behaviors: Mapping[str, Behaviors], now: Tensor
    ) -> Callable[[Tensor], dict[str, Tensor]]:
        """Returns a function: candidates, int64 [B, N] -> their affinity as a model's input; none for a task without.

        Behaviors are sorted here, once for all candidates.
        """
        if task not in self._affinity:
            return lambda candidates: {}
        counter = self._affinity[task]
        keys, users = counter.keys(behaviors), tf.range(tf.size(now, tf.int64), dtype=tf.int64)
        return lambda candidates: {affinity_name(task): counter.features(keys, users, candidates, now)}

    def candidates(self, raw: Mapping[str, Tensor], task: str) -> dict[str, Tensor]:
        """Returns a model's inputs of users, and those of the candidates of one task.

        What is `of_request` is repeated for each candidate. A candidate "" or -1 that the catalog has not is padding,
        which no list is compared with.

        Args:
            raw: tensors as `candidate_signature` says.
            task: the task.

        Returns:
            `<task>__candidates` int64 [B, N]; `user__<column>` int64 [B, 1] or [B, W], or float32 [B];
            `<task>__<column>` int64 [B, N] or [B, N, W], or float32 [B, N].
        """
        user, context = self._schema.user, self._schema.tasks[task].context
        name = candidates_name(task)
        entity = self._schema.entity_of(task)
        rows = self._ids[entity].lookup(raw[name])
        blank = tf.constant(NO_CANDIDATE[raw[name].dtype.name], raw[name].dtype)
        is_padding = tf.logical_and(tf.equal(raw[name], blank), tf.equal(rows, UNKNOWN))
        found = {name: tf.where(is_padding, tf.constant(PADDING, tf.int64), rows)}
        for column, feature in user.features.items():
            rows = self._rows(raw[profile_name(column)], feature)
            found[profile_name(column)] = rows[:, tf.newaxis] if feature.max_values == 1 else rows
        for column, feature in context.features.items():
            found[context_name(task, column)] = self._rows(raw[context_name(task, column)], feature)
        numeric = [*map(profile_name, user.dense), *(context_name(task, column) for column in context.dense)]
        found |= {name: raw[name] for name in numeric}
        for column in map(partial(context_name, task), self._schema.tasks[task].of_request):
            found[column] = tf.broadcast_to(found[column][:, tf.newaxis], tf.shape(found[name]))
        return found

    def _rows(self, values: Tensor, feature: IdFeature) -> Tensor:
        """Looks the values of a categorical column up: [...], or [..., W] -> [..., max_values]."""
        coded = self._schema.tables[feature.table].coded
        rows = codes(values) if coded else self._features[feature.table].lookup(values)
        if feature.max_values == 1:
            return rows
        rows = tf.where(values == "", tf.constant(PADDING, tf.int64), rows)
        return fit_values(rows, feature.max_values)


def parse_examples(
    examples: Tensor, schema: Schema, task: str, check: Callable[[Mapping[str, Tensor]], list[tf.Operation]]
) -> tuple[dict[str, Tensor], Tensor]:
    """Parses `tf.train.Example`s of several users, whose histories and candidates have lengths of their own.

    The features of an Example have the names of the raw inputs, each the list of its values: int64 for int64 ids and
    timestamps, float for numbers, bytes else. What is missing is empty: a group without its features is one in which
    the user did nothing. Only `now` must be there. A context column of several values is one flat list, and
    `<task>__<column>__lengths` says how many values each candidate has.

    Args:
        examples: serialized Examples, string [B].
        schema: the model's schema.
        task: the task whose candidates are scored.
        check: called with how many values of each list a user has when all are padded to the longest, int64 scalars;
            returns the checks that must hold before anything is padded.

    Returns:
        The raw inputs, padded, as `request_signature` says; and how many candidates each user has, int64 [B].
    """
    specs = raw_input_specs(schema, task)
    features = {spec.name: _example_feature(spec) for spec in specs}
    features["now"] = tf.io.FixedLenFeature([], tf.int64)
    parsed = tf.io.parse_example(examples, features)
    ragged = {name: value for name, value in parsed.items() if isinstance(value, tf.RaggedTensor)}
    sizes = {name: tf.reduce_prod(value.bounding_shape(out_type=tf.int64)[1:]) for name, value in ragged.items()}
    with tf.control_dependencies(check(sizes)):
        parsed |= {name: tf.identity(value) for name, value in ragged.items()}
    candidates = candidates_name(task)
    count = parsed[candidates].row_lengths()
    raw = dict(parsed)
    for group in schema.groups:
        columns = _columns(group)
        with tf.control_dependencies([_same_lengths(columns, [parsed[name].row_lengths() for name in columns])]):
            raw |= {name: _padded(parsed[name]) for name in columns}
    width = tf.shape(_padded(parsed[candidates]))[1]
    for name in (spec.name for spec in raw_candidate_specs(schema, task) if spec.shape):
        lengths = parsed[name].row_lengths()
        given = tf.where(lengths == 0, count, lengths)  # A column may be missing.
        with tf.control_dependencies([_same_lengths([candidates, name], [count, given])]):
            raw[name] = _widened(_padded(parsed[name]), width)
    raw |= {name: _padded(value) for name, value in raw.items() if isinstance(value, tf.RaggedTensor)}
    return raw, count


def checked_now(now: Tensor) -> Tensor:
    """Returns the times of requests, int64 [B], which must be Unix seconds after 1970 and before 2100."""
    message = "Expected now in Unix seconds, after 1970 and before 2100 (not in milliseconds). Received:"
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all((now > 0) & (now <= LATEST)), [message, now])]):
        return tf.identity(now)


def newest_indices(timestamp: Tensor, most: int) -> Tensor:
    """Returns the indices of each user's newest `most` behaviors, in time order, int32 [B, min(T, most)].

    Of one moment the later ones are newer.
    """
    width = tf.shape(timestamp)[1]
    _, from_the_end = tf.math.top_k(tf.reverse(timestamp, [1]), tf.minimum(width, most))
    return tf.reverse(width - 1 - from_the_end, [1])


def fit_values(rows: Tensor, most: int) -> Tensor:
    """Cuts or pads multi-valued features to the width of training: [..., W] -> [..., most].

    Where there is no value at all, `UNKNOWN` stands first, as prepare writes it.
    """
    width = tf.shape(rows)[-1]
    ends = [[0, 0]] * (rows.shape.rank - 1)
    rows = tf.pad(rows, [*ends, [0, tf.maximum(most - width, 0)]])[..., :most]
    none = tf.logical_not(tf.reduce_any(rows != PADDING, axis=-1, keepdims=True))
    first = tf.one_hot(0, most, on_value=True, off_value=False, dtype=tf.bool)
    return tf.where(none & first, tf.constant(UNKNOWN, tf.int64), rows)


def _signature(specs: Iterable[InputSpec]) -> dict[str, tf.TensorSpec]:
    return {spec.name: tf.TensorSpec([None, *spec.shape], spec.dtype, spec.name) for spec in specs}


def _tensor(value: Any, spec: InputSpec) -> Tensor:
    """Returns a raw input as a tensor of its spec; lists of any lengths are padded."""
    if isinstance(value, list | tuple):
        return _padded(tf.ragged.constant(value, spec.dtype)) if spec.shape else tf.constant(value, spec.dtype)
    return tf.cast(value, spec.dtype) if spec.dtype != "string" else tf.convert_to_tensor(value, tf.string)


def _missing(spec: InputSpec, shape: Any) -> Tensor:
    """Returns what stands for an input that is missing: as many dimensions of `shape` as there are, then none."""
    known = tf.convert_to_tensor(shape, tf.int32)
    whole = tf.concat([known, tf.zeros([1 + len(spec.shape) - len(known)], tf.int32)], axis=0)
    return tf.fill(whole, tf.constant(_MISSING[spec.dtype], spec.dtype))


def _columns(group: str) -> list[str]:
    return [history_name(group, column) for column in BEHAVIOR_COLUMNS]


def _one_shape(group: str, columns: list[Tensor]) -> tf.Operation:
    *names, last = _columns(group)
    message = f"Expected {', '.join(names)} and {last} of one shape. Received shapes:"
    return _all_equal(message, [tf.shape(column) for column in columns])


def _possible_times(group: str, timestamp: Tensor, now: Tensor) -> tf.Operation:
    first, last = tf.reduce_min(timestamp, axis=1), tf.reduce_max(timestamp, axis=1)
    message = (
        f"Expected {history_name(group, 'timestamp')} in Unix seconds (not in milliseconds), none after now or before "
        "1970. Received first and last of each user, now:"
    )
    # Of a user without behaviors the first is the largest number there is.
    return tf.debugging.Assert(tf.reduce_all((last <= now) & (first >= 0)), [message, first, last, now])


def _hash_table(values: np.ndarray, path: str) -> tf.lookup.StaticHashTable:
    """Returns the table of row numbers by values, which reads texts from a file of its own: an asset of a SavedModel.

    A protobuf holds 2 GiB at most, `saved_model.pb` too.
    """
    in_lines = values.dtype.kind != "i" and not any((np.strings.find(values, end) >= 0).any() for end in "\n\r")
    if not in_lines:
        keys = tf.constant(values, tf.int64 if values.dtype.kind == "i" else tf.string)
        rows = tf.range(FIRST_ROW, FIRST_ROW + len(values), dtype=tf.int64)
        return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, rows), UNKNOWN)
    with open(path, "wb") as file:
        file.writelines(f"{value}\n".encode() for value in values)
    lines = tf.lookup.TextFileInitializer(
        path,
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
        value_index_offset=FIRST_ROW,
    )
    return tf.lookup.StaticHashTable(lines, UNKNOWN)


def _example_feature(spec: InputSpec) -> object:
    """How an Example holds an input: one value, a list, or a flat list and the lengths of its parts."""
    if not spec.shape:
        return tf.io.FixedLenFeature([], spec.dtype, _MISSING[spec.dtype])
    parts = [tf.io.RaggedFeature.RowLengths(join_names(spec.name, "lengths"))] if len(spec.shape) > 1 else []
    return tf.io.RaggedFeature(spec.dtype, spec.name, parts, row_splits_dtype=tf.int64)


def _padded(value: Tensor) -> Tensor:
    return value.to_tensor(tf.constant(_MISSING[value.dtype.name], value.dtype))


def _widened(value: Tensor, width: Tensor) -> Tensor:
    """[B, W, ...] -> [B, width, ...], where `width` is at least W."""
    ends = [[0, 0], [0, width - tf.shape(value)[1]], *[[0, 0]] * (value.shape.rank - 2)]
    return tf.pad(value, ends, constant_values=tf.constant(_MISSING[value.dtype.name], value.dtype))


def _same_lengths(names: list[str], lengths: list[Tensor]) -> tf.Operation:
    return _all_equal(f"Expected as many values of {', '.join(names)} in each Example. Received lengths:", lengths)


def _all_equal(message: str, values: list[Tensor]) -> tf.Operation:
    first, *others = values
    same = tf.reduce_all([tf.reduce_all(first == other) for other in others])
    return tf.debugging.Assert(same, [message, *values])
