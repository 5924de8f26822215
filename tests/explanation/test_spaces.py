"""Shares of weight, by hand: three behaviors, two spaces, one candidate."""

from dataclasses import replace

import numpy as np
import pytest

from atrank_tf.explanation import MEASURES, Behavior, Explanation, Thing, focus_table, measure_spaces

DAY = 86_400
TEA, TEA_COUPON, SOAP, NAMELESS = (
    Thing("1", {}, ("tea",)),
    Thing("2", {}, ("tea", "cup")),
    Thing("3", {}, ("soap",)),
    Thing("4", {}, ()),
)
SELF = np.array(
    [
        [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]],
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    ]
)
TARGET = np.array([[[0.7, 0.2, 0.1]], [[0.1, 0.2, 0.7]]])


def _explanation(candidate: Thing = SOAP, now: int = 10 * DAY) -> Explanation:
    """Tea on day 1, a tea coupon on day 2, soap on day 4."""
    things = (("purchase", 1, TEA), ("redemption", 2, TEA_COUPON), ("purchase", 4, SOAP))
    return Explanation(
        user="u",
        task="next",
        group="purchase",
        now=now,
        behaviors=tuple(Behavior(group, "a", day * DAY, thing, 0) for group, day, thing in things),
        candidates=(candidate,),
        labels=None,
        score=np.zeros(1),
        parts={},
        affinity=((),),
        self_attention=SELF[np.newaxis],
        target_attention=TARGET,
        inputs={},
    )


def _share(focus: object, space: int) -> dict[str, float]:
    return dict(zip(MEASURES, focus.share[space], strict=True))  # type: ignore[attr-defined]


def test_shares_of_self_attention() -> None:
    focus = measure_spaces([_explanation()])[0]
    assert (focus.attention, focus.requests) == ("self-attention 1", 1)
    first, second = _share(focus, 0), _share(focus, 1)
    assert first["itself"] == pytest.approx((0.5 + 0.6 + 0.6) / 3)
    assert first["category"] == pytest.approx((0.3 + 0.1 + 0) / 3)  # Tea and its coupon; soap has no other.
    assert first["group"] == pytest.approx((0.2 + 0 + 0.2) / 3)
    # Nearest and farthest of two others: for tea 1 and 3 days, for the coupon 1 and 2, for soap 2 and 3.
    assert first["recent"] == pytest.approx((0.3 + 0.1 + 0.2) / 3)
    assert first["far"] == pytest.approx((0.2 + 0.3 + 0.2) / 3)
    entropies = [-sum(w * np.log(w) for w in row) for row in SELF[0]]
    assert first["evenness"] == pytest.approx(np.exp(entropies).mean() / 3)
    assert second == pytest.approx(dict.fromkeys(MEASURES, 0.0) | {"itself": 1.0, "evenness": 1 / 3})
    uniform = dict(zip(MEASURES, focus.uniform, strict=True))
    assert uniform == pytest.approx(
        {"itself": 1 / 3, "category": 2 / 9, "group": 2 / 9, "recent": 1 / 3, "far": 1 / 3, "evenness": 1}
    )


def test_shares_of_a_candidate() -> None:
    focus = measure_spaces([_explanation()])[1]
    assert focus.attention == "target attention, next"
    first = _share(focus, 0)
    assert np.isnan(first.pop("itself"))
    # Soap is its category, purchases its group, day 4 the nearest and day 1 the farthest.
    assert {name: first[name] for name in ("category", "group", "recent", "far")} == pytest.approx(
        {"category": 0.1, "group": 0.8, "recent": 0.1, "far": 0.7}
    )


def test_what_a_sink_takes_counts_for_nothing() -> None:
    whole = _explanation()
    part = replace(whole, self_attention=whole.self_attention * 0.25, target_attention=whole.target_attention * 0.5)
    for found, expected in zip(measure_spaces([part]), measure_spaces([whole]), strict=True):
        np.testing.assert_allclose(found.share, expected.share, rtol=1e-12)
        np.testing.assert_allclose(found.uniform, expected.uniform, rtol=1e-12)


def test_what_a_behavior_does_not_see_counts_neither_for_nor_against() -> None:
    causal = np.array([[[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]]] * 2)
    focus = measure_spaces([replace(_explanation(), self_attention=causal[np.newaxis])])[0]
    uniform = dict(zip(MEASURES, focus.uniform, strict=True))
    assert uniform["itself"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert uniform["recent"] == pytest.approx(1 / 3)  # Of the last alone: the others see fewer than two.
    assert _share(focus, 0)["recent"] == pytest.approx(0.3)
    assert uniform["evenness"] == pytest.approx(1)


def test_without_a_known_category_or_a_difference_in_time_a_measure_says_nothing() -> None:
    same = _explanation(NAMELESS)
    same = replace(same, behaviors=tuple(b._replace(timestamp=DAY) for b in same.behaviors))
    share = _share(measure_spaces([same])[1], 0)
    assert np.isnan([share["category"], share["recent"], share["far"]]).all()
    assert share["group"] == pytest.approx(0.8)


def test_mean_and_standard_error_over_requests() -> None:
    other = replace(_explanation(), target_attention=TARGET[:, :, ::-1])
    empty = replace(_explanation(), behaviors=())
    focus = measure_spaces([_explanation(), other, empty])[1]
    column = list(MEASURES).index("category")
    assert focus.requests == 2
    assert focus.share[0, column] == pytest.approx((0.1 + 0.7) / 2)
    assert focus.error[0, column] == pytest.approx(0.3)  # sqrt((0.3^2 + 0.3^2) / 1 / 2)
    # A request that says nothing of a measure counts for the others only.
    nameless = measure_spaces([_explanation(), _explanation(NAMELESS)])[1]
    assert nameless.share[0, column] == pytest.approx(0.1)


def test_a_model_without_attention_has_nothing_to_measure() -> None:
    none = replace(_explanation(), self_attention=np.zeros((0, 0, 0, 0)), target_attention=np.zeros((0, 1, 3)))
    assert measure_spaces([none]) == []
    assert focus_table([]) == [["attention", "space", *MEASURES]]


def test_the_table_has_a_row_for_each_space_and_one_of_equal_weights() -> None:
    table = focus_table(measure_spaces([_explanation(), _explanation()]))
    assert [row[:2] for row in table[1:4]] == [
        ["self-attention 1", "I"],
        ["self-attention 1", "II"],
        ["self-attention 1", "equal weights"],
    ]
    assert table[1][2] == "0.567 ±0.000"
    assert table[4][2] == "" and len(table) == 7


def test_of_one_request_the_table_has_shares_without_errors() -> None:
    one, two = (focus_table(measure_spaces([_explanation()] * requests)) for requests in (1, 2))
    assert one[1][2] == "0.567"
    assert two[1][2] == "0.567 ±0.000"
