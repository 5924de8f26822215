"""Tables that values share, from raw values to scores: a model, its export, and a warm start."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from raw_requests import raw_request, rows_of_request

from atrank_tf.data import IdMaps, Records
from atrank_tf.models import ATRank
from atrank_tf.saved_model import Preprocessor, export_model
from atrank_tf.server import LoadedModel
from atrank_tf.training.warm_start import warm_start

CONFIG: dict[str, Any] = {"hidden_dim": 12, "num_spaces": 3, "intermediate_dim": 10, "hidden_units": [9]}
TASK = "next_redemption"


@pytest.fixture(scope="module")
def model(hashed_records: Records) -> ATRank:
    keras.utils.set_random_seed(5)
    return ATRank(hashed_records.schema, catalogs=hashed_records.catalogs, **CONFIG)


def test_tables_and_biases_have_the_rows_of_the_schema(model: ATRank, hashed_records: Records) -> None:
    tables = hashed_records.schema.tables
    shapes = model.table_of_weight()
    for weight in model.trainable_weights:
        if weight.path in shapes:
            assert weight.shape[0] == tables[shapes[weight.path]].rows
    assert {"product", "category", "coupon", "age", "channel"} == set(shapes.values())


def test_an_embedding_is_the_sum_of_the_rows_of_a_code(model: ATRank, hashed_records: Records) -> None:
    rows = np.arange(len(hashed_records.catalogs["product"]))
    table = np.asarray(model.objects.tables["product"].embeddings)
    found = np.asarray(model.objects.objects("product", rows))[:, : table.shape[1]]
    own = np.asarray(model.objects._hashed["product"](hashed_records.catalogs["product"].table_rows.astype(np.int64)))
    np.testing.assert_allclose(found, table[own].sum(axis=1), rtol=1e-6)
    assert len(np.unique(found[2:].round(6), axis=0)) > 11  # More objects are told apart than there are rows.
    assert found[2:].std() == pytest.approx(0.2, rel=0.25)


@pytest.mark.slow
def test_an_export_takes_raw_values_by_the_codes_of_prepare(
    model: ATRank, hashed_records: Records, tmp_path: Path
) -> None:
    raw, _ = raw_request(hashed_records, TASK)
    expected = rows_of_request(hashed_records, TASK)
    inputs = Preprocessor(model, IdMaps.of(hashed_records))(raw)
    for name in (f"{TASK}__channel", "user__age"):
        real = expected[name] > 0
        np.testing.assert_array_equal(np.asarray(inputs[name])[real], expected[name][real])
    scores = np.asarray(model({tensor.name: inputs[tensor.name] for tensor in model.inputs})[TASK])
    loaded = LoadedModel(export_model(model, IdMaps.of(hashed_records), str(tmp_path / "export")))
    name = f"score__{TASK}"
    found = loaded.run(name, {key: raw[key] for key in loaded.signatures[name].inputs})["scores"]
    np.testing.assert_allclose(found, scores, rtol=1e-5, atol=1e-5)
    new = {**raw, f"{TASK}__channel": np.full_like(raw[f"{TASK}__channel"], "a channel that no log had")}
    other = loaded.run(name, {key: new[key] for key in loaded.signatures[name].inputs})["scores"]
    assert np.isfinite(other).all() and np.abs(other - found).max() > 1e-3
    loaded.close()


def test_a_warm_start_takes_rows_as_they_are(
    model: ATRank, hashed_records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saved(schema: Any) -> Callable[[str], ATRank]:
        return lambda model_dir: ATRank(schema, catalogs=hashed_records.catalogs, **CONFIG)

    values = IdMaps.of(hashed_records)
    values.save(str(tmp_path / "values.npz"))
    monkeypatch.setattr("atrank_tf.training.warm_start.load", lambda model_dir: model)
    newer = ATRank(hashed_records.schema, catalogs=hashed_records.catalogs, **CONFIG)
    found = warm_start(newer, values, str(tmp_path))
    assert dict(found.tables) == {}
    for one, other in zip(newer.trainable_variables, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(one, other)
    schema = hashed_records.schema
    tables = {**schema.tables, "product": replace(schema.tables["product"], hash=12, rows=14)}
    larger = ATRank(replace(schema, tables=tables), catalogs=hashed_records.catalogs, **CONFIG)
    match = r"In its schema tables\.product\.hash is \[11, 2\], in that of the records \[12, 2\]"
    with pytest.raises(ValueError, match=match):
        warm_start(larger, values, str(tmp_path))
