"""`python -m atrank_tf.train`: records and an experiment file -> a trained model."""

import dataclasses
import sys
from typing import Any

from absl import flags, logging

from atrank_tf import command

_RECORDS = flags.DEFINE_string(
    "records", None, "Records folder, as `python -m atrank_tf.prepare` wrote it.", required=True
)
_CONFIG = flags.DEFINE_string("config", None, "Experiment file (TOML).", required=True)
_MODEL_DIR = flags.DEFINE_string("model_dir", None, "Folder of the trained model; holds one training.", required=True)
_WARM_START = flags.DEFINE_string(
    "warm_start", "", "Model folder of an earlier training, on older records, whose weights this one begins with."
)
_INCLUDE_VALIDATION = flags.DEFINE_bool(
    "include_validation", False, "Train on the targets of validation too, for the epochs of the experiment file."
)
_SEED = flags.DEFINE_integer("seed", None, "Seed, instead of the experiment file's.", lower_bound=0)
_EXPLAIN = flags.DEFINE_bool(
    "explain", False, "Write attention images after each epoch, and tables for the projector, to MODEL_DIR/tensorboard."
)

command.reads_records(_RECORDS)
command.reads(_CONFIG, _WARM_START)
# The backup says that an epoch is done, so the model of that epoch is there before it.
command.writes(_MODEL_DIR, last=("model.keras", "training.json", "backup.npz"))

_experiment: Any = None
_workers: Any = None
"""Who train together. They must have met, and the threads must be divided, before there are devices."""


def check() -> None:
    """Looks for the records, the experiment file and what the training begins with."""
    global _experiment
    from atrank_tf.experiment import load_experiment

    _experiment = load_experiment(_CONFIG.value)
    command.check_records(_RECORDS.value)
    _check_schema()
    if _WARM_START.value:
        command.check_model(_WARM_START.value)


def _check_schema() -> None:
    """Raises ValueError unless the experiment fits the schema of the records."""
    from atrank_tf.experiment import check_settings, schema_that_is_read
    from atrank_tf.schema import load_schema

    try:
        schema = load_schema(f"{_RECORDS.value}/schema.toml")
    except (ValueError, OSError):
        return  # What is wrong with the records is told where they are read.
    try:
        check_settings(_experiment, schema_that_is_read(schema, _experiment.model))
    except ValueError as error:
        raise ValueError(f"{error} (in {_CONFIG.value})") from error


def _before_devices() -> None:
    global _workers
    from atrank_tf.training import Workers, divide_threads

    divide_threads(_experiment.training.slices)
    _workers = Workers.join()


def main() -> None:
    import keras
    import tensorflow as tf

    from atrank_tf.data import Records
    from atrank_tf.explanation import AttentionImages
    from atrank_tf.training import train

    changes: dict[str, Any] = {} if _SEED.value is None else {"seed": _SEED.value}
    if _INCLUDE_VALIDATION.value:
        changes |= {"include_validation": True, "patience": 0}
    training = dataclasses.replace(_experiment.training, **changes)
    experiment = dataclasses.replace(_experiment, training=training)
    records = Records(_RECORDS.value)
    callbacks = [AttentionImages(f"{_MODEL_DIR.value}/tensorboard", records)] if _EXPLAIN.value else []
    # When an epoch begins, everything of the one before is written down here.
    callbacks.append(keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: _write_epoch()))
    try:
        trained = train(
            records,
            experiment,
            _MODEL_DIR.value,
            warm_start_dir=_WARM_START.value,
            callbacks=callbacks,
            workers=_workers,
        )
    except (  # So TensorFlow says that another worker does not answer.
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    ) as error:
        if _workers.number == 1:
            raise
        raise ConnectionError(
            "Another worker is gone: its own output says why. Start all workers again, and the training goes on after "
            "its last whole epoch."
        ) from error
    state = "trained" if trained else "is current: same records, same experiment"
    if _workers.is_chief:
        sys.stdout.write(f"{_MODEL_DIR.value} {state}\n")


def _write_epoch() -> None:
    """Writes the model folder to its store, if it is in one. A lost store is no reason to lose a training."""
    try:
        command.write_stores()
    except OSError as error:
        logging.warning("%s The training goes on, and tries again with the next epoch.", error)


if __name__ == "__main__":
    command.run(main, check, before_devices=_before_devices)
