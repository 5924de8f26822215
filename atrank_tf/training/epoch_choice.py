"""Chooses the epoch whose model is kept, and says when training gains nothing any more."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Sums:
    """What a `RequestAUC` holds after a validation.

    Attributes:
        totals: sum of the AUCs of each subsample, [S].
        requests: number of requests of each subsample, [S].
    """

    totals: Sequence[float]
    requests: Sequence[float]

    @property
    def mean(self) -> float:
        """The AUC; NaN without requests."""
        count = sum(self.requests)
        return sum(self.totals) / count if count else math.nan

    @property
    def standard_error(self) -> float:
        """Standard error of the AUC."""
        return _standard_error(np.array(self.totals), np.array(self.requests))

    def difference_error(self, other: "Sums") -> float:
        """Standard error of the difference to the AUC of another model on the same requests, a paired one."""
        return _standard_error(np.array(self.totals) - np.array(other.totals), np.array(self.requests))


@dataclasses.dataclass(frozen=True)
class Validated:
    """One epoch.

    Attributes:
        epoch: its number, from 0.
        loss: the validation loss; None without validation.
        aucs: task -> its AUC; without tasks none of whose requests has one.
    """

    epoch: int
    loss: float | None
    aucs: Mapping[str, Sums]


class EpochChoice:
    """Chooses the best epoch by validation AUC, and counts the epochs without a gain.

    The score of an epoch is the mean of its tasks' AUCs, each in units of its standard error: its weight is one over
    that. So a task with few requests does not choose by chance against one with many, and yet a fall that is no chance
    counts, which by inverse variances would hardly. The weights are those of the first epoch for all, so that scores
    compare. Where no task has an AUC, the score is minus the validation loss; without validation, the number of the
    epoch.

    The epoch with the highest score is kept, of equal ones the first. Where weights are averaged, the last mean is kept
    that is not below the highest score by more than the standard error of the difference: a mean over more epochs errs
    less, and the best of many that are alike is so by chance. That error is of a paired comparison, since each epoch
    sees the same requests. An epoch is a gain if its score exceeds that of the last gain by more than it.

    Args:
        patience: epochs without a gain after which training stops; 0 for never.
        first_mean: the first epoch whose model is a mean of weights, which is also the first that patience counts; None
            for no averaging.

    Attributes:
        epochs: all that are done.
    """

    def __init__(self, patience: int = 0, first_mean: int | None = None) -> None:
        self.patience = patience
        self.first_mean = first_mean
        self.epochs: list[Validated] = []

    def add(self, epoch: int, loss: float | None, aucs: Mapping[str, Sums]) -> bool:
        """Takes in an epoch, and returns whether its model is kept.

        Args:
            epoch: its number.
            loss: the validation loss; None without validation.
            aucs: task -> its AUC.
        """
        known = {task: sums for task, sums in aucs.items() if not math.isnan(sums.mean)}
        self.epochs.append(Validated(epoch, loss, known))
        return self.kept.epoch == epoch

    @property
    def kept(self) -> Validated:
        """The epoch whose model is kept."""
        best = self.best
        for validated in reversed(self.epochs):
            if self.first_mean is None or validated.epoch < self.first_mean:
                break
            difference, error = self.difference(best, validated)
            if difference <= error:
                return validated
        return best

    @property
    def best(self) -> Validated:
        """The epoch with the highest score, of equal ones the first."""
        return max(self.epochs, key=self.score)

    @property
    def last_gain(self) -> Validated:
        """The last epoch that was better than the last gain before it by more than can be chance."""
        gain = self.epochs[0]
        for validated in self.epochs[1:]:
            difference, error = self.difference(validated, gain)
            if difference > error:
                gain = validated
        return gain

    @property
    def out_of_patience(self) -> bool:
        """Whether training ends with the last epoch that was taken in."""
        if not self.patience or not self.epochs:
            return False
        return self.epochs[-1].epoch - max(self.last_gain.epoch, (self.first_mean or 0) - 1) >= self.patience

    def weights(self) -> dict[str, float]:
        """Returns the weight of each task that has an AUC; they add up to 1."""
        shares = {}
        for task, auc in self.epochs[0].aucs.items():
            # As if half a request more were lost, so that one lucky request is not taken for certainty.
            shares[task] = 1 / math.hypot(auc.standard_error, 0.5 / sum(auc.requests))
        total = sum(shares.values())
        return {task: share / total for task, share in shares.items()}

    def score(self, validated: Validated) -> float:
        """Returns how good an epoch is, more is better."""
        if validated.aucs:
            return sum(weight * validated.aucs[task].mean for task, weight in self.weights().items())
        return validated.epoch if validated.loss is None else -validated.loss

    def difference(self, one: Validated, other: Validated) -> tuple[float, float]:
        """Returns by how much the score of one epoch is above another's, and the standard error of that."""
        errors = [weight * one.aucs[task].difference_error(other.aucs[task]) for task, weight in self.weights().items()]
        return self.score(one) - self.score(other), math.hypot(*errors)

    def reason(self) -> str:
        """Says in one line why the kept epoch is kept."""
        kept, best, weights = self.kept, self.best, self.weights()
        line = f"Epoch {kept.epoch} of 0 to {self.epochs[-1].epoch} is kept: "
        if kept.loss is None:
            return f"{line}the last, since nothing was validated."
        if not kept.aucs:
            return f"{line}validation loss {kept.loss:.4f}, and no task has a validation AUC."
        shares = {task: f" (weight {weight:.3f})" if len(weights) > 1 else "" for task, weight in weights.items()}
        line += "validation AUC " + ", ".join(
            f"{auc.mean:.4f} ±{auc.standard_error:.4f} for {task}{shares[task]}" for task, auc in kept.aucs.items()
        )
        others = [validated for validated in self.epochs if validated is not best]
        if kept is not best:
            difference, error = self.difference(best, kept)
            line += f"; a mean of weights that is {difference:.4f} ±{error:.4f} below epoch {best.epoch}: alike"
        elif others:
            second = max(others, key=self.score)
            difference, error = self.difference(best, second)
            line += f"; {difference:.4f} ±{error:.4f} above epoch {second.epoch}, the next best"
        if self.out_of_patience:
            line += f"; no gain that exceeds its standard error since epoch {self.last_gain.epoch}"
        return f"{line}."

    def state(self) -> list[dict[str, Any]]:
        """Returns the epochs as JSON types."""
        return [dataclasses.asdict(validated) for validated in self.epochs]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Takes over what `state` gave."""
        self.epochs = [
            Validated(each["epoch"], each["loss"], {task: Sums(**sums) for task, sums in each["aucs"].items()})
            for each in state
        ]


def _standard_error(totals: NDArray[np.float64], requests: NDArray[np.float64]) -> float:
    """Returns the standard error of sum(totals) / sum(requests), from how the subsamples differ; 0 of a single one."""
    used = int((requests > 0).sum())
    if used < 2:
        return 0.0
    count = requests.sum()
    apart = totals - requests * totals.sum() / count
    return math.sqrt(float((apart**2).sum()) * used / (used - 1)) / float(count)
