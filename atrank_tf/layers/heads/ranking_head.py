"""Base of the heads that score candidates by user vector, candidate, context and counts."""

from typing import Any

import keras

from atrank_tf.types import Shape, Tensor


class RankingHead(keras.layers.Layer):
    """Scores candidates: (user vector, candidate, context, counts) -> logit.

    A head implements `call`, `build_head` for its weights, and `get_config` for its arguments. Each candidate has a
    user vector of its own, since target attention gives it one. A head looks at no other candidate.

    Glossary: B users, N candidates, D hidden dim, D_c context dim, C counts.

    Call arguments:
        user_vector: float [B, N, D], the user as this candidate sees them.
        candidates: float [B, N, D], embeddings of the candidates.
        context: float [B, N, D_c], embeddings of what else is known of user and request; None for none: D_c = 0.
        counts: float [B, N, C], numbers that are counted of the candidates; None for none: C = 0. They stand apart
            from the context since no training needs their gradient.

    Returns:
        Logits, float [B, N] in the compute dtype.

    Raises:
        ValueError: user vectors and candidates differ in D.
    """

    def build(
        self,
        user_vector_shape: Shape,
        candidates_shape: Shape,
        context_shape: Shape | None = None,
        counts_shape: Shape | None = None,
    ) -> None:
        if user_vector_shape[-1] != candidates_shape[-1]:
            raise ValueError(
                "Expected user vectors and candidates of one dimension. "
                f"Received: {user_vector_shape[-1]} and {candidates_shape[-1]}."
            )
        known = sum(shape[-1] for shape in (context_shape, counts_shape) if shape)
        self.build_head(candidates_shape[-1], known)

    def build_head(self, hidden_dim: int, known_dim: int) -> None:
        """Adds the weights, given D and D_c + C."""

    def call(
        self, user_vector: Tensor, candidates: Tensor, context: Tensor | None = None, counts: Tensor | None = None
    ) -> Tensor:
        raise TypeError("RankingHead gives no logits by itself: use a subclass, as DNNHead.")

    def compute_output_shape(self, user_vector_shape: Shape, *_: Any) -> Shape:
        return tuple(user_vector_shape[:-1])
