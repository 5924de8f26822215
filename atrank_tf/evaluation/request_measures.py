"""What the page says of single requests and kinds of them: measured while the rules of thumb are scored."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from atrank_tf.data import Records
from atrank_tf.evaluation.calibration import Calibration
from atrank_tf.evaluation.extreme_requests import ExtremeRequests
from atrank_tf.evaluation.metrics import Estimate
from atrank_tf.evaluation.page import TaskFindings
from atrank_tf.evaluation.scored_requests import ScoredRequests
from atrank_tf.evaluation.significance import PairedDifference
from atrank_tf.evaluation.slices import Slices

SHOWN_REQUESTS = 6
"""Requests that a page shows of the worst, and of the best."""


class RequestMeasures:
    """Measures a model by kind of request while `score_baselines` runs (its `watch`), for the page of an evaluation.

    What is held: sums by kind of request and by probability, and the few requests that the page shows.

    Args:
        records: the records that the requests are of, as the model reads them.
        scored: ranker -> task -> scores of the requests in the order in which they will be asked; the model first.

    Attributes:
        slices, extremes, calibrations: task -> what was found.
    """

    def __init__(self, records: Records, scored: Mapping[str, Mapping[str, ScoredRequests]]) -> None:
        self._schema, self._scored, tasks = records.schema, scored, next(iter(scored.values()))
        self._rules: dict[str, list[str]] = {}
        self._begins = dict.fromkeys(tasks, 0)
        self.slices = {task: Slices(records, task) for task in tasks}
        self.extremes = {task: ExtremeRequests(task, [*records.schema.groups], SHOWN_REQUESTS) for task in tasks}
        self.calibrations = {task: Calibration() for task in tasks}

    def __call__(self, task: str, inputs: Mapping[str, Any], rules: Mapping[str, ScoredRequests]) -> None:
        """Adds the requests of a batch.

        Raises:
            ValueError: they are asked in another order than they were scored.
        """
        self._rules[task] = list(rules)
        inputs = {name: np.asarray(value) for name, value in inputs.items()}
        of_batch = next(iter(rules.values()))
        users, labels, mask = of_batch.users, of_batch.labels, of_batch.mask
        begin, width = self._begins[task], mask.shape[1]
        self._begins[task] = end = begin + len(users)
        expected = next(iter(self._scored.values()))[task].users[begin:end]
        if expected.tolist() != users.tolist():
            raise ValueError(
                f"Expected the requests of {task} in the order in which they were scored. Found others from request "
                f"{begin} on: score the same records, part and settings."
            )
        scores = {name: found[task].scores[begin:end, :width] for name, found in self._scored.items() if task in found}
        own = next(iter(scores.values()))
        self.slices[task].add(inputs, labels, mask, scores | {name: each.scores for name, each in rules.items()})
        self.extremes[task].add(inputs, users, labels, mask, own)
        self.calibrations[task].add(own[mask], labels[mask] == 1)

    def findings(
        self,
        results: Mapping[str, Mapping[str, Mapping[str, Estimate]]],
        beside: str,
        differences: Mapping[str, Mapping[str, PairedDifference]],
        remarks: Mapping[str, str],
        probabilities: bool,
    ) -> dict[str, TaskFindings]:
        """Returns task -> what its part of the page is made of.

        Args:
            results: ranker -> task -> metrics; the model first.
            beside: the ranker that the model is compared with; "" for none.
            differences: task -> the model's differences to it.
            remarks: task -> what its log-loss is worth.
            probabilities: whether scores are logits of probabilities.
        """
        return {
            task: TaskFindings(
                group=self._schema.tasks[task].group,
                rows={name: of_tasks[task] for name, of_tasks in results.items() if task in of_tasks},
                rules=rules,
                beside=beside,
                differences=differences.get(task, {}),
                remark=remarks[task],
                slices=self.slices[task].found(),
                worst=self.extremes[task].worst,
                best=self.extremes[task].best,
                calibration=self.calibrations[task].points() if probabilities else [],
            )
            for task, rules in self._rules.items()
        }
