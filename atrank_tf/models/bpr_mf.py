"""BPR-MF: a vector for each user, a vector and a bias for each object."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
from keras import ops

from atrank_tf.models.network import Network, for_each
from atrank_tf.models.ranker import Ranker
from atrank_tf.models.ranker_config import RankerConfig
from atrank_tf.schema import Schema


@dataclass(frozen=True, kw_only=True)
class BPRMFConfig(RankerConfig):
    """The choices of BPR-MF: those of every ranker.

    Args:
        ranking: as of every ranker; matrix factorization is a dot product.
    """

    ranking: tuple[str, ...] = ("dot",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if "repeat" in self.ranking:
            raise ValueError(
                'Expected no "repeat": this model reads no behaviors. Received: '
                f"ranking={list(self.ranking)} in [model]."
            )


class UserNetwork(Network):
    """As `Network`, but a user is who they are, not what they did: the memory is one place of padding.

    Args:
        schema: a prepared schema, with [user].
        config: the model's config.
        encoder: a function (now [B]) -> memory [B, 1, D], zeros.
        reader: a function (codes of candidates, profile [B, D_u]) -> read-out [B, N, D].

    Raises:
        ValueError: the schema knows nothing of users.
    """

    def __init__(self, schema: Schema, config: RankerConfig, encoder: Any, reader: Any) -> None:
        super().__init__(schema, config, encoder, reader)
        self._embeddings = dict.fromkeys(schema.groups, lambda objects: objects)  # Actions and times are not read.
        if not (schema.user.features or schema.user.dense):
            raise ValueError(
                "Expected [user] in the schema: this model knows a user by it alone. Received none. "
                'With features = { user_id = "user" } each user has a vector of their own.'
            )

    def encode(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        memory = self._encoder(inputs["now"])
        return {"memory": memory, "mask": ops.not_equal(memory[..., 0], 0.0)}

    def score(self, task: str, memory: Mapping[str, Any], profile: Any, inputs: Mapping[str, Any]) -> Any:
        return super().score(task, {**memory, "profile": profile}, profile, inputs)

    def _read(self, candidates: Any, memory: Mapping[str, Any], inputs: Mapping[str, Any]) -> Any:
        return self._reader(candidates, memory["profile"])


@keras.saving.register_keras_serializable(package="atrank_tf")
class BPRMF(Ranker):
    """Matrix factorization: the dot product of a user's vector and an object's, and the object's bias.

    A user's vector is a linear map of the user features in the schema, an object's that of its id and side features:
    with `[user] features = { user_id = "user" }`, a vector of each user's own. A user without features of their own
    shares the vector of unknown ones. Behaviors are not read. `[training] loss = "pairwise"` makes it BPR.

    Arguments, inputs, outputs and saved forms are those of `ATRank`.

    Reference:
        Rendle et al., UAI 2009 (arXiv 1205.2618); baseline "BPR-MF" of ATRank (arXiv 1711.06632), whose code also adds
        the category to the object.
    """

    Config: ClassVar[type[RankerConfig]] = BPRMFConfig
    Network: ClassVar[type[Network]] = UserNetwork

    @staticmethod
    def make_encoder(config: BPRMFConfig, schema: Schema) -> Any:
        def nothing(now: Any) -> Any:
            zeros = ops.cast(ops.zeros_like(now), keras.config.floatx())
            return ops.pad(zeros[:, None, None], ((0, 0), (0, 0), (0, config.width - 1)))

        return nothing

    @staticmethod
    def make_reader(config: BPRMFConfig) -> Any:
        user = keras.layers.Dense(config.width, use_bias=False, name="user_projection")
        return lambda candidates, profile: for_each(user(profile), candidates)
