"""Drift: the index by hand; no alarm by chance, an alarm where the data changes."""

import math

import numpy as np
import pytest

from atrank_tf.report.checks import LARGE, chance, drift, drift_warning, stability_index


def test_the_index_of_many_is_the_textbooks():
    expected = (0.5 - 0.2) * math.log(0.5 / 0.2) + (0.5 - 0.8) * math.log(0.5 / 0.8)
    found = stability_index([5_000_000, 5_000_000], [2_000_000, 8_000_000])
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_index_is_0_for_equal_shares_or_nothing_to_compare():
    assert stability_index([3, 0, 9], [1, 0, 3]) == pytest.approx(0)
    assert stability_index([0, 0], [1, 2]) == stability_index([1, 2], [0, 0]) == 0


def test_an_empty_bin_of_one_is_finite_and_of_both_is_nothing():
    # Mixed with one observation of both, shares (3/4, 1/4): (4.75 / 5, 0.25 / 5) against (2.75 / 5, 2.25 / 5).
    expected = (0.95 - 0.55) * math.log(0.95 / 0.55) + (0.05 - 0.45) * math.log(0.05 / 0.45)
    assert stability_index([4, 0], [2, 2]) == pytest.approx(expected)
    assert stability_index([4, 0, 0], [2, 2, 0]) == pytest.approx(expected)


@pytest.mark.parametrize("users", [(300, 40), (5_000, 100), (50, 50)])
@pytest.mark.parametrize("bins", [2, 14])
def test_chance_seldom_exceeds_what_is_allowed_for_it(users, bins):
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(bins))
    draws = [[rng.multinomial(count, shares).tolist() for count in users] for _ in range(2_000)]
    above = np.mean([stability_index(*drawn) > chance(bins, users) for drawn in draws])
    assert above < 0.01


def part(outcomes, users=1_000, unknown=0):
    return {
        "users": users,
        "outcomes": dict(zip("ab", outcomes, strict=True)),
        "popularity": {"0": 10, "1": 90},
        "gaps": {"1 day": 50, "2 days": 50},
        "unknown": {"item id": [unknown, 100]},
    }


def test_what_has_changed_is_named():
    found = drift(part([500, 500]), part([100, 900], unknown=60))
    assert {name for name, measure in found.items() if measure["drifted"]} == {"outcomes", "unknown item id"}
    report = {"tasks": {"next": {"drift": {"validation": found}}, "other": {"drift": {"validation": {}}}}}
    warning = drift_warning(report, ["next", "other"])
    assert warning == (
        "Validation data is unlike training data: next, outcomes (PSI 0.88); next, unknown item id (PSI 3.69). "
        "Expected a PSI of 0.25 at most."
    )
    assert drift_warning(report, ["other"]) is None


def test_little_is_no_drift_however_many_and_much_is_none_of_few():
    assert not drift(part([500_000, 500_000], 10**6), part([450_000, 550_000], 10**6))["outcomes"]["drifted"]
    few = drift(part([5, 5], 10), part([1, 9], 10))["outcomes"]
    assert few["psi"] > LARGE and not few["drifted"]


def test_an_empty_part_is_not_compared():
    assert drift(part([5, 5]), part([0, 0], users=0)) == {}
