"""Callbacks: keep the best model, back up the training, refuse records that were replaced, tell how far an epoch is."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.data import Records
from atrank_tf.files import file_checksum, load_arrays, save_arrays
from atrank_tf.metrics import RequestAUC
from atrank_tf.progress import Lines
from atrank_tf.training.average_weights import AverageWeights
from atrank_tf.training.epoch_choice import EpochChoice, Sums

_COUNTER = re.compile(r"_\d+(?=/)")


class BestCheckpoint(keras.callbacks.Callback):
    """Keeps the model of the epoch that `EpochChoice` chooses, and stops training when it is out of patience.

    The file is written aside, and takes its place when the next epoch begins or training ends: whoever reads it finds a
    whole model, of an epoch that `Backup` has written down.

    Args:
        path: the `.keras` file.
        aucs: task -> its AUC, one of the metrics that the model is compiled with.
        patience: epochs without a gain after which training stops; 0 for never.
        first_mean: the first epoch whose model is a mean of weights; None for no averaging.

    Attributes:
        choice: the `EpochChoice`.
        history: the logs of each epoch, and standard errors of validation, as `val_<task>_auc_standard_error` (of a
            single task `val_auc_standard_error`).
    """

    def __init__(
        self, path: str, aucs: Mapping[str, RequestAUC], patience: int = 0, first_mean: int | None = None
    ) -> None:
        super().__init__()
        self.path = path
        self.aucs = aucs
        self.choice = EpochChoice(patience, first_mean)
        self.history: list[dict[str, float]] = []
        self._validated: dict[str, Sums] = {}
        self._aside = f"{path}.partial.keras"
        self._waits = False

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        for task, auc in self.aucs.items():
            self._validated[task] = Sums(auc.totals.numpy().tolist(), auc.requests.numpy().tolist())

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = {name: float(value) for name, value in (logs or {}).items()}
        if not math.isfinite(logs.get("loss", 0.0)):
            raise ValueError(
                f"Expected a finite loss. Found {logs['loss']} in epoch {epoch}: a lower learning_rate or clip_norm in "
                f"[training] may help. The best model of the epochs before is kept in {self.path}."
            )
        if self.choice.add(epoch, logs.get("val_loss"), self._validated):
            self.model.save(self._aside)
            self._waits = True
        names = {task: f"{task}_auc" if len(self.aucs) > 1 else "auc" for task in self.aucs}  # As Keras names them.
        aucs = self.choice.epochs[-1].aucs
        errors = {f"val_{names[task]}_standard_error": auc.standard_error for task, auc in aucs.items()}
        self.history.append({"epoch": epoch, **logs, **errors})
        if self.choice.out_of_patience:
            self.model.stop_training = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._put_in_place()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._put_in_place()

    def keep(self, model: Any) -> None:
        """Writes a model to the file."""
        model.save(self._aside)
        self._waits = True
        self._put_in_place()

    def _put_in_place(self) -> None:
        if self._waits:
            tf.io.gfile.rename(self._aside, self.path, overwrite=True)
            self._waits = False

    def summary(self) -> dict[str, Any]:
        """Returns what a finished training tells: the kept epoch, why it is kept, and the history, as JSON types."""
        if not self.history:
            return {"best": None, "best_epoch": -1, "reason": "No epoch was trained.", "history": []}
        kept = self.choice.kept
        return {
            "best": self.choice.score(kept),
            "best_epoch": kept.epoch,
            "reason": self.choice.reason(),
            "history": self.history,
        }

    def state(self) -> dict[str, Any]:
        """Returns what a resumed training must know, as JSON types; of a model that is to take its place a checksum."""
        waiting = file_checksum(self._aside) if self._waits else None
        return {"epochs": self.choice.state(), "history": self.history, "waiting": waiting}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes over what `state` gave in an interrupted training.

        A model of an epoch after it that was left waiting is dropped: that epoch comes again.
        """
        self.choice.restore(state["epochs"])
        self.history = state["history"]
        if tf.io.gfile.exists(self._aside):
            self._waits = state.get("waiting") == file_checksum(self._aside)
            self._put_in_place()


class Backup(keras.callbacks.Callback):
    """Saves the whole state of a training after each epoch, in one file, from which it can be resumed.

    `keras.callbacks.BackupAndRestore` keeps weights and optimizer; a resumed training gives the same weights only if
    the states of the dropout's random generators and of `BestCheckpoint` go on too, and if a kill between two files
    cannot tear them apart.

    Args:
        path: the `.npz` file.
        checkpoint: the callback whose state goes along. Put this one after it, and after all whose epoch should come
            again where it was not finished.
        average: whose means go along.
    """

    def __init__(self, path: str, checkpoint: BestCheckpoint, average: AverageWeights | None = None) -> None:
        super().__init__()
        self.path = path
        self.checkpoint = checkpoint
        self.average = average or AverageWeights()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        state = json.dumps({"epoch": epoch + 1, "paths": self._paths(), "checkpoint": self.checkpoint.state()})
        with self.average.put_aside():
            values = {str(number): variable.numpy() for number, variable in enumerate(self._variables())}
        save_arrays(self.path, {"state": np.array(state), **values})

    def restore(self, model: Any) -> int:
        """Puts a compiled model and the checkpoint callback where an interrupted training stopped.

        Returns:
            The number of epochs done; 0 if there is nothing to go on from.

        Raises:
            ValueError: the file is of another model, or damaged.
        """
        if not tf.io.gfile.exists(self.path):
            return 0
        self.set_model(model)
        values = load_arrays(self.path, "Remove it, and the training begins anew; or name another folder.")
        state = json.loads(str(values.get("state", '{"paths": []}')))
        if state["paths"] != self._paths():
            raise ValueError(f"{self.path} is the backup of another model. Name another folder, or remove it.")
        for number, variable in enumerate(self._variables()):
            variable.assign(values[str(number)])
        self.checkpoint.restore(state["checkpoint"])
        return int(state["epoch"])

    def _variables(self) -> list[Any]:
        # `variables`, unlike `weights`, has the states of the random generators.
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        metrics = {id(variable) for variable in self.model.metrics_variables}
        own = [variable for variable in self.model.variables if id(variable) not in metrics]
        return [*own, *self.model.optimizer.variables, *self.average.means]

    def _paths(self) -> list[str]:
        # Keras numbers random generators and optimizers through the process: "adam_1", where another model was before.
        return [f"{_COUNTER.sub('', v.path)} {tuple(v.shape)}" for v in self._variables()]


class SameRecords(keras.callbacks.Callback):
    """Ends a training whose records were replaced in the epoch that ends, before anything of that epoch is kept.

    A training reads the files of the records anew in each epoch: they must be those that it began with.

    Args:
        records: what is trained and validated on.
    """

    def __init__(self, records: Records) -> None:
        super().__init__()
        self._records = records

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._records.check_unchanged()


class ProgressLines(keras.callbacks.Callback):
    """Says every ten seconds how far an epoch, or its validation, is: for output that is no terminal.

    Keras' bar would leave a file one line without an end, or with `verbose=2` nothing until the epoch is over.
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._lines = Lines(f"epoch {epoch + 1} of {self.params['epochs']}", "steps", self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._lines.update(1, lambda: f", loss {float(logs['loss']):.4f}" if logs else "")

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        self._lines = Lines("validation", "steps")

    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._lines.update(1)
