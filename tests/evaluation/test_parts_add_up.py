"""Parts of a score that are learned together: none drowns another, and the sum ranks as well as the best of them."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atrank_tf.data import Part, Records, requests
from atrank_tf.datasets import write_hotel_lists
from atrank_tf.evaluation import score_baselines
from atrank_tf.experiment import experiment_from_dict
from atrank_tf.models.inputs import traced
from atrank_tf.preparation import prepare
from atrank_tf.schema import load_schema
from atrank_tf.training import load_model_for, train

ROOT = Path(__file__).parents[2]
TASK = "next_click"


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Some 3,800 lists, ranked well by a rule: what was looked at last, else by position."""
    folder = tmp_path_factory.mktemp("lists")
    write_hotel_lists(str(folder / "logs"), users=3000, seed=2)
    schema = load_schema(str(ROOT / "atrank_tf/datasets/hotel_lists.schema.toml"))
    return prepare(str(folder / "logs"), schema, str(folder / "records"))


def _mean_reciprocal_rank(scores: np.ndarray, positive: np.ndarray) -> float:
    own = np.take_along_axis(scores, positive[:, np.newaxis], axis=1)
    return float((1 / (1 + (scores > own).sum(axis=1))).mean())


@pytest.mark.slow
def test_the_sum_ranks_as_well_as_its_best_part_and_as_the_rule(lists: Records, tmp_path: Path) -> None:
    raw = tomllib.loads((ROOT / "experiments/hotel_lists.toml").read_text())
    raw["training"] |= {"epochs": 6}
    experiment = experiment_from_dict(raw)
    train(lists, experiment, str(tmp_path))
    model = load_model_for(lists, str(tmp_path))
    explain = traced(model.explainer(TASK))
    found: dict[str, list[np.ndarray]] = {}
    positives = []
    batches: Any = requests(lists, Part.VALIDATION, tasks=[TASK], settings=experiment.batching)
    for inputs, labels, _, _ in batches:
        positives.append(labels[TASK].numpy().argmax(axis=1))
        for name, value in explain(inputs).items():
            if name.startswith("score"):
                found.setdefault(name, []).append(value.numpy())
    positive = np.concatenate(positives)
    quality = {name: _mean_reciprocal_rank(np.concatenate(value), positive) for name, value in found.items()}
    rules = score_baselines(lists, Part.VALIDATION, [TASK], experiment.batching)
    rule = rules["last done, else position"][TASK].scores.reshape(len(positive), -1)
    assert set(quality) >= {"score", "score_dot", "score_dnn", "score_affinity"}
    assert quality["score"] >= max(quality.values()) - 0.005, quality
    assert quality["score"] >= _mean_reciprocal_rank(rule, positive), quality
