"""What all heads on user vector, candidate, context and counts have in common."""

import inspect
from collections.abc import Callable

import keras
import numpy as np
import pytest

from atrank_tf import layers
from atrank_tf.layers import RankingHead

B, N, D, CONTEXT = 3, 7, 11, 2
RNG = np.random.default_rng(0)
USERS, CANDIDATES, CONTEXTS, COUNTS = (RNG.normal(size=(B, N, size)) for size in (D, D, CONTEXT, 3))
HEADS: dict[str, Callable[[], RankingHead]] = {
    "DNNHead": lambda: layers.DNNHead((13, 5)),
    "DotHead": lambda: layers.DotHead(),
}


def test_every_head_is_here() -> None:
    public = {name: getattr(layers, name) for name in layers.__all__}
    heads = {name for name, each in public.items() if inspect.isclass(each) and issubclass(each, RankingHead)}
    assert heads - {"RankingHead"} == set(HEADS)


@pytest.fixture(params=sorted(HEADS))
def head(request: pytest.FixtureRequest) -> RankingHead:
    keras.utils.set_random_seed(1)
    return HEADS[request.param]()


@pytest.mark.parametrize("context", [True, False])
def test_2_a_candidate_scores_the_same_whatever_stands_beside_it(head: RankingHead, context: bool) -> None:
    inputs = [USERS, CANDIDATES, CONTEXTS, COUNTS] if context else [USERS, CANDIDATES]
    whole = np.asarray(head(*inputs))
    assert whole.shape == (B, N)
    alone = np.asarray(head(*(value[:, 4:5] for value in inputs)))
    np.testing.assert_allclose(alone, whole[:, 4:5], rtol=1e-4, atol=1e-5)


def test_no_candidates_give_no_logits(head: RankingHead) -> None:
    assert head(*(value[:, :0] for value in (USERS, CANDIDATES, CONTEXTS, COUNTS))).shape == (B, 0)


def test_the_shape_of_the_logits_is_known_without_a_call(head: RankingHead) -> None:
    assert head.compute_output_shape((None, N, D), (None, N, D), (None, N, CONTEXT)) == (None, N)


def test_user_vectors_of_another_dimension_are_refused(head: RankingHead) -> None:
    with pytest.raises(
        ValueError, match=r"Expected user vectors and candidates of one dimension\. Received: 10 and 11"
    ):
        head(USERS[..., 1:], CANDIDATES, CONTEXTS)


def test_a_head_without_a_call_is_refused() -> None:
    with pytest.raises(TypeError, match=r"RankingHead gives no logits by itself: use a subclass, as DNNHead\."):
        RankingHead().call(USERS, CANDIDATES)
