"""BPR-MF: matrix factorization with a vector for each user, a vector and a bias for each object."""

from collections.abc import Mapping
from typing import ClassVar

import keras
from keras import ops

from atrank_tf.experiment import BPRMFConfig, RankerConfig
from atrank_tf.models.heads import CandidateEmbedding
from atrank_tf.models.ranker import Ranker, broadcast_to_candidates
from atrank_tf.types import Tensor


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
    reads_behaviors: ClassVar[bool] = False
    embeds_time: ClassVar[bool] = False

    def make_layers(self) -> None:
        if not (self.schema.user.features or self.schema.user.dense):
            raise ValueError(
                "Expected [user] in the schema: this model knows a user by it alone. Received none. "
                'With features = { user_id = "user" } each user has a vector of their own.'
            )
        self.user_projection = keras.layers.Dense(self.config.hidden_dim, use_bias=False, name="user_projection")

    def encode_user(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns a memory of padding, T = 1: behaviors are not read."""
        zeros = ops.cast(ops.zeros_like(inputs["now"]), keras.config.floatx())
        memory = ops.pad(zeros[:, None, None], ((0, 0), (0, 0), (0, self.config.hidden_dim - 1)))
        return {"memory": memory, "mask": ops.not_equal(memory[..., 0], 0.0)}

    def user_vectors(
        self, candidates: Tensor, memory: Mapping[str, Tensor], profile: Tensor | None, inputs: Mapping[str, Tensor]
    ) -> Tensor:
        return broadcast_to_candidates(self.user_projection(profile), candidates)

    def project_candidates(self, task: str, objects: Tensor, ids: Tensor) -> CandidateEmbedding:
        """Projects the objects alone: without the action and time that behaviors have."""
        embedding = self.projections[self.schema.tasks[task].group](objects)
        return CandidateEmbedding(self.drop(embedding), self._item_bias(task, ids))
