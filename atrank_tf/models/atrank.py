"""ATRank: self-attention over all behaviors of a user, target attention from each candidate."""

from dataclasses import dataclass
from typing import Any, ClassVar

import keras

from atrank_tf.layers import SelfAttention, TargetAttention
from atrank_tf.models.explain import record_self_attention, record_target_attention
from atrank_tf.models.ranker import Ranker
from atrank_tf.models.ranker_config import ACTIVATIONS, RankerConfig
from atrank_tf.schema import suggestion
from atrank_tf.types import Tensor


@dataclass(frozen=True, kw_only=True)
class ATRankConfig(RankerConfig):
    """Config of `ATRank`: that of every ranker, and the options of its attentions.

    Args:
        num_spaces: K, the number of semantic spaces (heads of attention); must divide `hidden_dim`.
        num_blocks: self-attention blocks; 0 for target attention alone.
        score: "bilinear" (the paper) or "scaled_dot" (the authors' code).
        attention_activation: of the attention's projections: "linear" (the paper) or "relu" (the authors' code).
        attention_sink: whether the weights of a space may sum to less than 1 where nothing fits: see `SpaceAttention`.
            Neither in the paper nor in the authors' code.
        intermediate_dim: units of the hidden layer of F_self and F_vanilla.
    """

    num_spaces: int = 8
    num_blocks: int = 1
    score: str = "bilinear"
    attention_activation: str = "linear"
    attention_sink: bool = False
    intermediate_dim: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("num_spaces", "intermediate_dim"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive. Received: {name}={getattr(self, name)} in [model].")
        if self.num_blocks < 0:
            raise ValueError(f"num_blocks must not be negative. Received: num_blocks={self.num_blocks} in [model].")
        choices = (("score", ("bilinear", "scaled_dot")), ("attention_activation", ACTIVATIONS))
        for name, valid in choices:
            if getattr(self, name) not in valid:
                raise ValueError(
                    f"Unknown {name} {getattr(self, name)!r} in [model]. {suggestion(getattr(self, name), valid)}"
                )
        if self.hidden_dim % self.num_spaces:
            raise ValueError(
                f"num_spaces must divide hidden_dim. Received: num_spaces={self.num_spaces}, "
                f"hidden_dim={self.hidden_dim} in [model]."
            )

    def attention_options(self) -> dict[str, Any]:
        """Returns the arguments of every `SelfAttention` and `TargetAttention` of the model."""
        return {
            "num_spaces": self.num_spaces,
            "intermediate_dim": self.intermediate_dim,
            "score": self.score,
            "activation": self.attention_activation,
            "dropout": self.dropout,
            "sink": self.attention_sink,
        }


@keras.saving.register_keras_serializable(package="atrank_tf")
class ATRank(Ranker):
    """ATRank (arXiv 1711.06632) for one or more tasks.

    Rough sketch, of one user and K semantic spaces:
        u_j  = embedding(object_j) + action_j + time bucket_j, projected by its group    [T, D]    `embed_behaviors`
        C    = F_self([softmax_k(u W_k u^T) u Q_k for each space k]), once a block        [T, D]    `encode`
        h_t  = embedding(candidate), projected by its group                              [N, D]    `embed_candidates`
        e_t  = F_vanilla([softmax_k(h_t W_k C^T) C Q_k for each space k])                 [N, D]    `read`
        score = sum of the heads: <e_t, h_t>, DNN(e_t, h_t, user, context), item bias     [N]       `rank`

    What a score compares is scaled to unit size in each space (`SpaceAttention`).

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

    def make_layers(self) -> None:
        config = self.config
        self.self_attention = [
            SelfAttention(**config.attention_options(), name=f"self_attention_{number}")
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
