"""ATRank that is trained on all moments of a timeline at once."""

from typing import Any, ClassVar

import keras
import tensorflow as tf

from atrank_tf.data import timeline_batches
from atrank_tf.layers import TimeBias
from atrank_tf.models.atrank import ATRankConfig, self_attention_blocks
from atrank_tf.models.ranker import Ranker
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.models.target_reader import TargetReader
from atrank_tf.models.timeline_encoder import TimelineEncoder
from atrank_tf.models.timeline_network import TimelineNetwork
from atrank_tf.schema import Schema


@keras.saving.register_keras_serializable(package="atrank_tf")
class TimelineATRank(Ranker):
    """ATRank whose encoding of a history does not depend on the request.

    Self-attention is causal by moment, and time gaps are learned biases on the scores of both attentions, in place of
    the time bucket in a behavior's code. One pass over a timeline therefore trains on every moment of it, where
    `ATRank` encodes each moment's history anew; and a memory may be cached while the user does nothing new.

    Arguments, inputs, outputs and saved forms are those of `ATRank`. Called with batches of `timeline_batches`
    (the moments and candidates of all tasks, as `fit` does) it returns task -> logits, float32 [B, P_t, N].

    Reference:
        ATRank (arXiv 1711.06632); SASRec (arXiv 1808.09781) for training on every position; HSTU (arXiv 2402.17152) for
        time in the scores.
    """

    Config: ClassVar[type[RankerConfig]] = ATRankConfig
    Network: ClassVar[type[TimelineNetwork]] = TimelineNetwork
    training_batches: ClassVar[Any] = staticmethod(timeline_batches)

    @staticmethod
    def make_encoder(config: ATRankConfig, schema: Schema) -> Any:
        blocks = self_attention_blocks(config)
        biases = [
            TimeBias(schema.time.boundaries, config.spaces, name=f"time_bias_{number}")
            for number in range(config.blocks)
        ]

        return TimelineEncoder(blocks, biases)

    @staticmethod
    def make_reader(config: ATRankConfig) -> Any:
        return TargetReader(config)

    def append(self, memory: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        """Adds new behaviors to memories without encoding the old ones again. Exact.

        A behavior must not change what came before it, so it must be newer: `docs/serving.md` says what that means for
        behaviors of one moment.

        Args:
            memory: `memory` float [B, T, D], `mask` bool [B, T], `timestamp` int64 [B, T], `keys` and `values` float
                [B, blocks, T, D]; under "repeat" also `object`, `action` int64 [B, T]. `empty_memory` to begin with.
            inputs: the history inputs of the new behaviors alone, as tensors.

        Returns:
            The same of old and new behaviors.
        """
        appended: dict[str, Any] = self._network.append(memory, inputs)
        return appended

    def empty_memory(self, users: Any) -> dict[str, Any]:
        """Returns the memories of B users who did nothing, for `append`; T = 0."""
        width = self.config.width
        blocks = self.config.blocks  # type: ignore[attr-defined]
        memory = {
            "memory": tf.zeros((users, 0, width)),
            "mask": tf.zeros((users, 0), tf.bool),
            "timestamp": tf.zeros((users, 0), tf.int64),
            "keys": tf.zeros((users, blocks, 0, width)),
            "values": tf.zeros((users, blocks, 0, width)),
        }
        kept = ("object", "action") if "repeat" in self.config.ranking else ()
        return memory | {name: tf.zeros((users, 0), tf.int64) for name in kept}

    @property
    def input_spec(self) -> None:
        """None: both forms of batches are taken."""
        return

    def call_whole(self, inputs: Any, training: bool | None) -> Any:
        if "now" in inputs:
            return super().call_whole(inputs, training)
        return self._network.timeline(inputs)
