"""The section `[batching]` of an experiment file: sizes of batches, and what they hold."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Batching:
    """Sizes of batches, and how many targets and negatives they hold.

    Args:
        batch_size: most requests in a batch, of models that encode each request's history.
        batch_tokens: most positions for behaviors in a batch, each row counted as the longest, so that long histories
            come in smaller batches. Groups are padded one by one: with several a batch may have some more.
        targets_per_user: most targets of a user and task in one pass, drawn anew each epoch; 0 means all.
        negatives: sampled negatives per positive in training; 0 means as many as the schema says. Scores are for as
            many as the schema says in any case: our models take another number out of each logit of training.
        correct_sampling: whether training subtracts from each logit the log of the rate at which its candidate is drawn
            as a negative (log Q), so that scores rank all objects. Without it they rank candidates drawn alike.
        temperature: how the tasks share an epoch. At 1 each has as many batches as its targets fill; above, those with
            few have more of them (some twice) and those with many fewer, in proportion to batches ** (1 / temperature).
            1 for models trained on timelines, whose batches hold the targets of all tasks.
        min_history: fewest behaviors that a training target must have before it; of impressions all are trained on.
        evaluation_batch_size: most requests in a batch of evaluation.
        evaluation_targets_per_user: as `targets_per_user`, for validation and test; always the same ones.
    """

    batch_size: int = 256
    batch_tokens: int = 8192
    targets_per_user: int = 0
    negatives: int = 0
    correct_sampling: bool = False
    temperature: float = 1.0
    min_history: int = 1
    evaluation_batch_size: int = 512
    evaluation_targets_per_user: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "batch_tokens", "evaluation_batch_size"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive. Received: {name}={getattr(self, name)} in [batching].")
        if not 1 <= self.temperature < math.inf:
            raise ValueError(f"temperature must be at least 1. Received: temperature={self.temperature} in [batching].")
        for name in ("targets_per_user", "negatives", "min_history", "evaluation_targets_per_user"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative. Received: {name}={getattr(self, name)} in [batching].")
