"""The compiled models: what a training step touches, and which threads it has."""

import os
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import Records, TrainingBatches
from atrank_tf.experiment import Batching, Training
from atrank_tf.experiment.training import LOSSES, OPTIMIZERS
from atrank_tf.losses import ListwiseCrossentropy, PairwiseCrossentropy, PointwiseCrossentropy
from atrank_tf.models import MODELS, ATRank, Ranker
from atrank_tf.optimizers import SparseAdam, SparseMuon
from atrank_tf.schema import PADDING
from atrank_tf.training import compile_model, divide_threads
from atrank_tf.training.new_model import LOSS_CLASSES, OPTIMIZER_CLASSES

SMALL = {
    "tasks": ("next_purchase",),
    "hidden_dim": 8,
    "num_spaces": 2,
    "intermediate_dim": 8,
    "hidden_units": (8,),
    "dropout": 0.3,
}


OF_EACH_KIND = [
    pytest.param(name, marks=() if name == "timeline_atrank" else pytest.mark.slow) for name in sorted(MODELS)
]
"""`make test-slow` has those that are trained request by request."""


def small_model(name: str, records: Records, **changes: Any) -> Ranker:
    keras.utils.set_random_seed(1)
    keys = {field.name for field in fields(MODELS[name].Config)}
    config = {key: value for key, value in SMALL.items() if key in keys} | changes
    return MODELS[name](records.schema, catalogs=records.catalogs, **config)


@pytest.fixture(params=OF_EACH_KIND)
def model(request: pytest.FixtureRequest, records: Records) -> Ranker:
    return small_model(request.param, records)


def batches_of_each_kind(records: Records, count: int, settings: Batching) -> dict[Any, list[Any]]:
    """What makes training batches -> the first few of them."""
    return {
        kind: list(
            islice(kind(records, tasks=SMALL["tasks"], settings=settings, seed=1).dataset.as_numpy_iterator(), count)
        )
        for kind in {model.make_batches for model in MODELS.values()}
    }


@pytest.fixture(scope="module")
def large(records: Records) -> dict[Any, list[Any]]:
    """Batches of an epoch in which some targets have no history."""
    kinds = batches_of_each_kind(records, 2, Batching(min_history=0))
    found = {kind: [each for each in batches if not _histories(*each).all()] for kind, batches in kinds.items()}
    assert all(_histories(*batches[0]).any() for batches in found.values())
    return found


@pytest.fixture(scope="module")
def batches_of_both_tasks(records: Records) -> TrainingBatches:
    return ATRank.make_batches(records, seed=1)


@pytest.fixture(scope="module")
def of_both_tasks(batches_of_both_tasks: TrainingBatches) -> Any:
    return next(batches_of_both_tasks.dataset.as_numpy_iterator())


@pytest.fixture(scope="module")
def tiny(records: Records) -> dict[Any, list[Any]]:
    return batches_of_each_kind(records, 6, Batching(batch_size=1, batch_tokens=10, negatives=1))


def _histories(inputs: dict[str, Any], labels: dict[str, Any], weights: dict[str, Any]) -> np.ndarray:
    """How many behaviors each target of `SMALL`'s task has before it."""
    (task,) = labels
    if "now" in inputs:
        return sum((values > 0).sum(axis=1) for name, values in inputs.items() if name.endswith("__timestamp"))
    return sum(values for name, values in inputs.items() if name.endswith("__seen"))[weights[task].any(axis=2)]


def _objects(inputs: dict[str, Any], records: Records, entity: str) -> set[int]:
    """The rows of an entity's catalog that a batch names."""
    schema = records.schema
    names = [f"{name}__id" for name, group in schema.groups.items() if group.entity == entity]
    names += [f"{n}__candidates" for n, task in schema.tasks.items() if schema.groups[task.group].entity == entity]
    return {PADDING}.union(*(inputs[name].ravel().tolist() for name in names if name in inputs))


def test_a_step_of_training_is_traced_once(
    records: Records, batches_of_both_tasks: TrainingBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces: list[Any] = []
    step = keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", lambda self, data: traces.append(data) or step(self, data))
    model = small_model("bpr_mf", records, tasks=())  # The losses of several tasks are followed one by one.
    compile_model(model, Training(), steps=2)
    model.fit(batches_of_both_tasks, steps_per_epoch=2, verbose=0)
    assert len(traces) == 1


def test_the_loss_of_a_task_counts_by_its_weight(records: Records, of_both_tasks: Any) -> None:
    def losses(**weights: float) -> dict[str, float]:
        keras.utils.set_random_seed(1)
        model = ATRank(records.schema, catalogs=records.catalogs, **(SMALL | {"tasks": (), "dropout": 0.0}))
        compile_model(model, Training(task_weights=weights), steps=1)
        model.run_eagerly = True
        model.test_on_batch(*of_both_tasks)
        return model.get_metrics_result()

    plain, weighted = losses(), losses(next_purchase=3.0, next_redemption=3.0)
    assert float(weighted["loss"]) == pytest.approx(3 * float(plain["loss"]), rel=1e-5)


def test_item_biases_do_not_decay_in_a_model_that_is_loaded_either(records: Records, tmp_path: Path) -> None:
    model = small_model("bpr_mf", records)
    compile_model(model, Training(l2=1e-3), steps=1)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        optimizer = each.optimizer
        optimizer.build(each.trainable_variables)
        decays = dict(zip([v.path for v in each.trainable_variables], optimizer._has_l2, strict=True))
        assert {path for path, decay in decays.items() if not decay} == {"item_bias_next_purchase/embeddings"}


@pytest.mark.parametrize("loaded", [False, True])
def test_weight_decay_is_of_weight_matrices_alone(records: Records, loaded: bool, tmp_path: Path) -> None:
    model = small_model("timeline_atrank", records)
    compile_model(model, Training(weight_decay=0.5, learning_rate=0.1, l2=1e-3), steps=10)
    if loaded:
        model.save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras")
    model.optimizer.build(model.trainable_variables)
    before = {variable.path: variable.numpy() for variable in model.trainable_variables}
    model.optimizer._apply_weight_decay(model.trainable_variables)
    decayed = set()
    for variable in model.trainable_variables:
        if (variable.numpy() != before[variable.path]).any():
            np.testing.assert_allclose(variable.numpy(), 0.95 * before[variable.path], rtol=1e-6)
            decayed.add(variable.path)
    assert {"dnn_head_next_purchase/dense_0/kernel", "projection_purchase/kernel"} <= decayed
    assert not any(path.startswith("table_") or path.endswith(("bias", "gamma", "beta")) for path in decayed)
    tables = [number for number, path in enumerate(before) if path.startswith("table_")]
    assert tables and all(model.optimizer.decay_factor(number) == 1.0 for number in tables)


def test_rate_decay_and_clipping_reach_the_optimizer(records: Records) -> None:
    model = small_model("bpr_mf", records)
    compile_model(model, Training(learning_rate=0.02, l2=2e-3, clip_norm=0.7), steps=10)
    optimizer = model.optimizer
    assert float(optimizer.learning_rate) == pytest.approx(0.02)
    assert (optimizer.moments, optimizer.l2, optimizer.global_clipnorm) == ("dense", 2e-3, 0.7)
    assert optimizer.weight_decay is None
    compile_model(model, Training(l2=0.0, clip_norm=0.0), steps=10)
    assert (model.optimizer.moments, model.optimizer.l2, model.optimizer.global_clipnorm) == ("dense", 0.0, None)


def test_the_optimizer_is_the_one_that_is_named(records: Records) -> None:
    model = ATRank(records.schema, catalogs=records.catalogs, **SMALL)
    kinds = {"adam": SparseAdam, "muon": SparseMuon}
    assert set(kinds) == set(OPTIMIZERS) == set(OPTIMIZER_CLASSES)
    for name, kind in kinds.items():
        compile_model(model, Training(optimizer=name, l2=2e-3), steps=1)
        assert type(model.optimizer) is kind
        assert (model.optimizer.l2, model.optimizer.weight_decay_of) == (2e-3, "matrices")


def test_the_loss_is_the_one_that_is_named(records: Records) -> None:
    model = ATRank(records.schema, catalogs=records.catalogs, **(SMALL | {"tasks": ()}))
    kinds = {"pointwise": PointwiseCrossentropy, "pairwise": PairwiseCrossentropy, "listwise": ListwiseCrossentropy}
    assert set(kinds) == set(LOSSES) == set(LOSS_CLASSES)
    for name, kind in kinds.items():
        compile_model(model, Training(loss=name), steps=1)
        assert {task: type(loss) for task, loss in model.loss.items()} == dict.fromkeys(model.tasks, kind)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        *(pytest.param(*each.values, "pointwise", marks=each.marks) for each in OF_EACH_KIND),
        ("bpr_mf", "pairwise"),
        ("bpr_mf", "listwise"),
    ],
)
def test_a_few_steps_make_the_loss_of_a_batch_smaller(
    name: str, loss: str, records: Records, large: dict[Any, list[Any]]
) -> None:
    """Some targets of the batch have no history: the gradient must be finite there too."""
    rate = 0.1 if name == "bpr_mf" else 0.03
    model = small_model(name, records, dropout=0.0, item_bias=False)  # What falls is not the bias alone.
    compile_model(model, Training(loss=loss, learning_rate=rate), steps=10)
    model.run_eagerly = True
    batch = large[model.make_batches][0]
    losses = [float(model.train_on_batch(*batch, return_dict=True)["loss"])]
    for _ in range(4):
        model.train_on_batch(*batch)
        model.reset_metrics()
    losses.append(float(model.test_on_batch(*batch, return_dict=True)["loss"]))
    assert losses[1] < 0.95 * losses[0]
    assert all(np.isfinite(weight).all() for weight in model.trainable_weights)


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_slices_of_a_batch_train_as_the_whole(
    name: str,
    records: Records,
    large: dict[Any, list[Any]],
    tiny: dict[Any, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    whole = MODELS[name].forward
    monkeypatch.setattr(
        MODELS[name], "forward", lambda self, inputs, *rest: calls.append(0) or whole(self, inputs, *rest)
    )
    batches = tiny if name == "atrank" else large  # The tiny one has fewer users than slices.
    gradients = []
    for slices in (1, 3):
        model = small_model(name, records, dropout=0.0)
        compile_model(model, Training(slices=slices, l2=1e-3), steps=1)
        model.run_eagerly = True
        model.train_on_batch(*batches[model.make_batches][0])
        gradients.append([v.numpy() for v in model.optimizer.variables if "momentum" in v.path])
    assert len(gradients[0]) == len(model.trainable_variables)
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)
    assert len(calls) == 1 + 3


def test_a_weight_of_no_task_is_refused(records: Records) -> None:
    model = small_model("average_pooling", records)
    with pytest.raises(ValueError, match=r"Unknown task 'next_purchse'.*Did you mean \"next_purchase\""):
        compile_model(model, Training(task_weights={"next_purchse": 1.0}), steps=1)


@pytest.mark.usefixtures("row_by_row")
def test_7_a_step_touches_the_rows_of_its_batch_only(
    model: Ranker, records: Records, tiny: dict[Any, list[Any]]
) -> None:
    """The product's own table, item biases and the optimizer's slots of both; decay and dense moments included."""
    compile_model(model, Training(l2=1e-3, clip_norm=1.0), steps=6)
    model.run_eagerly = True  # Each batch has shapes of its own: tracing them takes a minute.
    rows = records.schema.tables["product"].rows
    watched = [
        variable
        for variable in [*model.trainable_variables, *model.optimizer.variables]
        if tuple(variable.shape)[:1] == (rows,) and len(variable.shape) > 1
    ]
    assert len(watched) == 8  # The table and the item bias, two moments of each, a clock of each.
    touched = 0
    for inputs, labels, weights in tiny[model.make_batches]:
        before = [variable.numpy() for variable in watched]
        model.train_on_batch(inputs, labels, weights)
        objects = sorted(_objects(inputs, records, "product"))
        own = set(records.catalogs["product"].table_rows[objects].tolist())
        for variable, old in zip(watched, before, strict=True):
            changed = set(np.flatnonzero((variable.numpy() != old).any(axis=1)).tolist())
            assert changed <= own, variable.path
            touched += len(changed)
        assert len(own) < rows / 2
    assert touched > 0


@pytest.mark.parametrize(
    ("cores", "slices", "expected"),
    [
        (6, 1, []),  # As TensorFlow will have it.
        (6, 2, [("intra", 3), ("inter", 6)]),
        (6, 8, [("intra", 1), ("inter", 6)]),
        (2, 1, [("intra", 1), ("inter", 2)]),
        (1, 1, [("intra", 1), ("inter", 1)]),
    ],
)
def test_each_operation_has_the_threads_of_its_slice(
    cores: int, slices: int, expected: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    for name in ("intra", "inter"):
        monkeypatch.setattr(
            tf.config.threading,
            f"set_{name}_op_parallelism_threads",
            lambda threads, name=name: told.append((name, threads)),
        )
    divide_threads(slices)
    assert told == expected
