"""`tf.train.Example`s with anything in them: the kernel's error, or a finite score for each candidate."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.loader import load

TASK = "next_redemption"
INTEGERS = st.sampled_from([0, 1, -1, 7_000_000, 8_000_000, 2**31, 2**63 - 1, -(2**63)])
TIMES = st.sampled_from([0, 1, -1, 7_000_000, 8_000_000, 2**31, -(2**63)])
NOW = st.one_of(st.just(2**31), st.just(2**31), INTEGERS)
"""Mostly a moment that all `TIMES` are before: what is after it is refused, and nothing is computed."""
FLOATS = st.floats(width=32)
TEXTS = st.sampled_from([b"p1", b"p2", b"regular", b"redeem", b"young", b"mail", b"", b"\xff\x00"])
FEATURES = {
    "now": (NOW, 1),
    "purchase__id": (TEXTS, 4),
    "purchase__action": (TEXTS, 4),
    "purchase__timestamp": (TIMES, 4),
    "redemption__id": (INTEGERS, 3),
    "redemption__action": (TEXTS, 3),
    "redemption__timestamp": (TIMES, 3),
    "user__age": (TEXTS, 1),
    "user__income": (FLOATS, 1),
    f"{TASK}__candidates": (INTEGERS, 5),
    f"{TASK}__channel": (TEXTS, 5),
    f"{TASK}__position": (FLOATS, 5),
}
"""Name -> what it holds, how many."""


@pytest.fixture(scope="module")
def rank(shop_export: str) -> Any:
    """The signature `rank` of an export, as a server runs it."""
    loaded = load(shop_export)
    yield lambda requests: loaded.run(f"rank__{TASK}", {"examples": np.array([*requests, b""], object)[:-1]})
    loaded.close()


@st.composite
def examples(draw: Any) -> bytes:
    """A good Example in three cases of four; else one with a feature too many, too few, too long or of another kind."""
    example = tf.train.Example()
    wrong = draw(st.sampled_from(["", "", "", "without", "longer", "another"]))
    there = draw(st.sampled_from(sorted(FEATURES)))
    for name, (values, number) in FEATURES.items():
        if (name, wrong) == (there, "without"):
            continue
        if (name, wrong) == (there, "longer"):
            number += draw(st.integers(-1, 3))
        if (name, wrong) == (there, "another"):
            values = draw(st.sampled_from([INTEGERS, FLOATS, TEXTS]))
        found = [draw(values) for _ in range(number)]
        feature = example.features.feature[name]
        if found and isinstance(found[0], bytes):
            feature.bytes_list.value.extend(found)
        elif found and isinstance(found[0], float):
            feature.float_list.value.extend(found)
        else:
            feature.int64_list.value.extend(found)
    return bytes(example.SerializeToString(deterministic=True))


def check(rank: Any, requests: list[bytes]) -> None:
    try:
        found = rank(requests)
    except ServingError as error:
        assert error.code is Code.INVALID_ARGUMENT
        return
    assert len(found["count"]) == len(requests)
    for scores, count in zip(found["scores"], found["count"], strict=True):
        assert np.isfinite(scores[:count]).all()
        assert (np.diff(scores[:count]) <= 0).all()


@settings(settings.get_profile("ci"), max_examples=60)
@given(requests=st.lists(examples(), max_size=3))
def test_examples_with_any_values(rank: Any, requests: list[bytes]) -> None:
    check(rank, requests)


@settings(settings.get_profile("ci"), max_examples=60)
@given(request=examples(), place=st.floats(0, 1, exclude_max=True), junk=st.binary(max_size=3), cut=st.integers(0, 3))
def test_examples_with_bytes_changed(rank: Any, request: bytes, place: float, junk: bytes, cut: int) -> None:
    start = int(place * len(request))
    check(rank, [request[:start] + junk + request[start + cut :]])


@pytest.mark.slow
@settings(settings.get_profile("ci"), max_examples=5_000)
@given(requests=st.lists(examples(), min_size=1, max_size=2))
def test_many_examples_with_any_values(rank: Any, requests: list[bytes]) -> None:
    check(rank, requests)
