"""Base class of all rankers: layers, forward pass, and the models made of its parts to serve and explain.

    history    -> object embeddings + action + time -> projection     behaviors     [B, T, D]     embed_behaviors
    behaviors  -> `encode`, the model's own                            memory        [B, T, D]     encode_user
    candidates -> object embeddings -> projection                      candidates    [B, N, D]     embed_candidates
    candidates, memory -> `read`, the model's own                      user vectors  [B, N, D]     user_vectors
    user vectors + calendar, candidates, user, context -> heads        logits        [B, N]        rank

Glossary: B users, T_g behaviors of group g, T = sum of T_g, N candidates, D hidden dim, D_o size of an object.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import keras
import numpy as np
from keras import ops

from atrank_tf.data import Catalog, Part, Records, TrainingBatches, evaluation_batches, request_hours, training_batches
from atrank_tf.experiment import Batching, RankerConfig, schema_that_is_read
from atrank_tf.layers import (
    BehaviorEmbedding,
    CalendarEmbedding,
    Dropout,
    GroupProjection,
    SparseEmbedding,
    TimeBuckets,
    zero_padding,
)
from atrank_tf.models.candidate_counts import CandidateCounts
from atrank_tf.models.explain import explainer
from atrank_tf.models.heads import CandidateEmbedding, Heads, KnownOfCandidates
from atrank_tf.models.inputs import (
    candidate_inputs,
    concat,
    history_inputs,
    model_inputs,
    profile_inputs,
)
from atrank_tf.models.list_numbers import ListNumbers
from atrank_tf.models.object_embedder import ObjectEmbedder
from atrank_tf.models.task_model import TaskModel
from atrank_tf.schema import (
    FIRST_ROW,
    PADDING,
    Schema,
    first_difference,
    plain,
    read,
    schema_from_dict,
)
from atrank_tf.schema.inputs import affinity_name, candidates_name, history_name, request_times_name
from atrank_tf.types import Tensor

_ADAPTED_BATCHES, _ADAPTED_CANDIDATES = 100, 400
"""Training batches at most, and candidates of each task in each, over which the scale of counts is measured."""


class Ranker(TaskModel):
    """Base class of all models that rank candidates by a user's history.

    A subclass names its config and gives `make_layers`, `encode` and `read`. Where these need more than behaviors and
    candidates, as times, it gives `encode_user` and `user_vectors` instead, which call them here. The instance is an
    ordinary Keras functional model: dict in (`inputs` says what), dict out: task -> logits, float32 [B, N].

    Args:
        schema: a prepared schema, as `Records.schema`.
        catalogs: side features of the objects, as `Records.catalogs`. None leaves them empty, for saved weights to
            fill.
        name: of the model.
        **config: fields of the model's `Config`.

    Attributes:
        candidate_tables: task -> precomputed embeddings of its objects, in place of `project_candidates`; empty but
            while `atrank_tf.saved_model` makes an export.

    Raises:
        ValueError: the schema is not prepared, a field of the config is unknown or wrong, or config and schema do not
            fit together.
    """

    Config: ClassVar[type[RankerConfig]] = RankerConfig
    make_batches: ClassVar[Any] = staticmethod(training_batches)
    """Function that makes the model's training batches, called by `training_batches`."""

    reads_behaviors: ClassVar[bool] = True
    """Whether the model reads the behaviors of a user."""

    embeds_time: ClassVar[bool] = True
    """Whether the embedding of a behavior includes its time before the request."""

    projects_alike: ClassVar[bool] = False
    """Whether an object begins with the same projection in all groups: where candidates look for what is like them."""

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
        alike = {spec.entity: keras.initializers.GlorotUniform() for spec in groups.values() if self.projects_alike}
        self.behavior_embeddings = {
            group: BehaviorEmbedding(
                spec.width or None,
                FIRST_ROW + len(spec.actions),
                self.schema.time.buckets if self.embeds_time else None,
                self.config.combine,
                alike.get(spec.entity, "glorot_uniform"),
                name=f"behavior_{group}",
            )
            for group, spec in groups.items()
            if self.reads_behaviors
        }
        ranked = {self.schema.tasks[task].group for task in self.tasks}
        self.projections = {
            group: GroupProjection(
                self.config.hidden_dim,
                self.config.activation,
                alike.get(spec.entity, "glorot_uniform"),
                name=f"projection_{group}",
            )
            for group, spec in groups.items()
            if self.reads_behaviors or group in ranked
        }
        if self.embeds_time:
            self.time_buckets = TimeBuckets(self.schema.time.boundaries, name="time_buckets")
        if self.config.calendar:
            self.calendar = CalendarEmbedding(self.config.hidden_dim, name="calendar")
        self.drop = Dropout(self.config.dropout, name="dropout")
        self.counts = CandidateCounts(self.schema, self.config, self.tasks, self.objects)
        self.lists = ListNumbers(self.schema, self.config, self.tasks, self.objects)
        self.heads = Heads(self.schema, self.config, self.tasks)
        self.candidate_tables: dict[str, SparseEmbedding] = {}

        # === Functional model ===
        inputs = model_inputs(self.schema, self.tasks)
        super().__init__(inputs=inputs, outputs=self.logits(inputs), name=name)
        if catalogs is not None:
            self.objects.load_catalogs(catalogs)

    # === What a model adds ===

    def make_layers(self) -> None:
        """Creates the layers of `encode` and `read` from `self.config` and `self.schema`.

        Raises:
            ValueError: config and schema do not fit together.
        """

    def encode(self, behaviors: Tensor, mask: Tensor) -> Tensor:
        """Encodes behaviors into a memory, as by self-attention; by default it returns them as they are.

        Args:
            behaviors: float [B, T, D].
            mask: bool [B, T], True = real.

        Returns:
            The memory, float [B, T, D]; at padding anything.
        """
        del mask
        return behaviors

    def read(self, candidates: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Reads the memory for each candidate, as by target attention.

        Args:
            candidates: float [B, N, D].
            memory: float [B, T, D], 0 at padding.
            mask: bool [B, T], True = real.

        Returns:
            User vectors, float [B, N, D]; 0 where nothing is real. Where a user has one vector,
            `broadcast_to_candidates` repeats it for each candidate.
        """
        raise TypeError("Ranker reads no memory by itself: use a subclass, as ATRank.")

    # === Forward pass ===

    def logits(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the logits of the candidates of all tasks, task -> float32 [B, N]."""
        memory = self.encode_user(inputs)
        profile = self.profile(inputs)
        return {task: self.score(task, memory, profile, inputs) for task in self.tasks}

    def encode_user(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Encodes the histories of a batch into a memory, name -> tensor, from which candidates are scored."""
        behaviors, mask = self.embed_behaviors(inputs)
        return {"memory": zero_padding(self.encode(behaviors, mask), mask), "mask": mask}

    def embed_behaviors(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Returns the behaviors of all groups, float [B, T, D], and which are real, bool [B, T]."""
        behaviors, masks = [], []
        for group, spec in self.schema.groups.items():
            ids, action, timestamp = (inputs[history_name(group, column)] for column in ("id", "action", "timestamp"))
            bucket = self.time_buckets(inputs["now"], timestamp) if self.embeds_time else None
            embedding = self.behavior_embeddings[group](self.objects.objects(spec.entity, ids), action, bucket)
            behaviors.append(self.drop(self.projections[group](embedding)))
            masks.append(ops.not_equal(ids, PADDING))
        return concat(behaviors), concat(masks)

    def profile(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Returns the embedding of user features, float [B, D_u], or None if the schema has none."""
        return self.objects.profile(inputs)

    def score(
        self, task: str, memory: Mapping[str, Tensor], profile: Tensor | None, inputs: Mapping[str, Tensor]
    ) -> Tensor:
        """Returns the logits of a task's candidates, float32 [B, N]."""
        ids = inputs[candidates_name(task)]
        if "now" in inputs:  # Not where only a server asks, which knows all ids.
            ids = self.objects.known_at(self.schema.entity_of(task), ids, inputs["now"][:, None])
        candidates = self.embed_candidates(task, ids)
        user = self.user_vectors(candidates.embedding, memory, profile, inputs)
        return self.rank(task, user, candidates, profile, inputs)

    def embed_candidates(self, task: str, ids: Tensor) -> CandidateEmbedding:
        """Embeds a task's candidates, int64 [B, N] as of `ObjectEmbedder`, as behaviors without action and time."""
        if task in self.candidate_tables:
            return CandidateEmbedding(self.candidate_tables[task](ids), self._item_bias(task, ids))
        return self.project_candidates(task, self.objects.objects(self.schema.entity_of(task), ids), ids)

    def project_candidates(self, task: str, objects: Tensor, ids: Tensor) -> CandidateEmbedding:
        """`embed_candidates`, given the embeddings of the objects, float [..., D_o]."""
        group = self.schema.tasks[task].group
        embedding = self.projections[group](self.behavior_embeddings[group](objects))
        return CandidateEmbedding(self.drop(embedding), self._item_bias(task, ids))

    def user_vectors(
        self, candidates: Tensor, memory: Mapping[str, Tensor], profile: Tensor | None, inputs: Mapping[str, Tensor]
    ) -> Tensor:
        """Returns the user vector that each candidate, float [B, N, D], reads from a memory, float [B, N, D]."""
        del profile, inputs
        return self.read(candidates, memory["memory"], memory["mask"])

    def rank(
        self,
        task: str,
        user: Tensor,
        candidates: CandidateEmbedding,
        profile: Tensor | None,
        inputs: Mapping[str, Tensor],
    ) -> Tensor:
        """Returns logits, float32 [B, N], given user vectors, float [B, N, D], and candidates."""
        profile = None if profile is None else broadcast_to_candidates(profile, user)
        if self.config.calendar:
            user = user + self.calendar(inputs["now"])[:, None]
        popularity = self.counts(task, inputs, inputs.get("now"))
        known = self.known_of_candidates(task, profile, self.lists(task, inputs), popularity, inputs)
        return self.heads.logits(task, user, candidates, known)

    def known_of_candidates(
        self,
        task: str,
        profile: Tensor | None,
        lists: Tensor | None,
        popularity: Tensor | None,
        inputs: Mapping[str, Tensor],
    ) -> KnownOfCandidates:
        """Returns what the heads of a task read besides user vector and candidate.

        Args:
            task: a task.
            profile: embedding of user features for each candidate.
            lists: how each candidate compares with the others of its list.
            popularity: recent popularity of each candidate.
            inputs: with the candidates' context and affinity.
        """
        if not self.config.reads_context:
            return KnownOfCandidates()
        context = (profile, self.objects.context(task, inputs))
        return KnownOfCandidates(context, (lists, popularity, inputs.get(affinity_name(task))))

    def adapt(self, batches: TrainingBatches) -> None:
        """Measures on what scale the numbers are that are counted of candidates, if heads read them on one.

        Args:
            batches: of `training_batches`, whose first ones are read.
        """
        found: dict[str, list[np.ndarray]] = {task: [] for task in self.heads.normalized}
        if not found:
            return
        random = np.random.default_rng(0)
        for inputs, _, _ in batches.dataset.take(min(batches.steps, _ADAPTED_BATCHES)):
            for task, numbers in found.items():
                # Some of each batch: candidates of one user are alike, and a batch may be of a few users.
                counted = self._counted(task, inputs)
                numbers.append(random.permutation(counted)[:_ADAPTED_CANDIDATES])
        counts = {task: np.concatenate(numbers) for task, numbers in found.items()}
        self.heads.adapt({task: numbers for task, numbers in counts.items() if len(numbers)})

    def _counted(self, task: str, inputs: Mapping[str, Tensor]) -> np.ndarray:
        """Returns what is counted of the real candidates of a task in a batch, float [M, C]."""
        now = inputs["now"] if "now" in inputs else inputs[request_times_name(task)]
        lists, popularity = self.lists(task, inputs), self.counts(task, inputs, now)
        found = self.known_of_candidates(task, None, lists, popularity, inputs).counts
        real = np.asarray(inputs[candidates_name(task)]) != PADDING
        return np.concatenate([np.asarray(part, np.float32)[real] for part in found if part is not None], axis=-1)

    # === Training ===

    def training_batches(self, records: Records, **options: Any) -> TrainingBatches:
        """Returns what `fit` takes to train this model, once it has counted (`load_counts`) and has a scale (`adapt`).

        Args:
            records: a records folder; groups that the model does not read are left out.
            **options: `settings`, `seed` and `part` of `atrank_tf.training_batches`.
        """
        self.load_counts(records, options.get("part", Part.TRAINING))
        batches: TrainingBatches = self.make_batches(self.view(records), tasks=self.tasks, **options)
        self.adapt(batches)
        return batches

    def evaluation_batches(self, records: Records, part: Part | str, *, settings: Batching | None = None) -> Any:
        """Returns what `evaluate`, `predict` and `fit(validation_data=...)` take: always the same requests.

        Args:
            records: a records folder; groups that the model does not read are left out.
            part: validation or test.
            settings: sizes.
        """
        return evaluation_batches(self.view(records), part, tasks=self.tasks, settings=settings)

    def view(self, records: Records) -> Records:
        """Returns a view of records with what this model reads: its groups, and affinity if it reads that."""
        return records.select(self.config.groups, affinity=self.config.reads_affinity)

    def load_counts(
        self,
        records: Records,
        part: Part = Part.TRAINING,
        total: Callable[[np.ndarray], np.ndarray] = lambda array: array,
    ) -> None:
        """Counts what is known at each moment: since when ids are, how often objects were chosen; and when users ask.

        Args:
            records: a records folder.
            part: of the targets that count.
            total: sums an array over the workers who share the records.
        """
        view = self.view(records)
        self.objects.load_known_from(view, part, total)
        self.counts.load(view, part, total)
        if self.config.calendar:
            self.calendar.load(total(request_hours(view, self.tasks, part)))

    def initialize_tables(
        self,
        records: Records,
        part: Part = Part.TRAINING,
        total: Callable[[np.ndarray], np.ndarray] = lambda array: array,
    ) -> None:
        """Begins tables of ids with what the same users had, where the model reads groups that it does not predict.

        For a model that has not been trained: see `data.co_occurrence`.

        Args:
            records: a records folder.
            part: of the targets.
            total: sums an array over the workers who share the records.
        """
        self.objects.initialize_tables(self.view(records), self.tasks, part, total)

    def check_schema(self, schema: Schema) -> None:
        """Raises ValueError unless a schema is the one that the model was built for; names the first difference."""
        found = first_difference(self.schema, _selected(schema, self.config))
        if found:
            raise ValueError(
                f"Expected the schema that the model was trained with. {found.place} differs: "
                f"the model has {found.one!r}, the records have {found.other!r}."
            )

    def table_of_weight(self) -> dict[str, str]:
        """Returns the weights with a row for each value of a table: path of the weight -> name of the table."""
        tables = {layer.embeddings.path: name for name, layer in self.objects.tables.items() if layer.built}
        return tables | self.heads.table_of_weight()

    def row_names(self) -> dict[str, list[str]]:
        """Returns the weights whose rows stand for names of the schema: path of the weight -> name of each row."""
        return self.heads.row_names(self.counts.names)

    # === Parts that are served and explained ===

    def memory_inputs(self) -> dict[str, Tensor]:
        """Returns the inputs of a memory, for `scorer`."""
        inputs = {
            "memory": keras.Input((None, self.config.hidden_dim), name="memory"),
            "mask": keras.Input((None,), dtype="bool", name="mask"),
        }
        if self.counts.reads_now or self.config.calendar:
            inputs["now"] = keras.Input((), dtype="int64", name="now")
        return inputs

    def encoder(self) -> Any:
        """Returns a model that encodes histories into memories, sharing the weights of this one.

        Inputs: the history inputs. Outputs: a memory, as a dict: `memory` float32 [B, T, D], `mask` bool [B, T], and
        `timestamp` int64 [B, T] where the time of behaviors is not in their embedding.
        """
        inputs = history_inputs(self.schema)
        return keras.Model(inputs, self.encode_user(inputs), name="encoder")

    def scorer(self, task: str) -> Any:
        """Returns a model that scores candidates of one task by a memory, sharing the weights of this one.

        Inputs: what `encoder` returns (and `now` [B], where time, calendar or popularity is read), the profile inputs
        and the task's candidate inputs. Outputs: task -> logits, float32 [B, N].
        """
        memory = self.memory_inputs()
        inputs = memory | profile_inputs(self.schema) | candidate_inputs(self.schema, task)
        logits = self.score(task, memory, self.profile(inputs), inputs)
        return keras.Model(inputs, {task: logits}, name=f"scorer_{task}")

    def explainer(self, task: str) -> Any:
        """Returns a model of one task that outputs scores, their parts and attention weights, sharing the weights.

        Inputs: the history and profile inputs and the task's candidate inputs. Outputs, a dict:

        | name | | |
        |---|---|---|
        | `score` | float32 [B, N] | the logits |
        | `score_<part>` | float32 [B, N] | `item_bias`, `dot`, `dnn`, ...: the parts that add up to the score |
        | `score_affinity` | float32 [B, N] | the part of affinity; the others are those of affinity 0 throughout |
        | `target_attention` | float32 [B, K, N, T] | weights of candidates over behaviors, in each space |
        | `self_attention` | float32 [B, blocks, K, T, T] | weights of a behavior (first T) over the others |
        | `behavior_id`, `behavior_action`, `behavior_timestamp` | int64 [B, T] | the behaviors, group by group |
        | `behavior_group` | int64 [B, T] | index of the group, from 0; padding has `behavior_id` 0 |

        A model without such an attention, or without affinity, has no such output.
        """
        return explainer(self, task)

    # === Config ===

    def get_config(self) -> dict[str, Any]:
        schema, config = plain(self.schema, defaults=True), plain(self.config, defaults=True)
        return {"name": self.name, "schema": schema, "config": config}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Self:
        return cls(schema_from_dict(config["schema"]), name=config["name"], **config["config"])

    def _item_bias(self, task: str, ids: Tensor) -> Tensor | None:
        return self.heads.item_bias(task, self.objects.id_rows(self.schema.entity_of(task), ids))


def broadcast_to_candidates(vectors: Tensor, candidates: Tensor) -> Tensor:
    """Repeats a user's vector, [B, D], for each of the candidates, [B, N, ...]; returns [B, N, D]."""
    return ops.expand_dims(vectors, 1) * ops.ones_like(candidates[..., :1])


def _selected(schema: Schema, config: RankerConfig) -> Schema:
    """Returns the schema of the groups that a config asks for."""
    if not schema.prepared:
        raise ValueError("Expected a prepared schema, with its sizes filled in: take `Records(...).schema`.")
    return schema_that_is_read(schema, config)
