"""Config that all ranking models share."""

from dataclasses import dataclass

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
        dropout: share of units that training drops, throughout the model.
        id_dropout: share of the objects of a training batch whose id is replaced by the unknown id, so that new objects
            are ranked by their side features.
        ranking: ranking heads whose logits are added: "dot", "dnn". "dnn" reads user features, context, affinity and
            popularity, too.
        affinity: whether "dnn" reads what the user did with things like the candidate: see `data.affinity`.
        popularity: whether "dnn" reads how often anyone chose the candidate of late: see `RecentPopularity`.
        within_list: whether "dnn" reads how the candidates of impressions compare with each other: see `ListNumbers`.
        hidden_units: units of the hidden layers of the ranking head "dnn".
        item_bias: whether each object has a bias.
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
    item_bias: bool = True

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
