"""Versions of a model without a model: folders and what stands for a loaded one."""

import os
from typing import ClassVar

from atrank_tf.server.served_model import ServedModel


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


def number_served(model):
    with model.lease() as (number, _):
        return number


def label_of(model, label):
    with model.lease(label=label) as (number, _):
        return number


def served_with(tmp_path, numbers, **arguments):
    for number in numbers:
        (tmp_path / str(number)).mkdir()
    model = ServedModel("m", str(tmp_path), load=FakeModel, **arguments)
    model.start()
    return model


def write_version(folder, time):
    """A version folder whose model was written at a time of its own, in nanoseconds."""
    folder.mkdir(exist_ok=True)
    (folder / "saved_model.pb").write_bytes(b"")
    os.utime(folder / "saved_model.pb", ns=(time, time))
