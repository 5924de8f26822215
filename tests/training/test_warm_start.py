"""A training that begins with the weights of an earlier one: which row goes where, and what scores say of it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import polars as pl
import pytest
from interrupted import BeforeTraining, Stop

from atrank_tf.data import IdMaps, Records
from atrank_tf.experiment import experiment_from_dict
from atrank_tf.files import save_arrays, write_json
from atrank_tf.models import MODELS, Ranker
from atrank_tf.preparation import prepare
from atrank_tf.saved_model.preprocessor import Preprocessor
from atrank_tf.schema import load_schema, schema_from_dict
from atrank_tf.training import MODEL_FILE, VALUES_FILE, Workers, load, train
from atrank_tf.training.model_folder import TRAINING_FILE
from atrank_tf.training.warm_start import warm_start

CONFIG = {
    "hidden_dim": 8,
    "num_spaces": 2,
    "intermediate_dim": 8,
    "hidden_units": [8],
    "popularity": False,
}
TIMELINE = experiment_from_dict({"model": {"name": "timeline_atrank", **CONFIG}})
SMALL = experiment_from_dict(
    {"model": {"name": "bpr_mf", "hidden_dim": 8, "tasks": ["next_purchase"]}, "training": {"epochs": 2}}
)
"""Soon traced."""


@pytest.fixture(scope="module")
def days(logs: Path, schema_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, Records]:
    """Records of two days. On the second p1 is gone, p2 has become the most frequent, and p90 to p94 are new, of
    which the catalog knows the first."""
    folder = tmp_path_factory.mktemp("days")
    shutil.copytree(logs, folder / "newer")
    purchases = pl.read_csv(logs / "behaviors/purchase.csv").filter(pl.col("product_id") != "p1")
    again = [("u1", "p2", "regular", 86_400 * day) for day in range(1, 50)]
    new = [(f"u{user}", f"p9{user % 5}", "regular", 86_400 * 9) for user in range(20)]
    more = pl.DataFrame(again + new, schema=purchases.schema, orient="row")
    pl.concat([purchases, more]).write_csv(folder / "newer/behaviors/purchase.csv")
    products = pl.read_csv(logs / "catalog/product.csv").filter(pl.col("product_id") != "p1")
    new = pl.DataFrame([("p90", "c1", 5.0, "1 6 11")], schema=products.schema, orient="row")
    pl.concat([products, new]).write_csv(folder / "newer/catalog/product.csv")
    # Without numbers, whose means of the second day are others.
    schema = folder / "schema.toml"
    schema.write_text("\n".join(line for line in schema_file.read_text().splitlines() if not line.startswith("dense")))
    older, newer = (
        prepare(str(path), load_schema(schema), str(folder / f"records_{path.name}"))
        for path in (logs, folder / "newer")
    )
    return older, newer


@pytest.fixture(scope="module")
def make_earlier(days: tuple[Records, Records], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function (model, config) -> the folder of such a model of the first day, every weight of it another."""

    @cache
    def make(name: str = "timeline_atrank", *, include_validation: bool = False, **changes: Any) -> Path:
        records = days[0]
        model = _model(records, name, **changes)
        rng = np.random.default_rng(3)
        for weight in model.trainable_weights:
            weight.assign(rng.normal(scale=0.3, size=weight.shape))
        folder = tmp_path_factory.mktemp("earlier")
        model.save(folder / MODEL_FILE)
        IdMaps.of(records).save(str(folder / VALUES_FILE))
        experiment = {"model": {"name": name}, "training": {"include_validation": include_validation}}
        finished = not include_validation
        write_json(str(folder / TRAINING_FILE), {"experiment": experiment, "records": "", "finished": finished})
        return folder

    return make


def _shop(groups: dict[str, list[str]], tasks: list[str]) -> Ranker:
    """A model of a shop of one kind of object, which scores by what was done with it before."""
    schema = {
        "tables": {"item": {"dim": 2, "rows": 4}},
        "entities": {"item": {"id": {"column": "item_id", "table": "item", "dtype": "int64"}, "rows": 4}},
        "groups": {name: {"entity": "item", "actions": actions} for name, actions in groups.items()},
        "tasks": {task: {"group": "purchase", "negatives": {"uniform": 1}} for task in tasks},
    }
    config = {"hidden_dim": 4, "hidden_units": [3], "popularity": False, "normalize_counts": True}
    return MODELS["average_pooling"](schema_from_dict(schema), **config)


def test_actions_and_tasks_follow_their_names(tmp_path: Path) -> None:
    """What the network reads of affinity has a row for each group, action and age."""
    values = IdMaps({"item": np.array([7, 8])}, {"item": np.array(["7", "8"])})
    earlier = _shop({"click": ["view"], "purchase": ["buy", "1"]}, ["first", "second"])
    rng = np.random.default_rng(0)
    for weight in (*earlier.trainable_weights, *earlier.heads.scales):
        weight.assign(rng.normal(size=weight.shape))
    earlier.save(tmp_path / MODEL_FILE)
    values.save(str(tmp_path / VALUES_FILE))

    later = _shop({"purchase": ["buy", "1"], "visit": ["go", "stay"]}, ["second", "third", "first"])
    warm_start(later, values, str(tmp_path))
    before, after = _weights(earlier), _weights(later)
    kernel = "dnn_head_second/dense_0/kernel"
    there, here = ({name: row for row, name in enumerate(model.row_names()[kernel])} for model in (earlier, later))
    shared = sorted(there.keys() & here.keys())
    assert len(shared) < len(there) < len(here)
    assert sum("purchase" in name for name in shared) == sum("purchase" in name for name in there)
    old, new = (each[kernel][[rows[name] for name in shared]] for each, rows in ((before, there), (after, here)))
    np.testing.assert_array_equal(new, old)
    of_scale = "count_normalization_second/deviation"
    old, new = (
        next(weight.numpy() for weight in model.heads.scales if weight.path == of_scale)[
            [model.row_names()[of_scale].index(name) for name in shared if not name.isdigit()]
        ]
        for model in (earlier, later)
    )
    assert len(old) and len(set(old)) == len(old)
    np.testing.assert_array_equal(new, old)


def _model(records: Records, name: str = "timeline_atrank", **changes: Any) -> Ranker:
    config = (CONFIG if name == "timeline_atrank" else {"hidden_dim": 8}) | changes
    return MODELS[name](records.schema, catalogs=records.catalogs, **config)


def _weights(model: Any) -> dict[str, np.ndarray]:
    return {weight.path: weight.numpy() for weight in model.trainable_weights}


def _scores(model: Ranker, records: Records, products: list[str]) -> dict[str, np.ndarray]:
    """What a model says of two users: of products, and of coupons."""
    rows = Preprocessor(model, IdMaps.of(records))
    raw = {
        "now": np.array([86_400 * 70, 86_400 * 71]),
        "purchase__id": np.array([["p2", "p92", "p5"], ["p7", "never", ""]]),
        "purchase__action": np.array([["regular", "discounted", "regular"], ["regular", "regular", ""]]),
        "purchase__timestamp": np.array([[86_400, 86_400 * 2, 86_400 * 30], [86_400 * 5, 86_400 * 6, 0]]),
        "redemption__id": np.array([[3], [4]]),
        "redemption__action": np.array([["redeem"], ["redeem"]]),
        "redemption__timestamp": np.array([[86_400 * 3], [86_400 * 4]]),
        "user__age": np.array(["young", "ancient"]),
        "next_purchase__candidates": np.array([products] * 2),
        "next_redemption__candidates": np.array([[1, 2, 99]] * 2),
        "next_redemption__channel": np.array([["mail", "app", "pigeon"]] * 2),
    }
    inputs = rows(raw)
    return {task: logits.numpy() for task, logits in model(inputs, training=False).items()}


def test_before_its_first_step_it_scores_as_the_earlier_model(
    days: tuple[Records, Records], make_earlier: Callable[..., Path]
) -> None:
    folder = make_earlier()
    earlier = keras.saving.load_model(folder / MODEL_FILE)
    newer = _model(days[1])
    found = warm_start(newer, IdMaps.of(days[1]), str(folder))
    assert found.new == ()
    assert {name: known < now for name, (known, now) in found.tables.items()} == {
        name: name == "product" for name in ("product", "category", "coupon", "age", "channel")
    }
    # p91 and p92, which the catalog of the second day does not know either, are read as unknown products by both.
    products = ["p0", "p2", "p3", "p91", "never"]
    expected = _scores(earlier, days[0], products)
    for task, scores in _scores(newer, days[1], products).items():
        np.testing.assert_allclose(scores, expected[task], rtol=1e-5, atol=1e-5)
        assert np.ptp(scores) > 0.1


def test_rows_follow_their_values_and_new_values_begin_as_unknown_ones(
    days: tuple[Records, Records], make_earlier: Callable[..., Path]
) -> None:
    folder = make_earlier()
    before = _weights(keras.saving.load_model(folder / MODEL_FILE))
    model = _model(days[1])
    warm_start(model, IdMaps.of(days[1]), str(folder))
    after = _weights(model)
    products = [day.vocabularies["product"].tolist() for day in days]
    assert "p1" in products[0] and "p1" not in products[1] and "p90" in products[1] and "p90" not in products[0]
    tables = {f"table_{name}/embeddings": name for name in days[0].schema.tables}
    for task, name in (("next_purchase", "product"), ("next_redemption", "coupon")):
        tables |= {f"{kind}_{task}/embeddings": name for kind in ("item_bias", "task_table")}
    for path, first in before.items():
        if path not in tables:
            np.testing.assert_array_equal(after[path], first, err_msg=path)
            continue
        older, newer = ({v: row + 2 for row, v in enumerate(day.vocabularies[tables[path]])} for day in days)
        assert tables[path] != "product" or newer["p2"] == 2 < older["p2"], "Else no row moves."
        np.testing.assert_array_equal(after[path][:2], first[:2])
        for value, row in newer.items():
            np.testing.assert_array_equal(after[path][row], first[older.get(value, 1)], err_msg=f"{path} {value}")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("timeline_atrank", {"num_blocks": 2}),
        pytest.param("average_pooling", {"hidden_units": [8], "popularity": False}, marks=pytest.mark.slow),
    ],
)
def test_a_model_of_another_form_takes_what_it_shares(
    days: tuple[Records, Records], make_earlier: Callable[..., Path], name: str, changes: dict[str, Any]
) -> None:
    folder = make_earlier()
    model = _model(days[0], name, **changes)
    fresh = _weights(model)
    found = warm_start(model, IdMaps.of(days[0]), str(folder))
    before = _weights(keras.saving.load_model(folder / MODEL_FILE))
    assert set(found.new) == fresh.keys() - before.keys() != set()
    for path, value in _weights(model).items():
        np.testing.assert_array_equal(value, before.get(path, fresh[path]), err_msg=path)
    text = str(found)
    assert "\n  coupon    12 of 12 values known" in text
    assert f"\n  {found.new[0]}  new" in text


def test_weights_that_do_not_fit_are_refused_with_their_shapes(
    days: tuple[Records, Records], make_earlier: Callable[..., Path]
) -> None:
    folder = make_earlier()
    message = r"whose weights fit: .* self_attention_0/attention/query_kernel is \[8, 8\] there and \[4, 4\] here"
    with pytest.raises(ValueError, match=message):
        warm_start(_model(days[1], hidden_dim=4), IdMaps.of(days[1]), str(folder))


def test_weights_that_mean_something_else_are_refused_with_the_place(
    days: tuple[Records, Records], make_earlier: Callable[..., Path]
) -> None:
    folder = make_earlier()
    schema = days[1].schema
    turned = replace(schema.groups["purchase"], actions=("discounted", "regular"))
    other = replace(schema, groups={**schema.groups, "purchase": turned})
    model = MODELS["timeline_atrank"](other, catalogs=days[1].catalogs, **CONFIG)
    message = (
        r"In its schema groups\.purchase\.actions is \['regular', 'discounted'\], in that of the records "
        r"\['discounted', 'regular'\]"
    )
    with pytest.raises(ValueError, match=message):
        warm_start(model, IdMaps.of(days[1]), str(folder))


def test_a_model_that_shares_nothing_is_refused(
    days: tuple[Records, Records], make_earlier: Callable[..., Path]
) -> None:
    model: Any = SimpleNamespace(
        schema=days[1].schema,
        config=SimpleNamespace(calendar=False),
        trainable_variables=[keras.Variable([0.0], name="other")],
        heads=SimpleNamespace(scales=[]),
        table_of_weight=dict,
        row_names=dict,
    )
    with pytest.raises(ValueError, match=r"that shares weights with this one\. Found none\."):
        warm_start(model, IdMaps.of(days[1]), str(make_earlier()))


def test_a_model_folder_without_the_values_of_all_tables_is_refused(
    days: tuple[Records, Records], make_earlier: Callable[..., Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(make_earlier(), tmp_path / "folder")
    values = IdMaps.of(days[0])
    save_arrays(str(folder / VALUES_FILE), {f"tables/{name}": values.tables[name] for name in ("age", "channel")})
    with pytest.raises(ValueError, match=r"Expected the values of table 'category' .* train that model once more"):
        warm_start(_model(days[1]), IdMaps.of(days[1]), str(folder))


class Begun(keras.callbacks.Callback):  # type: ignore[misc]
    """Keeps the weights as they are before the first step."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.weights = _weights(self.model)


@pytest.mark.slow
def test_8_killed_and_resumed_it_has_the_weights_of_one_never_killed(
    days: tuple[Records, Records], make_earlier: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(make_earlier("bpr_mf", tasks=("next_purchase",)))
    begun, stop = Begun(), Stop(1, at_end=False)
    with pytest.raises(InterruptedError):
        train(days[1], SMALL, str(tmp_path / "killed"), warm_start_dir=folder, callbacks=[begun, stop])
    lines = capsys.readouterr().out.splitlines()
    place = lines.index(f"Begins with the weights of {folder}:")
    assert "  product   39 of 44 values known" in lines[place:]
    earlier = _weights(keras.saving.load_model(f"{folder}/{MODEL_FILE}"))
    for path in ("projection_purchase/kernel", "table_age/embeddings"):
        np.testing.assert_array_equal(begun.weights[path], earlier[path])

    for name in ("killed", "whole"):
        assert train(days[1], SMALL, str(tmp_path / name), warm_start_dir=folder)
    assert not train(days[1], SMALL, str(tmp_path / "whole"), warm_start_dir=folder)
    with pytest.raises(ValueError, match="holds the same training from another start"):
        train(days[1], SMALL, str(tmp_path / "whole"))
    killed, whole = (_weights(keras.saving.load_model(tmp_path / name / MODEL_FILE)) for name in ("killed", "whole"))
    for path, value in whole.items():
        np.testing.assert_array_equal(killed[path], value, err_msg=path)
    history, again = (json.loads((tmp_path / n / "training.json").read_text())["history"] for n in ("killed", "whole"))
    assert history == again


def test_an_earlier_model_that_is_unfinished_or_was_trained_on_validation_is_told(
    days: tuple[Records, Records], make_earlier: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for include, told in ((False, 0), (True, 1)):
        folder = str(make_earlier("bpr_mf", include_validation=include, tasks=("next_purchase",)))
        caplog.clear()
        with pytest.raises(InterruptedError):
            train(days[1], SMALL, str(tmp_path / str(told)), warm_start_dir=folder, callbacks=[BeforeTraining()])
        assert caplog.text.count("was trained on its validation targets too") == told
        assert caplog.text.count("holds an unfinished training") == told


def test_without_epochs_it_is_the_earlier_model_and_knows_the_new_catalog(
    days: tuple[Records, Records], make_earlier: Callable[..., Path], tmp_path: Path
) -> None:
    none = replace(TIMELINE, training=replace(TIMELINE.training, epochs=0, average_from=0.5))
    assert train(days[1], none, str(tmp_path / "model"), warm_start_dir=str(make_earlier()))
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        MODEL_FILE,
        VALUES_FILE,
        "schema.toml",
        "experiment.toml",
        TRAINING_FILE,
    }
    newer = load(str(tmp_path / "model"))
    found = _scores(newer, days[1], ["p2", "p90", "p91", "p94"])["next_purchase"]
    before = _scores(load(str(make_earlier())), days[0], ["p2", "p90", "p91", "p94"])["next_purchase"]
    np.testing.assert_allclose(found[:, [0, 2, 3]], before[:, [0, 2, 3]], rtol=1e-5, atol=1e-5)
    assert (np.abs(found[:, 1] - before[:, 1]) > 1e-3).all(), "By its category."
    assert not train(days[1], none, str(tmp_path / "model"), warm_start_dir=str(make_earlier()))

    for start, workers in (("", 1), (str(make_earlier()), 2)):
        several = Workers()
        several.number = workers
        message = rf"epochs = 0 .* in one process. Received: warm_start='{start}', processes: {workers}\."
        with pytest.raises(ValueError, match=message):
            train(days[1], none, str(tmp_path / "other"), warm_start_dir=start, workers=several)
    assert not (tmp_path / "other").exists()
