"""A log in which only the hour tells what is ordered: porridge in the morning, stew in the evening."""

from typing import Any

import keras
import numpy as np
import pytest

from atrank_tf.data import Part, Records
from atrank_tf.experiment import Batching
from atrank_tf.models import MODELS
from atrank_tf.optimizers import SparseAdam
from atrank_tf.preparation import prepare
from atrank_tf.schema import schema_from_dict

DAY, USERS, ORDERS = 86_400, 150, 6


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Each user orders every sixth day, whichever of two dishes the hour says; the other one is the negative.

    So buckets of time, 4 to 8 days and 8 to 16, do not tell the hour.
    """
    rng, folder = np.random.default_rng(1), tmp_path_factory.mktemp("logs")
    rows = ["user_id,dish,action,timestamp"]
    for user in range(USERS):
        for day, evening in enumerate(rng.integers(0, 2, ORDERS)):
            moment = 6 * DAY * (day + 1) + 3600 * (7 + 12 * evening) + rng.integers(0, 7200)
            rows.append(f"{user},{'stew' if evening else 'porridge'},order,{moment}")
    (folder / "behaviors").mkdir()
    (folder / "behaviors/order.csv").write_text("\n".join(rows) + "\n")
    schema = schema_from_dict(
        {
            "tables": {"dish": {"dim": 4}},
            "entities": {"dish": {"id": {"column": "dish", "table": "dish"}}},
            "groups": {"order": {"entity": "dish", "actions": ["order"]}},
            "tasks": {"next": {"group": "order", "negatives": {"uniform": 1, "exclude": "same_moment"}}},
            "split": {"kind": "by_time", "validation_from": 6 * DAY * (ORDERS - 1), "test_from": 6 * DAY * ORDERS},
        }
    )
    return prepare(str(folder), schema, str(tmp_path_factory.mktemp("records") / "records"))


def _auc(records: Records, name: str, **config: Any) -> float:
    """Returns the AUC on validation of a model that was trained for seconds."""
    keras.utils.set_random_seed(1)
    model = MODELS[name](
        records.schema,
        catalogs=records.catalogs,
        hidden_dim=8,
        hidden_units=[8],
        popularity=False,
        affinity=False,
        **config,
    )
    model.compile(SparseAdam(0.05))
    batches = model.training_batches(records, settings=Batching(batch_tokens=32, batch_size=16))
    model.fit(batches, epochs=3, verbose=0)
    return model.evaluate(model.evaluation_batches(records, Part.VALIDATION), verbose=0, return_dict=True)["auc"]


@pytest.mark.parametrize(
    "name", ["timeline_atrank", *(pytest.param(n, marks=pytest.mark.slow) for n in ("atrank", "average_pooling"))]
)
def test_what_only_the_hour_tells_is_learned(records: Records, name: str) -> None:
    assert _auc(records, name) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timeline_atrank", "atrank", "average_pooling"])
def test_nothing_else_tells_it(records: Records, name: str) -> None:
    assert _auc(records, name, calendar=False) < 0.65
