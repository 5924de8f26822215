"""What all ranking models share: inputs, object codes, ranking networks, saving. A model adds its encoder."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Self

import keras
import numpy as np
from keras import ops

from atrank_tf.data import Catalog, Popularity, training_batches
from atrank_tf.models.explainer import explainer
from atrank_tf.models.inputs import candidate_inputs, history_inputs, model_inputs, profile_inputs
from atrank_tf.models.network import Network
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.models.sliced import sliced
from atrank_tf.schema import Schema, first_difference, plain, read, schema_from_dict, select_groups, suggestion


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
    Network: ClassVar[type[Network]] = Network
    training_batches: ClassVar[Any] = staticmethod(training_batches)
    """What makes the batches that `fit` takes, of records; see `atrank_tf.training_batches`."""

    slices: int = 1
    """Into how many slices of users a training batch is cut, computed side by side. `compile_model` sets it."""

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
            if config.groups and schema.tasks[task].group not in config.groups:
                raise ValueError(
                    f"Task {task!r} ranks what group {schema.tasks[task].group!r} is about, so the model must read it. "
                    f"Received: groups={list(config.groups)} in [model]."
                )
        schema = select_groups(schema, config.groups)
        network = self.Network(schema, config, self.make_encoder(config, schema), self.make_reader(config))
        inputs = model_inputs(schema, network.tasks)
        super().__init__(inputs=inputs, outputs=network.logits(inputs), **kwargs)
        self.schema = schema
        self.config = config
        self.tasks = network.tasks
        self._network: Any = network
        if catalogs is not None:
            network.objects.load_catalogs(catalogs)

    @staticmethod
    def make_encoder(config: Any, schema: Schema) -> Any:
        """Returns the encoder that `Network` asks for."""
        raise TypeError("Ranker has no encoder of its own: use a subclass, as ATRank.")

    @staticmethod
    def make_reader(config: Any) -> Any:
        """Returns the reader that `Network` asks for."""
        raise TypeError("Ranker has no reader of its own: use a subclass, as ATRank.")

    def check_schema(self, schema: Schema) -> None:
        """Raises ValueError unless a schema is the one that the model was built for; names the first difference."""
        found = first_difference(self.schema, select_groups(schema, self.config.groups))
        if found:
            raise ValueError(
                f"Expected the schema that the model was trained with. {found.place} differs: "
                f"the model has {found.one!r}, the records have {found.other!r}."
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

    def load_popularity(self, task: str, popularity: Popularity) -> None:
        """Fills what the ranking network "popularity" knows of a task's objects; without that network it does nothing.

        Args:
            task: a task of the model.
            popularity: how often each object was chosen when, as `atrank_tf.data.popularity` counts it.
        """
        self._network.load_popularity(task, popularity)

    def table_of_weight(self) -> dict[str, str]:
        """Returns the weights that have a row for each value of a table: path of the weight -> name of the table."""
        tables: dict[str, str] = self._network.table_of_weight()
        return tables

    def row_names(self) -> dict[str, list[str]]:
        """Returns the weights whose rows stand for names of the schema: path of the weight -> name of each row."""
        named: dict[str, list[str]] = self._network.row_names()
        return named

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if training and self.slices > 1:
            return sliced(lambda part: self.call_whole(part, training), inputs, self.slices)
        return self.call_whole(inputs, training)

    def call_whole(self, inputs: Any, training: bool | None) -> Any:
        """`call`, of inputs that are not cut."""
        return super().call(inputs, training=training)

    def make_train_function(self, force: bool = False) -> Any:
        """Makes the function of a training step; Keras calls it."""
        if self.train_function is None and self.loss is not None:
            # Keras would make the means of the tasks' losses within the first step, and so trace that step twice.
            nothing = {task: ops.zeros((1, 1)) for task in self.tasks}
            self.compute_loss(y=nothing, y_pred=nothing, sample_weight=nothing)
            self.reset_metrics()
        return super().make_train_function(force)

    def encoder(self) -> Any:
        """Returns the part of the model that encodes a user, sharing its weights.

        Inputs: the history inputs. Outputs: a memory, as a dict: `memory` float32 [B, T, D], `mask` bool [B, T], and
        `timestamp` int64 [B, T] where time is read, not encoded.
        """
        inputs = history_inputs(self.schema)
        return keras.Model(inputs, self._network.encode(inputs), name="encoder")

    def scorer(self, task: str) -> Any:
        """Returns the part of the model that scores candidates of one task by a memory, sharing its weights.

        Inputs: what `encoder` returns (and `now` [B], where time or popularity is read), the profile inputs and the
        task's candidate inputs. Outputs: task -> logits, float32 [B, N].
        """
        memory = self._network.memory_inputs()
        inputs = memory | profile_inputs(self.schema) | candidate_inputs(self.schema, task)
        logits = self._network.score(task, memory, self._network.objects.profile(inputs), inputs)
        return keras.Model(inputs, {task: logits}, name=f"scorer_{task}")

    def candidates_coded_ahead(self) -> AbstractContextManager[None]:
        """Makes what `encoder`, `scorer` and `explainer` return within it read the codes of candidates from tables.

        Such a table holds the codes of all objects, float32 [objects, D], computed once: for an export, whose weights
        do not change any more. A row replaces lookups of id and side features, pooling and projection. Where it would
        be larger than 1 GiB, candidates are coded as ever.

        Example:
            >>> with model.candidates_coded_ahead():
            ...     scorer = model.scorer("next_purchase")
        """
        coding: AbstractContextManager[None] = self._network.candidates_coded_ahead()
        return coding

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
        return explainer(self._network, task)

    def get_config(self) -> dict[str, Any]:
        schema, config = plain(self.schema, defaults=True), plain(self.config, defaults=True)
        return {"name": self.name, "schema": schema, "config": config}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Self:
        return cls(schema_from_dict(config["schema"]), config["config"], None, name=config["name"])
