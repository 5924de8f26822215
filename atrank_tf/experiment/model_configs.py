"""Configs of the models: the keys that `[model]` of an experiment file may have, and which values they take."""

from dataclasses import dataclass
from typing import Any

from atrank_tf.schema import suggestion

ACTIVATIONS = ("linear", "relu", "gelu", "silu", "tanh")
"""Activations that an experiment may name."""
HEADS = ("dot", "dnn")
"""Ranking heads that an experiment may name."""
REMOVED_HEADS = {
    "repeat": "it is part of affinity = true now, which is the default",
    "popularity": "it is popularity = true in [model] now, which is the default, and read by the other heads",
}
"""Heads that are gone -> what came in their place."""


@dataclass(frozen=True, kw_only=True)
class RankerConfig:
    """Config of every ranking model, the keys of `[model]` in an experiment file.

    Args:
        tasks: the tasks that the model predicts; empty means all of the schema.
        groups: the groups whose behaviors the model reads, the tasks' own among them; empty means all of the schema.
        hidden_dim: D, the size of behaviors, candidates and user vectors.
        combine: how the embeddings of object, action and time are combined to a behavior's: "sum" or "concat".
        activation: of the projection of a group to `hidden_dim`; "linear" for none.
        dropout: share of the units of behaviors and candidates, and of what self-attention adds, that training drops.
        id_dropout: share of the objects of a training batch whose id is replaced by the unknown id, so that new objects
            are ranked by their side features.
        ranking: ranking heads whose logits are added: "dot", "dnn". "dnn" reads user features, context, affinity and
            popularity, too.
        affinity: whether "dnn" reads what the user did with things like the candidate: see `data.affinity`.
        popularity: whether "dnn" reads how often anyone chose the candidate of late (see `RecentPopularity`), and at
            what price and position it was shown (see `UsualValues`).
        within_list: whether "dnn" reads how the candidates of impressions compare with each other: see `ListNumbers`.
        normalize_counts: whether "dnn" reads what is counted of candidates on one scale, measured on the first training
            batches: see `CountNormalization`.
        hidden_units: units of the hidden layers of the ranking head "dnn".
        item_bias: whether each object has a bias.
        calendar: whether user vectors know the hour and the weekday of the request: see `CalendarEmbedding`.
    """

    tasks: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    hidden_dim: int = 128
    combine: str = "sum"
    activation: str = "linear"
    dropout: float = 0.0
    id_dropout: float = 0.0
    ranking: tuple[str, ...] = ("dot", "dnn")
    affinity: bool = True
    popularity: bool = True
    within_list: bool = True
    normalize_counts: bool = False
    hidden_units: tuple[int, ...] = (128, 64)
    item_bias: bool = True
    calendar: bool = True

    def __post_init__(self) -> None:
        if self.hidden_dim <= 0:
            raise ValueError(f"hidden_dim must be positive. Received: hidden_dim={self.hidden_dim} in [model].")
        for name in ("dropout", "id_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 0 and below 1. Received: {name}={getattr(self, name)} in [model]."
                )
        for name, valid in (("combine", ("sum", "concat")), ("activation", ACTIVATIONS)):
            if getattr(self, name) not in valid:
                raise ValueError(
                    f"Unknown {name} {getattr(self, name)!r} in [model]. {suggestion(getattr(self, name), valid)}"
                )
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError(f"Expected each task once. Received: tasks={list(self.tasks)} in [model].")
        if any(size <= 0 for size in self.hidden_units):
            raise ValueError(
                f"hidden_units must be positive. Received: hidden_units={list(self.hidden_units)} in [model]."
            )
        if not self.ranking:
            raise ValueError('Expected at least one ranking head in [model], as ranking = ["dot"]. Received: none.')
        for name in self.ranking:
            if name in REMOVED_HEADS:
                raise ValueError(f'There is no ranking head "{name}" any more: {REMOVED_HEADS[name]}.')
            if name not in HEADS:
                raise ValueError(f"Unknown ranking head {name!r} in [model]. {suggestion(name, HEADS)}")
        if len(set(self.ranking)) != len(self.ranking):
            raise ValueError(f"Expected each ranking head once. Received: ranking={list(self.ranking)} in [model].")

    @property
    def reads_context(self) -> bool:
        """Whether the heads read user features, context, affinity and popularity."""
        return "dnn" in self.ranking

    @property
    def reads_affinity(self) -> bool:
        """Whether the heads read affinity."""
        return self.affinity and self.reads_context

    @property
    def reads_popularity(self) -> bool:
        """Whether the heads read popularity."""
        return self.popularity and self.reads_context


@dataclass(frozen=True, kw_only=True)
class ATRankConfig(RankerConfig):
    """Config of `ATRank`: that of every ranker, and the options of its attentions.

    Args:
        num_spaces: K, the number of semantic spaces (heads of attention); must divide `hidden_dim`.
        num_blocks: self-attention blocks; 0 for target attention alone.
        score: "bilinear" (the paper) or "scaled_dot" (the authors' code).
        attention_activation: of the attention's projections: "linear" (the paper) or "relu" (the authors' code).
        intermediate_dim: units of the hidden layer of F_self and F_vanilla.
    """

    num_spaces: int = 8
    num_blocks: int = 1
    score: str = "bilinear"
    attention_activation: str = "linear"
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
        }


@dataclass(frozen=True, kw_only=True)
class TimelineATRankConfig(ATRankConfig):
    """Config of `TimelineATRank`: that of `ATRank`, and how far self-attention reaches.

    Args:
        window: behaviors in a block of self-attention, by time: each one sees its own block and the one before. So its
            cost grows with the length of a history, and not with the square. Up to that length nothing changes. 0 for
            no blocks.
    """

    window: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 0:
            raise ValueError(f"window must not be negative. Received: window={self.window} in [model].")


@dataclass(frozen=True, kw_only=True)
class BPRMFConfig(RankerConfig):
    """Config of `BPRMF`: that of every ranker, with "dot" as the default head.

    Args:
        ranking: as in `RankerConfig`, but only "dot" by default.
    """

    ranking: tuple[str, ...] = ("dot",)


@dataclass(frozen=True, kw_only=True)
class AveragePoolingConfig(RankerConfig):
    """Config of `AveragePooling`: that of every ranker."""


@dataclass(frozen=True, kw_only=True)
class CNNConfig(RankerConfig):
    """Config of `CNN`: that of every ranker, and the number of windows.

    Args:
        windows: size of the widest window. Windows of 1, 2, ... behaviors have equal shares of the units, so it must
            divide `hidden_dim`.
    """

    windows: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.windows <= 0 or self.hidden_dim % self.windows:
            raise ValueError(
                f"windows must be positive and divide hidden_dim. Received: windows={self.windows}, "
                f"hidden_dim={self.hidden_dim} in [model]."
            )


@dataclass(frozen=True, kw_only=True)
class BiLSTMConfig(RankerConfig):
    """Config of `BiLSTM`: that of every ranker. Each direction has half of `hidden_dim`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_dim % 2:
            raise ValueError(
                "hidden_dim must be even: each direction has half of it. "
                f"Received: hidden_dim={self.hidden_dim} in [model]."
            )


@dataclass(frozen=True, kw_only=True)
class DINConfig(RankerConfig):
    """Config of `DIN`: that of every ranker, and the units of its activation unit.

    Args:
        attention_units: units of the hidden layers of the activation unit.
    """

    attention_units: tuple[int, ...] = (80, 40)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.attention_units or any(size <= 0 for size in self.attention_units):
            raise ValueError(
                f"attention_units must be positive. Received: attention_units={list(self.attention_units)} in [model]."
            )


@dataclass(frozen=True, kw_only=True)
class SASRecConfig(RankerConfig):
    """Config of `SASRec`: that of every ranker, and the options of its transformer.

    Args:
        num_heads: attention heads; must divide `hidden_dim`.
        num_blocks: blocks of self-attention.
        intermediate_dim: units of the hidden layer of each block's feed-forward network.
    """

    num_heads: int = 1
    num_blocks: int = 2
    intermediate_dim: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("num_blocks", "intermediate_dim"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive. Received: {name}={getattr(self, name)} in [model].")
        if self.num_heads <= 0 or self.hidden_dim % self.num_heads:
            raise ValueError(
                f"num_heads must be positive and divide hidden_dim. Received: num_heads={self.num_heads}, "
                f"hidden_dim={self.hidden_dim} in [model]."
            )


MODEL_CONFIGS: dict[str, type[RankerConfig]] = {
    "atrank": ATRankConfig,
    "timeline_atrank": TimelineATRankConfig,
    "bpr_mf": BPRMFConfig,
    "average_pooling": AveragePoolingConfig,
    "cnn": CNNConfig,
    "bi_lstm": BiLSTMConfig,
    "bi_lstm_attention": BiLSTMConfig,
    "din": DINConfig,
    "sasrec": SASRecConfig,
}
"""Configs by the name that an experiment file gives: `[model] name`. `models.MODELS` has the models."""
