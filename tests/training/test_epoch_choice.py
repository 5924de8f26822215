"""Which epoch is kept, and when training ends, by numbers that are counted by hand."""

import json
import math

import numpy as np
import pytest

from atrank_tf.training import EpochChoice
from atrank_tf.training.epoch_choice import Sums


def _auc(*aucs: float) -> Sums:
    """The AUC of as many requests as numbers, each a subsample of its own."""
    return Sums(aucs, [1.0] * len(aucs))


def _choice(*scores: float, patience: int = 0, first_mean: int | None = None) -> EpochChoice:
    """Epochs of one task whose three requests have one and the same AUC."""
    choice = EpochChoice(patience, first_mean)
    for epoch, score in enumerate(scores):
        choice.add(epoch, 1.0, {"next": _auc(score, score, score)})
    return choice


def _of_tasks(*epochs: dict[str, Sums]) -> EpochChoice:
    choice = EpochChoice(patience=1)
    for epoch, aucs in enumerate(epochs):
        choice.add(epoch, 1.0, aucs)
    return choice


def test_the_standard_error_of_single_requests_is_that_of_their_mean() -> None:
    aucs = [0.5, 1.0, 0.75, 0.75]
    assert _auc(*aucs).mean == 0.75
    # Squared distances from 0.75 add up to 2/16; sqrt(2/16 / 3 / 4).
    assert _auc(*aucs).standard_error == pytest.approx(math.sqrt(0.125 / 12))
    assert _auc(*aucs).standard_error == pytest.approx(np.std(aucs, ddof=1) / 2)


def test_the_standard_error_of_subsamples_is_that_of_their_sums() -> None:
    # Means 0.5 and 0.75 of two and four requests; the mean of all is 4/6, and the sums are 2/6 below and above theirs.
    sums = Sums([1.0, 3.0, 0.0], [2.0, 4.0, 0.0])
    assert sums.mean == pytest.approx(2 / 3)
    assert sums.standard_error == pytest.approx(math.sqrt((1 / 9 + 1 / 9) * 2) / 6)


def test_subsamples_estimate_the_error_that_requests_have() -> None:
    aucs = np.random.default_rng(1).random((32, 100))
    sums = Sums(aucs.sum(axis=1).tolist(), [100.0] * 32)
    assert sums.standard_error == pytest.approx(np.std(aucs, ddof=1) / math.sqrt(aucs.size), rel=0.3)


def test_the_error_of_a_difference_is_a_paired_one() -> None:
    one, other = _auc(0.1, 0.5, 0.9), _auc(0.2, 0.6, 1.0)
    assert one.standard_error > 0.2
    assert one.difference_error(other) == pytest.approx(0.0)
    # Differences 0, 0.1, 0.2: a standard deviation of 0.1.
    assert _auc(0.1, 0.6, 1.1).difference_error(one) == pytest.approx(0.1 / math.sqrt(3))


@pytest.mark.parametrize("sums", [_auc(0.7), Sums([0.7, 0.0], [1.0, 0.0]), Sums([0.0], [0.0])])
def test_one_subsample_has_no_error(sums: Sums) -> None:
    assert sums.standard_error == 0.0


def test_a_task_weighs_one_over_its_standard_error() -> None:
    many, few = _auc(*[0.5, 1.0] * 8), _auc(0.5, 1.0, 0.5, 1.0)
    # Squared errors: 16 x 1/16 / 15 / 16 and 4 x 1/16 / 3 / 4, and half a request lost: 1/32 and 1/8, squared.
    shares = math.sqrt(1 / (1 / 240 + 1 / 1024)), math.sqrt(1 / (1 / 48 + 1 / 64))
    weights = _of_tasks({"many": many, "few": few}).weights()
    assert weights == {
        "many": pytest.approx(shares[0] / sum(shares)),
        "few": pytest.approx(shares[1] / sum(shares)),
    }
    assert weights["many"] == pytest.approx(0.7270, abs=1e-4)


def test_few_requests_do_not_choose_the_epoch_against_many() -> None:
    """As on the Complete Journey, where the mean of two AUCs kept the first epoch."""
    many, few = np.tile([0.5, 1.0], 16), np.array([0.5, 1.0])
    choice = _of_tasks(*({"many": _auc(*(many + 0.01 * e)), "few": _auc(*(few - 0.03 * e))} for e in range(3)))
    means = [np.mean([auc.mean for auc in epoch.aucs.values()]) for epoch in choice.epochs]
    assert int(np.argmax(means)) == 0
    assert choice.kept.epoch == 2


def test_the_weights_are_those_of_the_first_epoch() -> None:
    choice = _of_tasks({"a": _auc(0.5, 1.0), "b": _auc(0.4, 0.9)}, {"a": _auc(0.7, 0.7), "b": _auc(0.0, 1.0)})
    assert choice.weights() == {"a": pytest.approx(0.5), "b": pytest.approx(0.5)}
    assert [choice.score(epoch) for epoch in choice.epochs] == [pytest.approx(0.7), pytest.approx(0.6)]


def test_a_request_that_is_alone_or_right_is_not_certain() -> None:
    alone, right = _auc(1.0), _auc(1.0, 1.0, 1.0, 1.0)
    weights = _of_tasks({"alone": alone, "right": right}).weights()
    assert weights == {"alone": pytest.approx(0.2), "right": pytest.approx(0.8)}  # One over 1/2 and over 1/8.


def test_a_task_without_an_auc_does_not_count() -> None:
    choice = _of_tasks({"none": Sums([0.0], [0.0]), "next": _auc(0.5, 0.9)})
    assert choice.weights() == {"next": 1.0}
    assert choice.score(choice.kept) == pytest.approx(0.7)


@pytest.mark.parametrize(("scores", "best"), [((0.5, 0.7, 0.6), 1), ((0.9, 0.2, 0.3), 0), ((0.4, 0.4, 0.4), 0)])
def test_the_first_best_epoch_is_kept(scores: tuple[float, ...], best: int) -> None:
    choice = EpochChoice()
    found = [choice.add(epoch, 1.0, {"next": _auc(score, score)}) for epoch, score in enumerate(scores)]
    assert choice.kept.epoch == best
    assert found == [all(score > before for before in scores[:epoch]) for epoch, score in enumerate(scores)]


ALIKE, BEHIND = (0.03, -0.02), (0.05, 0.05)
"""How far two requests are below those of the best epoch: by 0.005 +- 0.025, and by 0.05 +- 0."""


@pytest.mark.parametrize(
    ("first_mean", "falls", "kept"),
    [
        (None, [ALIKE, ALIKE], 1),
        (2, [ALIKE, ALIKE], 3),
        (2, [ALIKE, BEHIND], 2),
        (2, [BEHIND, ALIKE], 3),
        (2, [BEHIND, BEHIND], 1),
        (3, [ALIKE, ALIKE], 3),
        (3, [ALIKE, BEHIND], 1),
        (4, [ALIKE, ALIKE], 1),
    ],
)
def test_of_means_that_are_alike_the_last_is_kept(
    first_mean: int | None, falls: list[tuple[float, float]], kept: int
) -> None:
    """Of four epochs the second, 1, is the best."""
    choice = EpochChoice(first_mean=first_mean)
    for epoch, (one, other) in enumerate([(0.1, 0.1), (0.0, 0.0), *falls]):
        choice.add(epoch, 1.0, {"next": _auc(0.7 - one, 0.8 - other)})
    assert (choice.best.epoch, choice.kept.epoch) == (1, kept)
    said = "; a mean of weights that is 0.0050 ±0.0250 below epoch 1: alike." in choice.reason()
    assert said == (kept > 1)


@pytest.mark.parametrize("seed", range(20))
def test_the_kept_epoch_is_the_last_that_was_kept_when_it_ended(seed: int) -> None:
    """So its model is on the disk, whatever came after."""
    random = np.random.default_rng(seed)
    choice, saved = EpochChoice(first_mean=int(random.integers(8))), -1
    for epoch in range(12):
        if choice.add(epoch, 1.0, {"next": _auc(*random.normal(0.7, 0.02, 5)), "other": _auc(*random.random(3))}):
            saved = epoch
        assert choice.kept.epoch == saved


def test_without_an_auc_the_least_loss_is_kept_and_without_a_loss_the_last_epoch() -> None:
    by_loss, last = EpochChoice(), EpochChoice()
    for epoch, loss in enumerate([3.0, 1.0, 2.0]):
        by_loss.add(epoch, loss, {})
        last.add(epoch, None, {})
    assert (by_loss.kept.epoch, last.kept.epoch) == (1, 2)
    assert by_loss.reason() == "Epoch 1 of 0 to 2 is kept: validation loss 1.0000, and no task has a validation AUC."
    assert last.reason() == "Epoch 2 of 0 to 2 is kept: the last, since nothing was validated."


def test_patience_counts_only_gains_above_the_error_of_the_difference() -> None:
    def ends(*scores: tuple[float, float]) -> list[bool]:
        """Two requests: a difference of (d1, d2) has the standard error |d1 - d2| / 2."""
        choice = EpochChoice(patience=2)
        found = []
        for epoch, score in enumerate(scores):
            choice.add(epoch, 1.0, {"next": _auc(*score)})
            found.append(choice.out_of_patience)
        return found

    # Epoch 1 is better by 0.05 ±0.06, epoch 2 by 0.02 ±0.03: no gains.
    assert ends((0.5, 0.5), (0.61, 0.49), (0.55, 0.49)) == [False, False, True]
    assert ends((0.5, 0.5), (0.6, 0.51), (0.5, 0.5)) == [False, False, False]  # 0.055 ±0.045.
    # Small gains add up: each is compared with the last gain, not with the epoch before.
    assert ends((0.5, 0.5), (0.5, 0.5), (0.51, 0.51), (0.5, 0.5), (0.52, 0.52)) == [False] * 5


def test_patience_begins_with_its_first_epoch() -> None:
    scores = [0.9, 0.1, 0.1, 0.1, 0.1]
    assert [_choice(*scores[:done], patience=2, first_mean=3).out_of_patience for done in (4, 5)] == [False, True]
    assert not any(_choice(*scores[:done]).out_of_patience for done in range(6))


def test_the_reason_names_tasks_weights_and_the_next_best() -> None:
    choice = _of_tasks(
        {"a": _auc(0.5, 0.9), "b": _auc(0.5, 0.9)},
        {"a": _auc(0.6, 0.92), "b": _auc(0.5, 0.9)},
        {"a": _auc(0.5, 0.9), "b": _auc(0.5, 0.9)},
    )
    assert choice.reason() == (
        "Epoch 1 of 0 to 2 is kept: validation AUC 0.7600 ±0.1600 for a (weight 0.500), 0.7000 ±0.2000 for b "
        "(weight 0.500); 0.0300 ±0.0200 above epoch 0, the next best; no gain that exceeds its standard error since "
        "epoch 1."
    )
    assert _choice(0.75).reason() == "Epoch 0 of 0 to 0 is kept: validation AUC 0.7500 ±0.0000 for next."


def test_what_was_restored_goes_on_as_if_it_had_never_stopped() -> None:
    scores = [0.5, 0.7, 0.6, 0.65, 0.1]
    whole = _choice(*scores, patience=2)
    for done in range(1, len(scores)):
        again = EpochChoice(patience=2)
        again.restore(json.loads(json.dumps(_choice(*scores[:done], patience=2).state())))
        for epoch in range(done, len(scores)):
            again.add(epoch, 1.0, {"next": _auc(*[scores[epoch]] * 3)})
        assert json.dumps(again.state()) == json.dumps(whole.state())
        assert again.reason() == whole.reason()
