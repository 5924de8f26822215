"""A log in which only the ids of training tell what is clicked: nothing is learned of it."""

from typing import Any

import keras
import numpy as np
import pytest

from atrank_tf.data import Part, Records
from atrank_tf.experiment import Batching
from atrank_tf.models import MODELS, Ranker
from atrank_tf.optimizers import SparseAdam
from atrank_tf.preparation import prepare
from atrank_tf.schema import schema_from_dict

DAY = 86_400
USERS, SHOWN, LISTS = 150, 4, 5
"""Each user sees a list on each of so many days; those of the last two are validation and test."""


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.slow)], ids="min_count={}".format)
def records(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Each id is shown once; the one that is clicked is in the behaviors, too."""
    folder = tmp_path_factory.mktemp("logs")
    clicks, shown = ["user_id,item_id,action,timestamp"], ["request_id,user_id,timestamp,item_id,label"]
    for number in range(USERS * LISTS):
        user, moment = number % USERS, DAY * (1 + number // USERS) + number
        ids = [1000 + SHOWN * number + place for place in range(SHOWN)]
        clicks.append(f"{user},{ids[number % SHOWN]},click,{moment}")
        shown += [f"{number},{user},{moment},{item},{int(place == number % SHOWN)}" for place, item in enumerate(ids)]
    for name, rows in (("behaviors/click", clicks), ("impressions/next", shown)):
        path = folder / f"{name}.csv"
        path.parent.mkdir()
        path.write_text("\n".join(rows) + "\n")
    schema = schema_from_dict(
        {
            "tables": {"item": {"dim": 8, "min_count": request.param}},
            "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
            "groups": {"click": {"entity": "item", "actions": ["click"]}},
            "tasks": {"next": {"group": "click", "candidates": "impressions"}},
            "split": {"kind": "by_time", "validation_from": DAY * (LISTS - 1), "test_from": DAY * LISTS},
        }
    )
    return prepare(str(folder), schema, str(tmp_path_factory.mktemp("records") / "records"))


def _fit(model: Ranker, records: Records, batches: Any) -> dict[str, float]:
    """Returns the AUC of the last epoch, of training and validation."""
    validation = model.evaluation_batches(records, Part.VALIDATION)
    found = model.fit(batches, epochs=6, validation_data=validation, verbose=0).history
    return {name: values[-1] for name, values in found.items() if name.endswith("auc")}


@pytest.mark.parametrize("name", ["timeline_atrank", pytest.param("atrank", marks=pytest.mark.slow)])
def test_4_what_only_later_ids_tell_is_not_learned(records: Records, name: str) -> None:
    keras.utils.set_random_seed(1)
    model = MODELS[name](records.schema, catalogs=records.catalogs, hidden_dim=8, num_blocks=0, hidden_units=[8])
    model.compile(SparseAdam(0.05, moments="dense"))
    batches = model.training_batches(records, settings=Batching(batch_tokens=512, batch_size=64))
    found = _fit(model, records, batches)
    assert set(found) == {"auc", "val_auc"}
    assert found == pytest.approx({"auc": 0.5, "val_auc": 0.5}, abs=0.1)
    if records.schema.tables["item"].min_count == 1:
        model.get_layer("point_in_time_item").load(np.zeros(records.schema.entities["item"].rows))
        assert _fit(model, records, batches)["auc"] > 0.9  # So the log has something that ids could tell.
