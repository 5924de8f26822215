"""Signatures of an export: functions of raw tensors, each with the specs of its inputs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import tensorflow as tf

from atrank_tf.data import IdMaps
from atrank_tf.data.affinity import history_behaviors
from atrank_tf.models import Ranker, TimelineATRank
from atrank_tf.models.candidate_tables import precomputed_candidates
from atrank_tf.saved_model.best_objects import asked_checks, best_objects, chunk_width
from atrank_tf.saved_model.memories import Memories, int64_specs
from atrank_tf.saved_model.preprocessor import (
    NO_CANDIDATE,
    Preprocessor,
    candidate_signature,
    history_signature,
    newest_indices,
    parse_examples,
    request_signature,
)
from atrank_tf.schema import FIRST_ROW, PADDING, Candidates
from atrank_tf.schema.inputs import candidates_name, history_name, join_names
from atrank_tf.server.limits import Cost, LimitedInputs
from atrank_tf.server.settings import ServerSettings
from atrank_tf.types import Tensor

DEFAULT = "serving_default"
"""Name of the signature that TensorFlow Serving uses where a request names none; scores the first task."""

OF_FIRST_TASK = {
    DEFAULT: "score",
    "rank": "rank",
    "top": "top",
    "score_candidates": "score_candidates",
    "explain": "explain",
}
"""Name of a signature of the first task -> what it does: `<that>__<task>` is the same signature."""

_EXAMPLES = "examples"

Function = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""Raw tensors by name -> tensors by name."""


class Signatures:
    """The functions of one model behind its signatures.

    Args:
        model: a trained model.
        values: the raw values behind its rows.
        explain: whether scores may be asked what they came from.

    Attributes:
        functions: name -> `ConcreteFunction` of a dict of raw tensors.
        resources: the hash tables that the functions use.
        limited: what the inputs hold and what they cost.
    """

    def __init__(self, model: Ranker, values: IdMaps, *, explain: bool = False) -> None:
        self._schema = model.schema
        self._preprocessor = Preprocessor(model, values)
        self._encoder = model.encoder()
        self._history = _Part(self._preprocessor.history, history_signature(model.schema))
        self._encode = _Part(self._encoded, _specs(self._encoder.inputs))
        with precomputed_candidates(model):
            self._scorers = {task: model.scorer(task) for task in model.tasks}
            self._explainers = {task: model.explainer(task) for task in model.tasks if explain}
        self._scores = {
            task: _Part(self._scores_of_request(task), request_signature(model.schema, task)) for task in model.tasks
        }
        self._memories = Memories(model)
        self.resources = self._preprocessor.tables
        self._ids: dict[str, tf.Variable] = {}
        self.limited = self._limited_inputs(model)
        self.functions = {"encode_user": self._traced(*self._encode_user())}
        for task in model.tasks:
            self.functions[join_names("score", task)] = self._traced(*self._score(task))
            self.functions[join_names("rank", task)] = self._traced(*self._rank(task))
            self.functions[join_names("score_candidates", task)] = self._traced(*self._score_candidates(task))
            if self._schema.tasks[task].candidates is Candidates.SAMPLED:  # A list that was shown is no catalog.
                self.functions[join_names("top", task)] = self._traced(*self._top(task, values))
        if isinstance(model, TimelineATRank):
            self.functions["encode_timeline"] = self._traced(*self._encode_timeline(model))
            self.functions["append_behaviors"] = self._traced(*self._append_behaviors(model), whole=True)
        for task in self._explainers:
            self.functions[join_names("explain", task)] = self._traced(*self._explain(task), whole=True)
        for name, kind in OF_FIRST_TASK.items():
            of_first = join_names(kind, model.tasks[0])
            if of_first in self.functions:
                self.functions[name] = self.functions[of_first]

    def _limited_inputs(self, model: Ranker) -> LimitedInputs:
        memory = {name for name, value in self._encoder.output.items() if len(value.shape) > 1}
        memory |= {*self._memories.whole_specs()}
        return LimitedInputs(
            candidates=frozenset(map(candidates_name, model.tasks)),
            memory=frozenset(memory),
            histories={
                history_name(name, "timestamp"): group.max_length for name, group in self._schema.groups.items()
            },
            examples=frozenset({_EXAMPLES}),
            cost=_cost(model.config),
        )

    def _traced(self, function: Function, inputs: dict[str, tf.TensorSpec], *, whole: bool = False) -> Any:
        """Returns the function with checks of its inputs; `whole` if it pairs all behaviors of a user."""

        def checked(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
            raw = _of_same_users(raw)
            sizes = {name: tf.reduce_prod(tf.shape(value, tf.int64)[1:]) for name, value in raw.items()}
            with tf.control_dependencies(self._check(tf.shape(raw[next(iter(raw))], tf.int64)[0], sizes, whole)):
                return function({name: tf.identity(value) for name, value in raw.items()})

        return tf.function(checked, input_signature=[inputs], autograph=False).get_concrete_function()

    def _check(self, users: Tensor, sizes: Mapping[str, Tensor], whole: bool = False) -> list[tf.Operation]:
        """Checks what a request costs before anything of it is padded or computed.

        Args:
            users: how many there are, an int64 scalar.
            sizes: input, or feature of an Example -> how many values each user has, int64 scalars.
            whole: whether all behaviors of a user are paired, however few of them see each other.
        """
        limits = ServerSettings
        limited = replace(self.limited, cost=replace(self.limited.cost, seen=0)) if whole else self.limited
        work = limited.work(users, sizes, lambda one, other: tf.minimum(tf.cast(one, tf.int64), other))
        checks = [
            tf.debugging.Assert(
                work <= limits.max_work_bytes,
                [
                    f"Expected a request that takes at most {limits.max_work_bytes} bytes of memory. Send several "
                    "requests. Received users, all padded to the longest, and the bytes that they may take:",
                    users,
                    work,
                ],
            )
        ]
        padded = {name: size for name, size in sizes.items() if name not in self.limited.memory}
        if padded:
            most = users * tf.reduce_max(tf.stack(list(padded.values())))
            message = f"Expected at most {limits.max_values} values of a feature in all users, padded to the longest. "
            checks.append(tf.debugging.Assert(most <= limits.max_values, [f"{message}Received:", most]))
        return checks

    def _score(self, task: str) -> tuple[Function, dict[str, tf.TensorSpec]]:
        def score(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {"scores": self._scores[task](raw)}

        return score, request_signature(self._schema, task)

    def _rank(self, task: str) -> tuple[Function, dict[str, tf.TensorSpec]]:
        def rank(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
            users = tf.size(raw[_EXAMPLES], tf.int64)
            request, count = parse_examples(raw[_EXAMPLES], self._schema, task, lambda sizes: self._check(users, sizes))
            ids = request[candidates_name(task)]
            real = tf.sequence_mask(count, tf.shape(ids)[1])
            padded = request | {candidates_name(task): tf.where(real, ids, NO_CANDIDATE[ids.dtype.name])}
            scores = tf.where(real, self._scores[task](padded), tf.float32.min)
            scores, best_first = tf.math.top_k(scores, tf.shape(ids)[1])
            return {"ids": tf.gather(ids, best_first, batch_dims=1), "scores": scores, "count": count}

        return rank, {_EXAMPLES: tf.TensorSpec([None], tf.string, _EXAMPLES)}

    def _top(self, task: str, values: IdMaps) -> tuple[Function, dict[str, tf.TensorSpec]]:
        group, name, scorer = self._schema.tasks[task].group, candidates_name(task), self._scorers[task]
        entity = self._schema.entity_of(task)
        objects, ids = self._schema.entities[entity].rows, self._ids_of_rows(entity, values)
        specs = candidate_signature(self._schema, task)
        asked = {
            "k": tf.TensorSpec([None], tf.int64, "k"),
            "exclude": tf.TensorSpec([None, None], specs.pop(name).dtype, "exclude"),
            "exclude_history": tf.TensorSpec([None], tf.bool, "exclude_history"),
        }

        def top(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
            with tf.control_dependencies(self._top_checks(raw, name, objects)):
                history = self._history(raw)
            known = {
                **self._preprocessor.newest(history),
                **self._preprocessor.candidates({**raw, name: raw["exclude"]}, task),
            }
            own = tf.where(raw["exclude_history"][:, tf.newaxis], history[history_name(group, "id")], PADDING)
            excluded = tf.concat([known[name], own], axis=1)
            known |= self._encode(known)
            affinity = self._preprocessor.affinity(
                task, history_behaviors(history, self._schema.groups), history["now"]
            )

            def scores(candidates: Tensor) -> Tensor:
                inputs = {**known, name: candidates, **affinity(candidates)}
                logits = scorer({tensor.name: inputs[tensor.name] for tensor in scorer.inputs}, training=False)[task]
                return tf.cast(logits, tf.float32)

            rows, best, count = best_objects(scores, excluded, tf.reduce_max(raw["k"]), objects)
            count = tf.minimum(count, raw["k"])
            real = tf.sequence_mask(count, tf.shape(rows)[1])
            with tf.device("CPU:0"):  # Texts are nowhere else.
                found = tf.gather(ids, tf.maximum(rows - FIRST_ROW, 0))
            blank = tf.constant(NO_CANDIDATE[ids.dtype.name], ids.dtype)
            return {"ids": tf.where(real, found, blank), "scores": tf.where(real, best, tf.float32.min), "count": count}

        return top, {**history_signature(self._schema), **specs, **asked}

    def _top_checks(self, raw: Mapping[str, Tensor], candidates: str, objects: int) -> list[tf.Operation]:
        """Checks how much is asked for, and what scoring a chunk of the catalog costs."""
        sizes = {name: tf.shape(value, tf.int64)[1] for name, value in raw.items() if value.shape.rank == 2}
        users = tf.shape(raw["k"], tf.int64)[0]
        return [*asked_checks(raw["k"], objects), *self._check(users, {**sizes, candidates: chunk_width(users)})]

    def _ids_of_rows(self, entity: str, values: IdMaps) -> tf.Variable:
        """Returns the ids of an entity by row, a variable: a graph's constants have 2 GiB of room together."""
        if entity not in self._ids:
            ids = values.ids[entity]
            with tf.device("CPU:0"):
                self._ids[entity] = tf.Variable(ids if ids.dtype.kind == "i" else ids.astype(object), trainable=False)
        return self._ids[entity]

    def _encode_user(self) -> tuple[Function, dict[str, tf.TensorSpec]]:
        def encode_user(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
            history = self._history(raw)
            memory = self._encode(self._preprocessor.newest(history))
            memory["memory"] = tf.cast(memory["memory"], tf.float32)
            return memory | self._memories.whole(history) | self._memories.origin(raw["now"])

        return encode_user, history_signature(self._schema)

    def _encode_timeline(self, model: TimelineATRank) -> tuple[Function, dict[str, tf.TensorSpec]]:
        def encode_timeline(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
            history = self._history(raw)
            memory = model.growing_memory(self._preprocessor.newest(history))
            return memory | self._memories.whole(history) | self._memories.origin(raw["now"])

        return encode_timeline, history_signature(self._schema)

    def _append_behaviors(self, model: TimelineATRank) -> tuple[Function, dict[str, tf.TensorSpec]]:
        empty = model.empty_memory(1)
        shapes = {name: [None if size in (0, 1) else size for size in value.shape] for name, value in empty.items()}
        memory = {name: tf.TensorSpec(shapes[name], value.dtype, name) for name, value in empty.items()}
        whole = self._memories.whole_specs()
        origin = int64_specs("encoded_at", "weights")

        def append_behaviors(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
            history = self._history(raw)
            checks = [*self._memories.checks(raw), self._memories.check_newer(raw, history)]
            with tf.control_dependencies(checks):
                known = {name: tf.identity(raw[name]) for name in memory}
            new = self._memories.whole(history)
            return {
                **model.append(known, self._preprocessor.newest(history)),
                **{name: tf.concat([raw[name], new[name]], axis=1) for name in whole},
                **self._memories.origin(raw["now"]),
            }

        return append_behaviors, {**history_signature(self._schema), **memory, **whole, **origin}

    def _score_candidates(self, task: str) -> tuple[Function, dict[str, tf.TensorSpec]]:
        scorer = self._scorers[task]
        asked = [tensor.name for tensor in scorer.inputs]
        origin = int64_specs("now", "encoded_at", "weights")
        memory = {name: tf.TensorSpec(value.shape, value.dtype, name) for name, value in self._encoder.output.items()}
        memory |= self._memories.whole_specs()

        def score_candidates(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
            with tf.control_dependencies(self._memories.checks(raw)):
                known = {**{name: tf.identity(raw[name]) for name in raw}, **self._preprocessor.candidates(raw, task)}
            ids, behaviors = known[candidates_name(task)], self._memories.behaviors(known)
            known |= self._preprocessor.affinity(task, behaviors, known["now"])(ids)
            logits = scorer({name: known[name] for name in asked}, training=False)[task]
            return {"scores": tf.cast(logits, tf.float32)}

        return score_candidates, {**origin, **memory, **candidate_signature(self._schema, task)}

    def _explain(self, task: str) -> tuple[Function, dict[str, tf.TensorSpec]]:
        explainer, groups = self._explainers[task], self._schema.groups
        asked = [tensor.name for tensor in explainer.inputs]

        def explain(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
            history = self._history(raw)
            known = self._request(task, raw, history)
            found = explainer({name: known[name] for name in asked}, training=False)
            # Of a behavior the request says which it is: where it stands there is all that need come back.
            group_index, real = found.pop("behavior_group"), found.pop("behavior_id") != PADDING
            del found["behavior_action"], found["behavior_timestamp"]
            places = [
                newest_indices(history[history_name(group, "timestamp")], of.max_length) for group, of in groups.items()
            ]
            place = tf.cast(tf.concat(places, axis=1), tf.int64)
            return {
                **found,
                "scores": found.pop("score"),
                "behavior_group": tf.where(real, tf.gather(tf.constant(list(groups)), group_index), ""),
                "behavior_place": tf.where(real, place, tf.constant(-1, tf.int64)),
            }

        return explain, request_signature(self._schema, task)

    def _encoded(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self._encoder(inputs, training=False)

    def _scores_of_request(self, task: str) -> Callable[[Mapping[str, Tensor]], Tensor]:
        scorer = self._scorers[task]

        def scores_of_request(raw: Mapping[str, Tensor]) -> Tensor:
            known = self._request(task, raw, self._history(raw))
            known |= self._encode(known)
            logits = scorer({tensor.name: known[tensor.name] for tensor in scorer.inputs}, training=False)[task]
            return tf.cast(logits, tf.float32)

        return scores_of_request

    def _request(self, task: str, raw: Mapping[str, Tensor], history: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns a model's inputs for a request with candidates of one task, and the history in rows."""
        candidates = self._preprocessor.candidates(raw, task)
        affinity = self._preprocessor.affinity(task, history_behaviors(history, self._schema.groups), history["now"])
        return {**self._preprocessor.newest(history), **candidates, **affinity(candidates[candidates_name(task)])}


class _Part:
    """A function that is traced once, and stored once, whichever signatures call it.

    Args:
        function: tensors by name -> anything.
        specs: the tensors that it reads.
    """

    def __init__(self, function: Callable[[Mapping[str, Tensor]], Any], specs: Mapping[str, tf.TensorSpec]) -> None:
        self._names, self._function = [*specs], tf.function(function, input_signature=[dict(specs)], autograph=False)

    def __call__(self, known: Mapping[str, Tensor]) -> Any:
        """Calls it with those of the tensors that it reads."""
        return self._function({name: known[name] for name in self._names})


def _specs(inputs: Iterable[Any]) -> dict[str, tf.TensorSpec]:
    return {tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in inputs}


def _cost(config: Any) -> Cost:
    """Returns what a model of this config costs: its widest tensors, in float32, of which two exist at once.

    Measured with hidden_dim 64, 4 spaces and 100 to 50,000 candidates, 1 to 4,000 users: 1.15 to 1.35 times what was
    taken (`LoadedModel.run`, 2026-11-28, 2 CPU cores).
    """
    heads, width = getattr(config, "num_spaces", getattr(config, "num_heads", 0)), config.hidden_dim
    units = getattr(config, "attention_units", ())  # of a network that reads each behavior for each candidate
    return Cost(
        pair=8 * heads,
        seen=2 * getattr(config, "window", 0),
        behavior=48 * width,
        read=8 * (heads or 1) + (8 * (sum(units) + 4 * width) if units else 0),
        candidate=8 * (4 * width + sum(config.hidden_units)),
    )


def _of_same_users(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Checks that all raw inputs are of as many users: one user's would be broadcast to all others.

    Returns them. Whatever is computed of what comes back waits for the check, which names an input of fewer users.
    """
    users = tf.stack([tf.shape(value)[0] for value in raw.values()])
    most = tf.reduce_max(users)
    fewer = tf.where(users != most)[:, 0]
    message = ["Expected every input to be of as many users as the longest,", most]
    message += ["Received:", tf.gather(users, fewer), "in", tf.gather(tf.constant(list(raw)), fewer)]
    check = tf.debugging.Assert(tf.reduce_all(users == most), message, summarize=len(raw))
    with tf.control_dependencies([check]):
        return {name: tf.identity(value) for name, value in raw.items()}
