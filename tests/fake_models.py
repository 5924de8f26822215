"""Versions of a model without a SavedModel: folders, and what stands for a loaded one."""

import os
import threading
from typing import ClassVar

import numpy as np

from atrank_tf.server.limits import LimitedInputs
from atrank_tf.server.loader import Signature, TensorInfo
from atrank_tf.server.served_model import ServedModel

PATIENCE_S = 60
"""Until a test gives up waiting for what must happen; not a speed that is asked for."""


class FakeModel:
    """Stands for a loaded version; `broken` holds the names of folders that cannot be loaded, and why."""

    broken: ClassVar[dict] = {}

    def __init__(self, path):
        self.name = path.rsplit("/", 1)[1]
        self.closed = False
        if self.name in self.broken:
            raise self.broken[self.name]

    def close(self):
        self.closed = True


class FakeScorer:
    """Stands for a loaded model that gives one score for anything; `inputs` are name -> dtype and number of axes."""

    def __init__(self, limited_inputs=None, **inputs):
        self.limited_inputs = limited_inputs or LimitedInputs()
        self.inputs = inputs or {"x": ("float", 1)}
        self.closed = False

    def signature(self, name):
        infos = {name: TensorInfo(name, dtype, (None,) * rank) for name, (dtype, rank) in self.inputs.items()}
        return Signature(infos, {})

    def run(self, name, inputs):
        return {"y": np.ones(1, np.float32)}

    def close(self):
        self.closed = True


class HeldModel(FakeScorer):
    """A model whose calls wait until they are let go."""

    def __init__(self, limited_inputs=None, **inputs):
        super().__init__(limited_inputs, **inputs)
        self.called, self.let_go, self.calls = threading.Semaphore(0), threading.Event(), 0

    def run(self, name, inputs):
        self.calls += 1
        self.called.release()
        assert self.let_go.wait(PATIENCE_S)
        assert not self.closed
        return super().run(name, inputs)


def number_served(model):
    with model.lease() as (number, _):
        return number


def label_of(model, label):
    with model.lease(label=label) as (number, _):
        return number


def served_with(tmp_path, numbers, **arguments):
    for number in numbers:
        (tmp_path / str(number)).mkdir()
    model = ServedModel("m", str(tmp_path), **{"load": FakeModel, **arguments})
    model.start()
    return model


def write_version(folder, time):
    """A version folder whose model was written at a time of its own, in nanoseconds."""
    folder.mkdir(exist_ok=True)
    (folder / "saved_model.pb").write_bytes(b"")
    os.utime(folder / "saved_model.pb", ns=(time, time))
