"""Records that are replaced while a model is trained on them."""

import shutil
from pathlib import Path

import keras
import pytest

from atrank_tf.data import Records
from atrank_tf.preparation import prepare
from atrank_tf.schema import load_schema
from atrank_tf.training import MODEL_FILE, experiment_from_dict, train

SMALL = experiment_from_dict(
    {"model": {"name": "bpr_mf", "hidden_dim": 4, "tasks": ["next_purchase"]}, "training": {"epochs": 3}}
)


def test_nothing_of_an_epoch_in_which_the_records_were_replaced_is_kept(
    logs: Path, records: Records, schema_file: Path, tmp_path: Path
) -> None:
    shutil.copytree(records.path, tmp_path / "records")
    shutil.copytree(logs, tmp_path / "logs")
    with (tmp_path / "logs/behaviors/purchase.csv").open("a") as file:
        file.write("u1,p1,regular,86400\n")
    schema = load_schema(str(schema_file))

    class Replaced(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            if epoch == 1:
                self.kept = (tmp_path / "model" / MODEL_FILE).stat().st_mtime_ns
                prepare(str(tmp_path / "logs"), schema, str(tmp_path / "records"))

    replaced = Replaced()
    with pytest.raises(ValueError, match=r"Expected the records that were opened, .* prepare has replaced them\."):
        train(Records(str(tmp_path / "records")), SMALL, str(tmp_path / "model"), callbacks=[replaced])
    assert (tmp_path / "model" / MODEL_FILE).stat().st_mtime_ns == replaced.kept
