"""What all ranking models share: inputs, object codes, ranking networks, saving. A model adds its encoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import keras
import numpy as np
from keras import ops

from atrank_tf.data import Catalog
from atrank_tf.layers import BehaviorEmbedding, DNNRanking, DotRanking, GroupProjection, TimeBuckets
from atrank_tf.models.inputs import candidate_inputs, history_inputs, model_inputs, profile_inputs
from atrank_tf.models.object_encoder import ObjectEncoder
from atrank_tf.schema import FIRST_ROW, PADDING, Schema, plain, read, schema_from_dict, suggestion

ACTIVATIONS = ("linear", "relu", "gelu", "silu", "tanh")
"""Activations that an experiment may name."""


@dataclass(frozen=True, kw_only=True)
class RankerConfig:
    """What every ranking model lets one choose.

    Args:
        tasks: the tasks that the model predicts; empty means all of the schema.
        width: D, the common width of behaviors and candidates.
        combine: how object, action and time make a behavior's code: "sum" or "concat".
        activation: of the projection of a group to the common width; "linear" for none.
        dropout: share of units that training drops, throughout the model.
        l2: weight of the squared entries of the embedding tables in the loss.
        ranking: ranking networks whose logits are added: "dot", "dnn" or both.
        hidden: hidden widths of the "dnn" ranking network.
        item_bias: whether each object has a logit of its own.
    """

    tasks: tuple[str, ...] = ()
    width: int = 128
    combine: str = "sum"
    activation: str = "linear"
    dropout: float = 0.0
    l2: float = 0.0
    ranking: tuple[str, ...] = ("dot", "dnn")
    hidden: tuple[int, ...] = (128, 64)
    item_bias: bool = True

    def __post_init__(self) -> None:
        if self.width <= 0:
            raise ValueError(f"width must be positive. Received: width={self.width} in [model].")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1. Received: dropout={self.dropout} in [model].")
        for name, valid in (("combine", ("sum", "concat")), ("activation", ACTIVATIONS)):
            if getattr(self, name) not in valid:
                raise ValueError(
                    f"Unknown {name} {getattr(self, name)!r} in [model]. {suggestion(getattr(self, name), valid)}"
                )
        if any(size <= 0 for size in self.hidden):
            raise ValueError(f"hidden widths must be positive. Received: hidden={list(self.hidden)} in [model].")
        if self.l2 < 0:
            raise ValueError(f"l2 must not be negative. Received: l2={self.l2} in [model].")
        if not self.ranking:
            raise ValueError('Expected at least one ranking network in [model], as ranking = ["dot"]. Received: none.')
        for name in self.ranking:
            if name not in ("dot", "dnn"):
                raise ValueError(f"Unknown ranking network {name!r} in [model]. {suggestion(name, ('dot', 'dnn'))}")


class Ranker(keras.Model):
    """A functional model that ranks candidates by what a user did: encode -> project -> relate -> read -> rank.

    A subclass names its config and gives `make_encoder` and `make_reader`. The instance is an ordinary Keras functional
    model: dict in (`inputs` says what), dict out: task -> logits, float32 [B, N].

    Args:
        schema: a prepared schema, as `Records.schema`.
        config: the choices of this model; a dataclass or a dict of it.
        catalogs: what is known of the objects, as `Records.catalogs`. None leaves them empty, for saved weights to
            fill.

    Raises:
        ValueError: the schema is not prepared, or names or sizes do not fit together.
    """

    Config: ClassVar[type[RankerConfig]] = RankerConfig

    def __init__(
        self,
        schema: Schema,
        config: RankerConfig | Mapping[str, Any],
        catalogs: Mapping[str, Catalog] | None,
        **kwargs: Any,
    ) -> None:
        if not schema.prepared:
            raise ValueError("Expected a prepared schema, with its sizes filled in: take `Records(...).schema`.")
        if not isinstance(config, RankerConfig):
            config = read(self.Config, config, "model")
        for task in config.tasks:
            if task not in schema.tasks:
                raise ValueError(f"Unknown task {task!r} in [model]. {suggestion(task, schema.tasks)}")
        tasks = config.tasks or tuple(schema.tasks)
        network = _Network(schema, config, self)
        inputs = model_inputs(schema, tasks)
        memory, mask = network.encode(inputs)
        profile = network.objects.profile(inputs)
        outputs = {task: network.score(task, memory, mask, profile, inputs) for task in tasks}
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self.schema = schema
        self.config = config
        self.tasks = tasks
        self._network = network
        if catalogs is not None:
            network.objects.load_catalogs(catalogs)

    @staticmethod
    def make_encoder(config: Any) -> Any:
        """Returns a function (behaviors [B, T, D], mask [B, T]) -> memory [B, T, D]."""
        raise TypeError("Ranker has no encoder of its own: use a subclass, as ATRank.")

    @staticmethod
    def make_reader(config: Any) -> Any:
        """Returns a function (candidates [B, N, D], memory [B, T, D], mask [B, T]) -> read-out [B, N, D]."""
        raise TypeError("Ranker has no reader of its own: use a subclass, as ATRank.")

    def check_schema(self, schema: Schema) -> None:
        """Raises ValueError unless a schema is the one that the model was built for; names the first difference."""
        mine, other = plain(self.schema), plain(schema)
        for room in sorted({*mine, *other}):
            if mine.get(room) != other.get(room):
                raise ValueError(
                    f"Expected the schema that the model was trained with. [{room}] differs: "
                    f"the model has {mine.get(room)}, the records have {other.get(room)}."
                )

    def start_at_popularity(self, task: str, positive_counts: np.ndarray) -> None:
        """Starts the task's item bias at the log popularity of each object, which training would otherwise spend its
        first epochs on; without an item bias it does nothing.

        Objects that share the row of unknown ids start at their mean.

        Args:
            task: a task of the model.
            positive_counts: how often each object was a positive in training, [rows of the entity's catalog].
        """
        self._network.start_at_popularity(task, positive_counts)

    def encoder(self) -> Any:
        """Returns the part of the model that encodes a user, sharing its weights.

        Inputs: the history inputs. Outputs: `memory` float32 [B, T, D] and `mask` bool [B, T].
        """
        inputs = history_inputs(self.schema)
        memory, mask = self._network.encode(inputs)
        return keras.Model(inputs, {"memory": memory, "mask": mask}, name="encoder")

    def scorer(self, task: str) -> Any:
        """Returns the part of the model that scores candidates of one task by a memory, sharing its weights.

        Inputs: `memory` float32 [B, T, D], `mask` bool [B, T], the profile inputs and the task's candidate inputs.
        Outputs: task -> logits, float32 [B, N].
        """
        inputs = profile_inputs(self.schema) | candidate_inputs(self.schema, task)
        inputs["memory"] = keras.Input((None, self.config.width), name="memory")
        inputs["mask"] = keras.Input((None,), dtype="bool", name="mask")
        profile = self._network.objects.profile(inputs)
        logits = self._network.score(task, inputs["memory"], inputs["mask"], profile, inputs)
        return keras.Model(inputs, {task: logits}, name=f"scorer_{task}")

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "schema": plain(self.schema), "config": plain(self.config)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Self:
        return cls(schema_from_dict(config["schema"]), config["config"], None, name=config["name"])


class _Network:
    """The layers of a ranker, and how they are called: once for the whole model, again for its parts."""

    def __init__(self, schema: Schema, config: RankerConfig, model: Ranker) -> None:
        self._schema = schema
        self.objects = ObjectEncoder(schema, config.l2)
        self._buckets = TimeBuckets(schema.time.boundaries, name="time_buckets")
        self._embeddings = {
            name: BehaviorEmbedding(
                group.width or None,
                FIRST_ROW + len(group.actions),
                schema.time.buckets,
                config.combine,
                name=f"behavior_{name}",
            )
            for name, group in schema.groups.items()
        }
        self._projections = {
            name: GroupProjection(config.width, config.activation, name=f"projection_{name}") for name in schema.groups
        }
        self._drop = keras.layers.Dropout(config.dropout, name="dropout")
        self._encoder = model.make_encoder(config)
        self._reader = model.make_reader(config)
        tasks = config.tasks or tuple(schema.tasks)
        self._dot = DotRanking(name="dot_ranking") if "dot" in config.ranking else None
        self._dnn = {
            task: DNNRanking(config.hidden, config.dropout, name=f"dnn_ranking_{task}")
            for task in tasks
            if "dnn" in config.ranking
        }
        self._bias = {}
        for task in tasks if config.item_bias else ():
            entity = schema.entities[schema.groups[schema.tasks[task].group].entity]
            rows = schema.tables[entity.id.table].rows
            self._bias[task] = keras.layers.Embedding(rows, 1, "zeros", name=f"item_bias_{task}")
            self._bias[task].build((None, None))
        self._to_float32 = keras.layers.Activation("linear", dtype="float32", name="logits")

    def encode(self, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        behaviors, masks = [], []
        for name, group in self._schema.groups.items():
            ids = inputs[f"{name}_id"]
            code = self.objects.objects(group.entity, ids)
            bucket = self._buckets(inputs["now"], inputs[f"{name}_timestamp"])
            code = self._embeddings[name](code, inputs[f"{name}_action"], bucket)
            behaviors.append(self._drop(self._projections[name](code)))
            masks.append(ops.not_equal(ids, PADDING))
        mask = ops.concatenate(masks, axis=1) if len(masks) > 1 else masks[0]
        together = ops.concatenate(behaviors, axis=1) if len(behaviors) > 1 else behaviors[0]
        memory = self._encoder(together, mask)
        return memory * ops.cast(ops.expand_dims(mask, -1), memory.dtype), mask

    def score(self, task: str, memory: Any, mask: Any, profile: Any | None, inputs: Mapping[str, Any]) -> Any:
        group = self._schema.tasks[task].group
        entity = self._schema.groups[group].entity
        rows = inputs[f"{task}_candidates"]
        code = self._embeddings[group](self.objects.objects(entity, rows))
        candidates = self._drop(self._projections[group](code))
        read = self._reader(candidates, memory, mask)
        parts = []
        if self._dot is not None:
            parts.append(self._dot(read, candidates))
        if task in self._dnn:
            parts.append(self._dnn[task](read, candidates, self._context(task, profile, candidates, inputs)))
        if task in self._bias:
            parts.append(ops.squeeze(self._bias[task](self.objects.id_rows(entity, rows)), axis=-1))
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return self._to_float32(total)

    def start_at_popularity(self, task: str, positive_counts: np.ndarray) -> None:
        if task not in self._bias:
            return
        entity = self._schema.groups[self._schema.tasks[task].group].entity
        rows = np.asarray(self.objects.id_rows(entity, np.arange(len(positive_counts))))
        table_rows = self._bias[task].input_dim
        objects = np.bincount(rows, minlength=table_rows)
        mean = np.bincount(rows, weights=positive_counts, minlength=table_rows) / np.maximum(objects, 1)
        bias = np.log((mean + 1) / (mean[FIRST_ROW:].mean() + 1))
        bias[PADDING] = 0.0
        self._bias[task].embeddings.assign(bias[:, np.newaxis])

    def _context(self, task: str, profile: Any | None, candidates: Any, inputs: Mapping[str, Any]) -> Any | None:
        context = self.objects.context(task, inputs)
        if profile is None:
            return context
        everyone = ops.expand_dims(profile, 1) * ops.ones_like(candidates[..., :1])
        return everyone if context is None else ops.concatenate([everyone, context], axis=-1)
