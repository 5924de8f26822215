"""Experiment files with anything in them: a ValueError that says where, or an experiment that reads back the same."""

import tomllib
from typing import Any

import pytest
from altered import altered
from hypothesis import given, settings
from hypothesis import strategies as st

from atrank_tf.experiment import MODEL_CONFIGS, dump_experiment, experiment_from_dict, experiment_to_dict

REST: dict[str, Any] = {
    "batching": {"batch_size": 64, "temperature": 2.0, "min_history": 1},
    "training": {
        "loss": "pairwise",
        "epochs": 3,
        "decay_at": [0.5, 0.75],
        "average_from": 0.5,
        "task_weights": {"next": 2.0},
        "l2": 1e-5,
        "clip_norm": 5.0,
        "seed": 3,
    },
}


def check(data: Any) -> None:
    name = data.draw(st.sampled_from(sorted(MODEL_CONFIGS)))
    keys = st.sampled_from(sorted(MODEL_CONFIGS[name].__dataclass_fields__))
    values = (
        st.integers(-1, 9) | st.floats() | st.booleans() | st.sampled_from(["", "dnn", "day", ["next"], [], [0.5], [8]])
    )
    config = data.draw(st.dictionaries(keys, values, max_size=3))
    raw = altered(data, {"model": {"name": name, **config}, **REST})
    try:
        experiment = experiment_from_dict(raw)
    except ValueError as error:
        assert str(error).endswith((".", "]", ")")) and len(str(error)) > 20
        return
    assert experiment_from_dict(experiment_to_dict(experiment)) == experiment
    assert experiment_from_dict(tomllib.loads(dump_experiment(experiment))) == experiment


@settings(settings.get_profile("ci"), max_examples=300)
@given(data=st.data())
def test_altered_experiments(data: Any) -> None:
    check(data)


@pytest.mark.slow
@settings(settings.get_profile("ci"), max_examples=5_000)
@given(data=st.data())
def test_many_altered_experiments(data: Any) -> None:
    check(data)
