"""compile and fit of a model without arguments: our defaults, and no ritual for decay that is deferred."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import Records, TrainingBatches, training_batches
from atrank_tf.experiment import Batching
from atrank_tf.losses import PointwiseCrossentropy
from atrank_tf.metrics import RequestAUC
from atrank_tf.models import MODELS, Ranker
from atrank_tf.models.task_model import TaskModel
from atrank_tf.optimizers import SparseAdam

FEW = Batching(batch_size=64, targets_per_user=2, evaluation_targets_per_user=1)


@pytest.fixture(scope="module")
def batches(records: Records) -> TrainingBatches:
    """Of one task."""
    return training_batches(records, tasks=["next_purchase"], settings=FEW)


def _model(records: Records, name: str = "bpr_mf", **config: Any) -> Ranker:
    keras.utils.set_random_seed(1)
    return MODELS[name](records.schema, catalogs=records.catalogs, hidden_dim=8, **config)


def _pending(model: Ranker) -> bool:
    optimizer = model.optimizer
    clocks = [rows for rows in optimizer._last_steps if rows is not None]
    return any((rows.numpy() != optimizer._clock.numpy()).any() for rows in clocks)


@pytest.mark.parametrize("name", ["bpr_mf", pytest.param("timeline_atrank", marks=pytest.mark.slow)])
def test_a_model_is_trained_and_validated_as_the_front_page_says(name: str, records: Records) -> None:
    model = _model(records, name)
    model.compile()
    batches, validation = model.training_batches(records, settings=FEW), model.evaluation_batches(records, "validation")
    history = model.fit(batches, epochs=2, validation_data=validation, verbose=0).history
    assert model.optimizer.iterations == 2 * batches.steps
    assert len(history["val_next_purchase_auc"]) == len(history["next_redemption_auc"]) == 2
    assert history["loss"][1] < history["loss"][0]


def test_defaults_of_compile(records: Records) -> None:
    model = _model(records)
    model.compile()
    assert type(model.optimizer) is SparseAdam
    assert {task: type(loss) for task, loss in model.loss.items()} == dict.fromkeys(model.tasks, PointwiseCrossentropy)
    model.evaluate(model.evaluation_batches(records, "test", settings=FEW), steps=1, verbose=0)
    metrics = [
        metric for metric in keras.tree.flatten(model._compile_metrics.metrics) if isinstance(metric, RequestAUC)
    ]
    assert len(metrics) == len(model.tasks)


def test_all_defaults_may_be_replaced_by_those_of_keras(records: Records, batches: TrainingBatches) -> None:
    model = _model(records, tasks=["next_purchase"])

    def loss(labels: Any, logits: Any) -> Any:
        return keras.ops.binary_crossentropy(labels, logits, from_logits=True)

    model.compile("adam", dict.fromkeys(model.tasks, loss), weighted_metrics=[])
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    history = model.fit(batches, verbose=0).history
    assert not [name for name in history if "auc" in name]


def test_a_model_reads_batches_of_its_own_groups_and_tasks(records: Records) -> None:
    model = _model(records, groups=["purchase"], tasks=["next_purchase"])
    inputs, labels, _ = next(iter(model.training_batches(records, settings=FEW).dataset))
    assert set(labels) == {"next_purchase"}
    assert not [name for name in inputs if name.startswith("redemption")]
    _, labels, _ = next(iter(model.evaluation_batches(records, "test")))
    assert set(labels) == {"next_purchase"}


def test_pending_decay_is_applied_before_anybody_reads_the_tables(
    records: Records, batches: TrainingBatches, tmp_path: Path
) -> None:
    model = _model(records, tasks=["next_purchase"])
    model.compile(SparseAdam(0.01, l2=1e-2, whole_up_to=0))
    batch = next(iter(batches.dataset))
    readers = {
        "evaluate": lambda: model.evaluate(*batch[:2], sample_weight=batch[2], verbose=0),
        "predict": lambda: model.predict(batch[0], verbose=0),
        "save": lambda: model.save(tmp_path / "model.keras"),
        "export": lambda: model.export(str(tmp_path / "export"), verbose=False),
    }
    for name, read in readers.items():
        model.train_on_batch(*batch)
        model.train_on_batch(*batch)
        assert _pending(model), name
        read()
        assert not _pending(model), name


def test_callbacks_at_the_end_of_an_epoch_read_tables_without_pending_decay(
    records: Records, batches: TrainingBatches
) -> None:
    found: list[bool] = []

    class Read(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            found.append(_pending(self.model))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            found.append(_pending(self.model))

    model = _model(records, tasks=["next_purchase"])
    model.compile(SparseAdam(0.01, weight_decay=0.1))
    model.fit(batches, steps_per_epoch=2, verbose=0, callbacks=Read())
    assert found == [True, True, False]


def test_a_loaded_model_goes_on_with_its_optimizer(records: Records, batches: TrainingBatches, tmp_path: Path) -> None:
    model = _model(records, tasks=["next_purchase"])
    model.compile(SparseAdam(0.01, l2=1e-2))
    model.fit(batches, steps_per_epoch=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.optimizer.iterations == 2
    for each in (model, loaded):
        each.fit(batches, steps_per_epoch=2, verbose=0)
    for found, expected in zip(loaded.trainable_weights, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_dataset_is_taken_as_keras_takes_it(records: Records, batches: TrainingBatches) -> None:
    model = _model(records, tasks=["next_purchase"])
    model.compile()
    assert isinstance(batches.dataset, tf.data.Dataset)
    model.fit(batches.dataset, steps_per_epoch=1, shuffle=False, verbose=0)
    assert model.optimizer.iterations == 1


def test_the_loss_of_a_task_is_the_mean_over_its_requests() -> None:
    """A batch weighs as many requests of the task as it has; without any it counts for nothing."""
    logits = {task: keras.Input((None,), name=task) for task in ("one", "two")}
    model = TaskModel(logits, {task: keras.layers.Identity(name=f"{task}_")(x) for task, x in logits.items()})
    model.tasks = ("one", "two")
    model.compile()
    spec = {task: tf.TensorSpec([None, None]) for task in model.tasks}

    def fit(*batches: tuple[Any, Any]) -> dict[str, float]:
        """Of each task the logits, and the weights, of the candidates of a batch; all of them are negatives."""
        rows = [
            (
                {task: np.full_like(np.float32(weights), logit) for task, (logit, weights) in batch.items()},
                {task: np.zeros_like(np.float32(weights)) for task, (_, weights) in batch.items()},
                {task: np.float32(weights) for task, (_, weights) in batch.items()},
            )
            for batch in (dict(zip(model.tasks, batch, strict=True)) for batch in batches)
        ]
        dataset = tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=(spec, spec, spec))
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(rows)))
        return model.evaluate(dataset, return_dict=True, verbose=0)

    found = fit(
        ((1.0, [[1, 1]] * 4), (0.0, np.zeros((4, 0)))),
        ((3.0, [[1, 0]]), (0.0, np.zeros((1, 0)))),
        ((0.0, np.zeros((5, 0))), (-1.0, [[1]] * 5)),
        ((0.0, np.zeros((0, 2))), (0.0, np.zeros((0, 0)))),
        ((2.0, [[1], [1], [1]]), (-2.0, [[0], [1], [0]])),
    )

    def loss(logit: float) -> float:
        return float(np.log1p(np.exp(logit)))

    assert found["one_loss"] == pytest.approx((4 * loss(1) + loss(3) + 3 * loss(2)) / 8, rel=1e-5)
    assert found["two_loss"] == pytest.approx((5 * loss(-1) + loss(-2)) / 6, rel=1e-5)
    every = 4 * loss(1) + loss(3) + 5 * loss(-1) + 3 * (loss(2) + loss(-2))
    assert found["loss"] == pytest.approx(every / 13, rel=1e-5)
