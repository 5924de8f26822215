"""Config that all ranking models share."""

from dataclasses import dataclass

from atrank_tf.schema import suggestion

ACTIVATIONS = ("linear", "relu", "gelu", "silu", "tanh")
"""Activations that an experiment may name."""
HEADS = ("dot", "dnn", "wide", "dcn")
"""Ranking heads that an experiment may name."""
CONTEXT_HEADS = ("dnn", "wide", "dcn")
"""Those of them that read more than user vector and candidate: user features, context, affinity and popularity."""
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
        dropout: share of units that training drops, throughout the model.
        id_dropout: share of the objects of a training batch whose id is replaced by the unknown id, so that new objects
            are ranked by their side features.
        ranking: ranking heads whose logits are added: "dot", "dnn", "wide", "dcn". All but "dot" read user features,
            context, affinity and popularity, too.
        affinity: whether heads read what the user did with things like the candidate: see `data.affinity`.
        popularity: whether heads read how often anyone chose the candidate of late: see `RecentPopularity`.
        within_list: whether heads read how the candidates of impressions compare with each other: see `ListNumbers`.
        hidden_units: units of the hidden layers of the ranking head "dnn".
        cross_layers: cross layers of the ranking head "dcn".
        item_bias: whether each object has a bias.
        experts: experts between the user vector and the ranking heads: "none", "mmoe" (experts that all tasks share,
            and a gate for each task) or "ple" (each task has experts of its own besides).
        num_experts: shared experts, and as many of each task's own.
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
    hidden_units: tuple[int, ...] = (128, 64)
    cross_layers: int = 2
    item_bias: bool = True
    experts: str = "none"
    num_experts: int = 4

    def __post_init__(self) -> None:
        for name in ("hidden_dim", "cross_layers"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive. Received: {name}={getattr(self, name)} in [model].")
        for name in ("dropout", "id_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 0 and below 1. Received: {name}={getattr(self, name)} in [model]."
                )
        if self.num_experts <= 0:
            raise ValueError(f"num_experts must be positive. Received: num_experts={self.num_experts} in [model].")
        choices = (("combine", ("sum", "concat")), ("activation", ACTIVATIONS), ("experts", ("none", "mmoe", "ple")))
        for name, valid in choices:
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
        """Whether a head reads user features, context, affinity and popularity."""
        return any(name in CONTEXT_HEADS for name in self.ranking)

    @property
    def reads_affinity(self) -> bool:
        """Whether a head reads affinity."""
        return self.affinity and self.reads_context

    @property
    def reads_popularity(self) -> bool:
        """Whether a head reads popularity."""
        return self.popularity and self.reads_context
