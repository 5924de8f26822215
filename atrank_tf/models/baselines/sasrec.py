"""SASRec: a causal transformer over the behaviors in time order."""

from typing import ClassVar

import keras
from keras import ops

from atrank_tf.experiment import RankerConfig, SASRecConfig
from atrank_tf.layers import LastState, PositionEmbedding, SelfAttention
from atrank_tf.models.baselines.sequence_ranker import SequenceRanker
from atrank_tf.models.ranker import broadcast_to_candidates
from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class SASRec(SequenceRanker):
    """Causal transformer over the behaviors in time order; the newest state is the user vector of all candidates.

    Each behavior has a position embedding.

    It is trained request by request, as `ATRank` is, so that all models meet the same batches; the paper's trains on
    all positions of a sequence at once, as `TimelineATRank` does. Layer norms follow the residual sums (post-norm).

    Arguments, inputs, outputs and saved forms are those of `ATRank`.

    Reference:
        Kang and McAuley, ICDM 2018 (arXiv 1808.09781).
    """

    Config: ClassVar[type[RankerConfig]] = SASRecConfig

    def make_layers(self) -> None:
        super().make_layers()
        config = self.config
        longest = sum(group.max_length for group in self.schema.groups.values())
        self.position_embedding = PositionEmbedding(longest, name="position_embedding")
        self.self_attention = [
            SelfAttention(
                config.num_heads,
                intermediate_dim=config.intermediate_dim,
                score="scaled_dot",
                dropout=config.dropout,
                name=f"self_attention_{number}",
            )
            for number in range(config.num_blocks)
        ]
        self.last_state = LastState(name="last_state")

    def encode(self, behaviors: Tensor, mask: Tensor) -> Tensor:
        position = ops.cumsum(ops.ones_like(mask, dtype="int32"), axis=1)
        causal = ops.expand_dims(position, 2) >= ops.expand_dims(position, 1)
        states = self.position_embedding(behaviors, mask)
        for block in self.self_attention:
            states = block(states, mask, causal)
        return states

    def read(self, candidates: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        return broadcast_to_candidates(self.last_state(memory, mask), candidates)
