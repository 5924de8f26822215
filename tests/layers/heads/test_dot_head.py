"""The dot product of user vector and candidate."""

import numpy as np

from atrank_tf.layers import DotHead

B, N, D = 3, 7, 11
RNG = np.random.default_rng(0)
USERS, CANDIDATES = RNG.normal(size=(B, N, D)), RNG.normal(size=(B, N, D))


def test_a_logit_by_hand() -> None:
    found = DotHead()(np.array([[[1.0, 2.0, 3.0, 4.0]]]), np.array([[[5.0, 6.0, 7.0, -8.0]]]))
    np.testing.assert_allclose(np.asarray(found), [[(5 + 12 + 21 - 32) / 2]])


def test_logits_are_dot_products_over_the_root_of_the_hidden_dim() -> None:
    found = DotHead(dtype="float64")(USERS, CANDIDATES)
    np.testing.assert_allclose(np.asarray(found), np.einsum("bnd,bnd->bn", USERS, CANDIDATES) / np.sqrt(D), rtol=1e-12)


def test_an_empty_read_out_scores_exactly_zero() -> None:
    np.testing.assert_array_equal(np.asarray(DotHead()(np.zeros((B, N, D)), CANDIDATES)), np.zeros((B, N)))


def test_there_is_nothing_to_train() -> None:
    layer = DotHead()
    layer(USERS, CANDIDATES)
    assert layer.weights == []
