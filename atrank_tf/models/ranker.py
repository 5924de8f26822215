"""The forward pass that all rankers share, and what is done with a ranker: saving, serving, explaining.

    history    -> object embeddings + action + time -> projection     behaviors     [B, T, D]     embed_behaviors
    behaviors  -> `encode`, the model's own                            memory        [B, T, D]     encode_user
    candidates -> object embeddings -> projection                      candidates    [B, N, D]     embed_candidates
    candidates, memory -> `read`, the model's own                      user vectors  [B, N, D]     user_vectors
    user vectors, candidates, user, context -> heads                   logits        [B, N]        rank

Glossary: B users, T_g behaviors of group g, T = sum of T_g, N candidates, D hidden size, D_o size of an object.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, Self

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from atrank_tf.data import (
    Batching,
    Catalog,
    Part,
    Popularity,
    Records,
    TrainingBatches,
    evaluation_batches,
    training_batches,
)
from atrank_tf.layers import BehaviorEmbedding, Dropout, GroupProjection, SparseEmbedding, TimeBuckets, zero_padding
from atrank_tf.models.explain import explainer
from atrank_tf.models.heads import Heads
from atrank_tf.models.inputs import (
    candidate_inputs,
    history_inputs,
    join,
    model_inputs,
    profile_inputs,
)
from atrank_tf.models.object_embedder import ObjectEmbedder
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.models.task_model import TaskModel
from atrank_tf.schema import (
    FIRST_ROW,
    PADDING,
    Schema,
    first_difference,
    plain,
    read,
    schema_from_dict,
    select_groups,
    suggestion,
)
from atrank_tf.schema.inputs import candidates_name, history_name

CANDIDATE_TABLE_BYTES = 1 << 30
"""Largest precomputed candidate table that an export holds."""
_EMBEDDED_AT_ONCE = 1 << 14


class CandidateEmbedding(NamedTuple):
    """What candidates are by themselves: `embedding` float [B, N, D], `bias` float [B, N], or None without."""

    embedding: Any
    bias: Any | None


class Ranker(TaskModel):
    """Base of all models that rank candidates by what a user did.

    A subclass names its config and gives `make_layers`, `encode` and `read`. The instance is an ordinary Keras
    functional model: dict in (`inputs` says what), dict out: task -> logits, float32 [B, N].

    Args:
        schema: a prepared schema, as `Records.schema`.
        catalogs: what is known of the objects, as `Records.catalogs`. None leaves them empty, for saved weights to
            fill.
        name: of the model.
        **config: the choices of this model, by the names of its `Config`.

    Raises:
        ValueError: the schema is not prepared, or a choice is unknown or wrong, or choices and schema do not fit
            together.
    """

    Config: ClassVar[type[RankerConfig]] = RankerConfig
    make_batches: ClassVar[Any] = staticmethod(training_batches)
    """Function that makes the model's training batches, called by `training_batches`."""

    reads_behaviors: ClassVar[bool] = True
    """Whether a user is known by what they did."""

    embeds_time: ClassVar[bool] = True
    """Whether a behavior's embedding knows how long before the request it was."""

    slices: int = 1
    """Into how many slices of users a training batch is cut, computed side by side. `compile_model` sets it."""

    def __init__(
        self,
        schema: Schema,
        *,
        catalogs: Mapping[str, Catalog] | None = None,
        name: str | None = None,
        **config: Any,
    ) -> None:
        self.config: Any = read(self.Config, config, "model")
        self.schema = _selected(schema, self.config)
        self.tasks = self.config.tasks or tuple(self.schema.tasks)

        # === Layers ===
        self.make_layers()
        self.objects = ObjectEmbedder(self.schema, self.config.id_dropout)
        groups = self.schema.groups
        self.behavior_embeddings = {
            group: BehaviorEmbedding(
                spec.width or None,
                FIRST_ROW + len(spec.actions),
                self.schema.time.buckets if self.embeds_time else None,
                self.config.combine,
                name=f"behavior_{group}",
            )
            for group, spec in groups.items()
            if self.reads_behaviors
        }
        self.projections = {
            group: GroupProjection(self.config.hidden_dim, self.config.activation, name=f"projection_{group}")
            for group in groups
        }
        if self.embeds_time:
            self.time_buckets = TimeBuckets(self.schema.time.boundaries, name="time_buckets")
        self.drop = Dropout(self.config.dropout, name="dropout")
        self.heads = Heads(self.schema, self.config, self.tasks)
        self._candidate_tables: dict[str, SparseEmbedding] = {}

        # === Functional model ===
        inputs = model_inputs(self.schema, self.tasks)
        super().__init__(inputs=inputs, outputs=self.logits(inputs), name=name)
        if catalogs is not None:
            self.objects.load_catalogs(catalogs)

    # === What a model adds ===

    def make_layers(self) -> None:
        """Makes the layers of `encode` and `read`, by `self.config` and `self.schema`.

        Raises:
            ValueError: config and schema do not fit together.
        """

    def encode(self, behaviors: Any, mask: Any) -> Any:
        """Relates behaviors to each other.

        Args:
            behaviors: float [B, T, D].
            mask: bool [B, T], True = real.

        Returns:
            The memory, float [B, T, D]. What it holds at padding does not matter.
        """
        del mask
        return behaviors

    def read(self, candidates: Any, memory: Any, mask: Any) -> Any:
        """Reads the memory for each candidate.

        Args:
            candidates: float [B, N, D].
            memory: float [B, T, D], 0 at padding.
            mask: bool [B, T], True = real.

        Returns:
            User vectors, float [B, N, D]; 0 where nothing is real. `broadcast_to_candidates` makes them of one vector
            for each user.
        """
        raise TypeError("Ranker reads no memory by itself: use a subclass, as ATRank.")

    # === Forward pass ===

    def logits(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the logits of the candidates of all tasks, task -> float32 [B, N]."""
        memory = self.encode_user(inputs)
        profile = self.profile(inputs)
        return {task: self.score(task, memory, profile, inputs) for task in self.tasks}

    def encode_user(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the memory of the histories in the model's inputs: what scores are made from, by name."""
        objects = self.embed_objects(inputs)
        behaviors, mask = self.embed_behaviors(inputs, objects)
        memory = {"memory": zero_padding(self.encode(behaviors, mask), mask), "mask": mask}
        return memory if self.heads.repeats is None else memory | self.heads.repeats.remember(inputs)

    def embed_objects(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the embeddings of the objects of the histories, group -> float [B, T_g, D_o]."""
        groups = self.schema.groups.items()
        return {group: self.objects.objects(spec.entity, inputs[history_name(group, "id")]) for group, spec in groups}

    def embed_behaviors(self, inputs: Mapping[str, Any], objects: Mapping[str, Any]) -> tuple[Any, Any]:
        """Returns the behaviors of all groups, float [B, T, D], and which are real, bool [B, T]."""
        behaviors, masks = [], []
        for group, embedding in objects.items():
            timestamp = inputs[history_name(group, "timestamp")]
            bucket = self.time_buckets(inputs["now"], timestamp) if self.embeds_time else None
            embedding = self.behavior_embeddings[group](embedding, inputs[history_name(group, "action")], bucket)
            behaviors.append(self.drop(self.projections[group](embedding)))
            masks.append(ops.not_equal(inputs[history_name(group, "id")], PADDING))
        return join(behaviors), join(masks)

    def profile(self, inputs: Mapping[str, Any]) -> Any | None:
        """Returns the embedding of who the users are, float [B, D_u], or None where the schema says nothing of them."""
        return self.objects.profile(inputs)

    def score(self, task: str, memory: Mapping[str, Any], profile: Any | None, inputs: Mapping[str, Any]) -> Any:
        """Returns the logits of a task's candidates, float32 [B, N]."""
        candidates = self.embed_candidates(task, inputs[candidates_name(task)])
        user = self.user_vectors(candidates.embedding, memory, profile, inputs)
        return self.rank(task, user, candidates, memory, profile, inputs)

    def embed_candidates(self, task: str, ids: Any) -> CandidateEmbedding:
        """Returns what a task's candidates, int64 [B, N], are by themselves: behaviors without action and time."""
        if task in self._candidate_tables:
            return CandidateEmbedding(self._candidate_tables[task](ids), self._item_bias(task, ids))
        return self.project_candidates(task, self.objects.objects(self._entity(task), ids), ids)

    def project_candidates(self, task: str, objects: Any, ids: Any) -> CandidateEmbedding:
        """As `embed_candidates`, given the embeddings of the objects, float [..., D_o]."""
        group = self.schema.tasks[task].group
        embedding = self.projections[group](self.behavior_embeddings[group](objects))
        return CandidateEmbedding(self.drop(embedding), self._item_bias(task, ids))

    def user_vectors(
        self, candidates: Any, memory: Mapping[str, Any], profile: Any | None, inputs: Mapping[str, Any]
    ) -> Any:
        """Returns what each candidate, float [B, N, D], reads of a memory, float [B, N, D]."""
        del profile, inputs
        return self.read(candidates, memory["memory"], memory["mask"])

    def rank(
        self,
        task: str,
        user: Any,
        candidates: CandidateEmbedding,
        memory: Mapping[str, Any],
        profile: Any | None,
        inputs: Mapping[str, Any],
    ) -> Any:
        """Returns logits, float32 [B, N], given what each candidate reads and is."""
        parts = {} if candidates.bias is None else {"item_bias": candidates.bias}
        if self.heads.repeats is not None:
            parts["repeat"] = self.heads.repeats.logits(task, memory, inputs)
        if task in self.heads.popularity:
            parts["popularity"] = self.heads.popularity[task](inputs[candidates_name(task)], inputs["now"])
        known = [] if profile is None else [broadcast_to_candidates(profile, user)]
        context = self.context(task, known, inputs)
        return self.heads.logits(task, user, candidates.embedding, parts, context)

    def context(self, task: str, profile: list[Any], inputs: Mapping[str, Any]) -> list[Any]:
        """Returns what the heads of a task are told beside user vector and candidate, each float [B, N, D_c]."""
        if not self.heads.reads_context(task):
            return []
        context = self.objects.context(task, inputs)
        return profile if context is None else [*profile, context]

    # === Training ===

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if training and self.slices > 1:
            return _in_slices(lambda part: self.call_whole(part, training), inputs, self.slices)
        return self.call_whole(inputs, training)

    def call_whole(self, inputs: Any, training: bool | None) -> Any:
        """`call`, of inputs that are not cut."""
        return super().call(inputs, training=training)

    def training_batches(self, records: Records, **options: Any) -> TrainingBatches:
        """Returns what `fit` takes to train this model on records.

        Args:
            records: a records folder; groups that the model does not read are left out.
            **options: `settings`, `seed`, `first_epoch`, `part` and `agree` of `atrank_tf.training_batches`.
        """
        batches: TrainingBatches = self.make_batches(records.select(self.config.groups), tasks=self.tasks, **options)
        return batches

    def evaluation_batches(self, records: Records, part: Part | str, *, settings: Batching | None = None) -> Any:
        """Returns what `evaluate`, `predict` and `fit(validation_data=...)` take: always the same requests.

        Args:
            records: a records folder; groups that the model does not read are left out.
            part: validation or test.
            settings: sizes.
        """
        return evaluation_batches(records.select(self.config.groups), part, tasks=self.tasks, settings=settings)

    def start_at_popularity(self, task: str, positive_counts: np.ndarray) -> None:
        """Starts the task's item bias at the log popularity of each object, which training would otherwise spend its
        first epochs on; without an item bias it does nothing.

        Objects that share the row of unknown ids start at their mean.

        Args:
            task: a task of the model.
            positive_counts: how often each object was a positive in training, [rows of the entity's catalog].
        """
        ids = self.objects.id_rows(self._entity(task), np.arange(len(positive_counts)))
        self.heads.start_at_popularity(task, positive_counts, np.asarray(ids))

    def load_popularity(self, task: str, popularity: Popularity) -> None:
        """Fills what the head "popularity" knows of a task's objects; without that head it does nothing.

        Args:
            task: a task of the model.
            popularity: how often each object was chosen when, as `atrank_tf.data.popularity` counts it.
        """
        if task in self.heads.popularity:
            self.heads.popularity[task].load(*popularity)

    def check_schema(self, schema: Schema) -> None:
        """Raises ValueError unless a schema is the one that the model was built for; names the first difference."""
        found = first_difference(self.schema, select_groups(schema, self.config.groups))
        if found:
            raise ValueError(
                f"Expected the schema that the model was trained with. {found.place} differs: "
                f"the model has {found.one!r}, the records have {found.other!r}."
            )

    def table_of_weight(self) -> dict[str, str]:
        """Returns the weights that have a row for each value of a table: path of the weight -> name of the table."""
        tables = {layer.embeddings.path: name for name, layer in self.objects.tables.items() if layer.built}
        return tables | self.heads.table_of_weight()

    def row_names(self) -> dict[str, list[str]]:
        """Returns the weights whose rows stand for names of the schema: path of the weight -> name of each row."""
        return self.heads.row_names()

    # === Parts that are served and explained ===

    def memory_inputs(self) -> dict[str, Any]:
        """Returns the inputs through which a memory comes back."""
        inputs = {
            "memory": keras.Input((None, self.config.hidden_dim), name="memory"),
            "mask": keras.Input((None,), dtype="bool", name="mask"),
        }
        if self.heads.popularity:
            inputs["now"] = keras.Input((), dtype="int64", name="now")
        return inputs if self.heads.repeats is None else inputs | self.heads.repeats.memory_inputs()

    def encoder(self) -> Any:
        """Returns the part of the model that encodes a user, sharing its weights.

        Inputs: the history inputs. Outputs: a memory, as a dict: `memory` float32 [B, T, D], `mask` bool [B, T], and
        `timestamp` int64 [B, T] where time is read, not encoded.
        """
        inputs = history_inputs(self.schema)
        return keras.Model(inputs, self.encode_user(inputs), name="encoder")

    def scorer(self, task: str) -> Any:
        """Returns the part of the model that scores candidates of one task by a memory, sharing its weights.

        Inputs: what `encoder` returns (and `now` [B], where time or popularity is read), the profile inputs and the
        task's candidate inputs. Outputs: task -> logits, float32 [B, N].
        """
        memory = self.memory_inputs()
        inputs = memory | profile_inputs(self.schema) | candidate_inputs(self.schema, task)
        logits = self.score(task, memory, self.profile(inputs), inputs)
        return keras.Model(inputs, {task: logits}, name=f"scorer_{task}")

    @contextmanager
    def precomputed_candidates(self) -> Iterator[None]:
        """Makes what `encoder`, `scorer` and `explainer` return within it look candidates up in precomputed tables.

        Such a table holds the embeddings of all objects, float32 [objects, D], computed once: for an export, whose
        weights do not change any more. A row replaces lookups of id and side features, pooling and projection. Where it
        would be larger than 1 GiB, candidates are embedded as ever.

        Example:
            >>> with model.precomputed_candidates():
            ...     scorer = model.scorer("next_purchase")
        """
        of_group: dict[str, SparseEmbedding] = {}
        for task in self.tasks:
            if self.schema.entities[self._entity(task)].rows * self.config.hidden_dim * 4 > CANDIDATE_TABLE_BYTES:
                continue
            group = self.schema.tasks[task].group  # Tasks of one group embed their candidates alike.
            if group not in of_group:
                of_group[group] = self._candidate_table(task)
            self._candidate_tables[task] = of_group[group]
        try:
            yield
        finally:
            self._candidate_tables.clear()

    def explainer(self, task: str) -> Any:
        """Returns the model of one task with what its scores came from, sharing its weights: one pass gives both.

        Inputs: the history and profile inputs and the task's candidate inputs. Outputs, a dict:

        | name | | |
        |---|---|---|
        | `score` | float32 [B, N] | the logits |
        | `score_<part>` | float32 [B, N] | `item_bias`, `dot`, `dnn`, ...: the parts that add up to the score |
        | `target_attention` | float32 [B, K, N, T] | how a candidate reads the memory, in each space |
        | `self_attention` | float32 [B, blocks, K, T, T] | how a behavior (first T) attends to the others |
        | `behavior_id`, `behavior_action`, `behavior_timestamp` | int64 [B, T] | the behaviors, group by group |
        | `behavior_group` | int64 [B, T] | which group of the schema, from 0; padding has `behavior_id` 0 |

        A model without such an attention has no such output.
        """
        return explainer(self, task)

    # === Config ===

    def get_config(self) -> dict[str, Any]:
        schema, config = plain(self.schema, defaults=True), plain(self.config, defaults=True)
        return {"name": self.name, "schema": schema, "config": config}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Self:
        return cls(schema_from_dict(config["schema"]), name=config["name"], **config["config"])

    def _entity(self, task: str) -> str:
        return self.schema.groups[self.schema.tasks[task].group].entity

    def _item_bias(self, task: str, ids: Any) -> Any | None:
        return self.heads.item_bias(task, self.objects.id_rows(self._entity(task), ids))

    def _candidate_table(self, task: str) -> SparseEmbedding:
        """Returns a table of the embeddings of all objects that may be candidates of a task."""
        entity = self._entity(task)
        count = self.schema.entities[entity].rows
        table = SparseEmbedding(count, self.config.hidden_dim, "zeros", trainable=False, name=f"candidate_table_{task}")
        table.build()
        for start in range(0, count, _EMBEDDED_AT_ONCE):
            ids = ops.arange(start, min(start + _EMBEDDED_AT_ONCE, count), dtype="int64")
            embedding = self.project_candidates(task, self.objects.objects(entity, ids), ids).embedding
            table.embeddings.value.scatter_update(tf.IndexedSlices(ops.cast(embedding, table.variable_dtype), ids))
        return table


def broadcast_to_candidates(vectors: Any, candidates: Any) -> Any:
    """Repeats a user's vector, [B, D], for each of the candidates, [B, N, ...]; returns [B, N, D]."""
    return ops.expand_dims(vectors, 1) * ops.ones_like(candidates[..., :1])


def traced(model: Any) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Returns a graph function of a Keras model, traced once for batches of any size; it picks its inputs from more."""
    specs = {tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in model.inputs}
    function = tf.function(lambda inputs: model(inputs, training=False), input_signature=[specs], autograph=False)
    return lambda inputs: function({name: tf.cast(inputs[name], specs[name].dtype) for name in specs})


def _selected(schema: Schema, config: RankerConfig) -> Schema:
    """Returns the schema of the groups that a config asks for."""
    if not schema.prepared:
        raise ValueError("Expected a prepared schema, with its sizes filled in: take `Records(...).schema`.")
    for task in config.tasks:
        if task not in schema.tasks:
            raise ValueError(f"Unknown task {task!r} in [model]. {suggestion(task, schema.tasks)}")
        if config.groups and schema.tasks[task].group not in config.groups:
            raise ValueError(
                f"Task {task!r} ranks what group {schema.tasks[task].group!r} is about, so the model must read it. "
                f"Received: groups={list(config.groups)} in [model]."
            )
    return select_groups(schema, config.groups)


def _in_slices(call: Callable[[Any], Mapping[str, Any]], inputs: Mapping[str, Any], slices: int) -> dict[str, Any]:
    """Returns what `call` returns of the whole batch, computed slice by slice.

    The slices do not wait for each other, so that each may have a core of its own: the operations of a step are many
    and small, and two cores that share each of them are not twice as fast as one.

    Args:
        call: dict of tensors -> dict of tensors; all have the users of the batch, B, as their first dimension.
        inputs: the batch.
        slices: how many.
    """
    users = tf.shape(next(iter(inputs.values())))[0]
    found: dict[str, list[Any]] = {}
    for number in range(slices):
        start, end = users * number // slices, users * (number + 1) // slices
        # Not every operation takes a slice of no users, of which there are some where B is less than `slices`.
        taken = ops.maximum(end, start + 1)
        for name, values in call({name: values[start:taken] for name, values in inputs.items()}).items():
            found.setdefault(name, []).append(values[: end - start])
    return {name: ops.concatenate(values) for name, values in found.items()}
