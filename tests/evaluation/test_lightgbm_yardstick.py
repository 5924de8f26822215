"""The yardstick beats chance, on the requests that models and rules are scored on."""

import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from atrank_tf.data import Part, Records, evaluation_batches, training_batches
from atrank_tf.evaluation import LightGBM, evaluate, lightgbm_yardstick, score_baselines
from atrank_tf.experiment import Batching
from atrank_tf.progress import Lines

TASK = "next_redemption"
SETTINGS = Batching(targets_per_user=8, evaluation_targets_per_user=2)


@pytest.fixture(scope="module")
def trees(records: Records) -> LightGBM:
    pytest.importorskip("lightgbm", reason="needs the package lightgbm (extra experiments)")
    return LightGBM(records, [TASK], SETTINGS, seed=1)


@pytest.mark.parametrize("part", [pytest.param("validation", marks=pytest.mark.slow), "test"])
def test_it_beats_chance_on_the_requests_of_all_rankers(records: Records, trees: LightGBM, part: str) -> None:
    found = trees.score(part)[TASK]
    rule = score_baselines(records, part, [TASK], SETTINGS)["popularity"][TASK]
    for name in ("users", "labels", "mask"):
        np.testing.assert_array_equal(getattr(found, name), getattr(rule, name))
    assert evaluate(found)["user_auc"].value > 0.65


@pytest.mark.parametrize("negatives", [1, 16])
def test_its_probabilities_hold_for_the_schemas_negatives_as_those_of_a_model(records: Records, negatives: int) -> None:
    """A purchase has four negatives, so one of five candidates is positive, however many training draws."""
    pytest.importorskip("lightgbm", reason="needs the package lightgbm (extra experiments)")
    settings = replace(SETTINGS, negatives=negatives)
    scored = LightGBM(records, ["next_purchase"], settings, seed=1).score("test")["next_purchase"]
    probabilities = 1 / (1 + np.exp(-scored.scores[scored.mask]))
    assert probabilities.mean() == pytest.approx(0.2, rel=0.25)


def test_it_says_what_it_learned_from(trees: LightGBM) -> None:
    about = r"LightGBM: (\d+) trees, learned from ([\d,]+) candidates with (\d+) numbers; by most gain (.+ \(\d+%\))\."
    found = re.fullmatch(about, trees.about(TASK))
    assert found
    assert len(re.findall(r"\d+%", found[4])) == 5
    assert 0 < trees.leaves <= int(found[1]) * lightgbm_yardstick.PARAMETERS["num_leaves"]


def test_it_knows_hour_and_weekday(records: Records) -> None:
    numbers = lightgbm_yardstick._Numbers(records, TASK, Part.TRAINING)
    inputs = next(iter(evaluation_batches(records, "test", tasks=[TASK], settings=SETTINGS)))[0]
    found, times = numbers(inputs), np.asarray(inputs["now"])[:, np.newaxis]
    assert numbers.names[-2:] == ["hour", "weekday"] and found.shape[-1] == len(numbers.names)
    inputs = dict(inputs) | {"now": inputs["now"] + 5 * 3600}
    for each, now in ((found, times), (numbers(inputs), times + 5 * 3600)):
        np.testing.assert_array_equal(each[..., -2], np.broadcast_to(now // 3600 % 24, each.shape[:2]))
        np.testing.assert_array_equal(each[..., -1], np.broadcast_to(now // 86_400 % 7, each.shape[:2]))


@pytest.mark.slow
def test_in_a_last_training_as_many_trees_learn_from_validation_too(records: Records, trees: LightGBM) -> None:
    last = LightGBM(records, [TASK], SETTINGS, seed=1, part=Part.TRAINING_AND_VALIDATION)
    (one, few), (other, more) = (
        re.findall(r"(\d+) trees, learned from ([\d,]+)", each.about(TASK))[0] for each in (trees, last)
    )
    assert one == other
    batches = training_batches(records, tasks=[TASK], settings=SETTINGS, seed=1, part=Part.TRAINING_AND_VALIDATION)
    candidates = sum(np.sum(weights[TASK] > 0) for _, _, weights in batches.dataset.take(batches.steps))
    assert int(more.replace(",", "")) == candidates > int(few.replace(",", ""))
    assert evaluate(last.score("test")[TASK])["user_auc"].value > 0.65


def test_without_targets_of_validation_it_says_so(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightgbm", reason="needs the package lightgbm (extra experiments)")
    monkeypatch.setattr(lightgbm_yardstick, "count_targets", lambda *_: 0)
    with pytest.raises(ValueError, match=r"Expected targets of validation for next_redemption: .+ --against="):
        LightGBM(records, [TASK], SETTINGS, seed=1)


@pytest.mark.slow
def test_it_says_how_many_trees_there_are(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightgbm", reason="needs the package lightgbm (extra experiments)")
    counted: Counter[str] = Counter()

    class Bar(Lines):
        def __init__(self, title: str, unit: str) -> None:
            super().__init__(title, unit)
            self.unit = unit

        def update(self, more: int, note: Callable[[], str] = str) -> None:
            counted[self.unit] += more

    monkeypatch.setattr(lightgbm_yardstick, "progress", Bar)
    (best,) = re.findall(r"LightGBM: (\d+) trees", LightGBM(records, [TASK], SETTINGS, seed=1).about(TASK))
    assert counted["trees"] >= int(best)


@pytest.mark.slow
def test_it_learns_from_so_many_candidates_at_most(records: Records) -> None:
    pytest.importorskip("lightgbm", reason="needs the package lightgbm (extra experiments)")
    sizes = replace(SETTINGS, batch_size=2)
    (count,) = re.findall(
        r"learned from ([\d,]+)", LightGBM(records, [TASK], sizes, seed=1, most_candidates=10).about(TASK)
    )
    assert 10 <= int(count) < 10 + 2 * 6  # Of lists of six at most, two in a batch.


def test_without_the_package_it_says_what_to_install(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ImportError, match=r"LightGBM cannot be imported \(.+\): pip install "):
        LightGBM(records, [TASK], SETTINGS, seed=1)
