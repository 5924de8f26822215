"""ATRank: self-attention over all behaviors of a user, target attention from each candidate."""

from typing import ClassVar

import keras

from atrank_tf.experiment import ATRankConfig, RankerConfig
from atrank_tf.layers import SelfAttention, TargetAttention
from atrank_tf.models.explain import record_self_attention, record_target_attention
from atrank_tf.models.ranker import Ranker
from atrank_tf.types import Tensor


@keras.saving.register_keras_serializable(package="atrank_tf")
class ATRank(Ranker):
    """ATRank (arXiv 1711.06632) for one or more tasks.

    Rough sketch, of one user and K semantic spaces:
        u_j  = embedding(object_j) + action_j + time bucket_j, projected by its group    [T, D]    `embed_behaviors`
        C    = F_self([w_k(u W_k u^T) u Q_k for each space k]), once a block             [T, D]    `encode`
        h_t  = embedding(candidate), projected by its group                              [N, D]    `embed_candidates`
        e_t  = F_vanilla([w_k(h_t W_k C^T) C Q_k for each space k]) + m M                [N, D]    `read`
        score = sum of the heads: <e_t, h_t>, DNN(e_t, h_t, user, context, counts), bias  [N]       `rank`

    w_k is a softmax with a sink, of scores that compare vectors of unit size (`SpaceAttention`); m says how much of the
    memory fits (`TargetAttention`).

    Glossary: B users, T_g behaviors of group g, T = sum of T_g, N candidates, D hidden dim, K spaces.

    Args:
        schema: a prepared schema, as `Records.schema`.
        catalogs: `Records.catalogs`; None leaves them empty, for saved weights to fill.
        name: of the model.
        **config: fields of `ATRankConfig`.

    Inputs: `<group>__id`, `<group>__action`, `<group>__timestamp` int64 [B, T_g], 0 = padding; `now` int64 [B];
    `<task>__candidates` int64 [B, N]; user and context features as the schema has them.

    Returns:
        task -> logits, float32 [B, N].

    Example:
        >>> records = atrank_tf.Records("records")
        >>> model = atrank_tf.ATRank(records.schema, catalogs=records.catalogs, hidden_dim=64)
    """

    Config: ClassVar[type[RankerConfig]] = ATRankConfig
    projects_alike: ClassVar[bool] = True

    def make_layers(self) -> None:
        config = self.config
        self.self_attention = [
            SelfAttention(**config.attention_options(), dropout=config.dropout, name=f"self_attention_{number}")
            for number in range(config.num_blocks)
        ]
        self.target_attention = TargetAttention(**config.attention_options(), name="target_attention")

    def encode(self, behaviors: Tensor, mask: Tensor) -> Tensor:
        for block in self.self_attention:
            behaviors, weights = block(behaviors, mask, return_weights=True)  # [B, T, D], [B, K, T, T]
            record_self_attention(weights)
        return behaviors

    def read(self, candidates: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        user, weights = self.target_attention(candidates, memory, mask, return_weights=True)  # [B, N, D], [B, K, N, T]
        record_target_attention(weights)
        return user
