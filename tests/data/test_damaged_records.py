"""A records folder with a flipped bit, or a file cut short, is read as the whole one is, or refused by name."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from damage import damages

from atrank_tf.data import Records
from atrank_tf.data import records as records_module
from atrank_tf.report import load_report

FILES = [
    "manifest.json",
    "report.json",
    "schema.toml",
    "catalog/product.npz",
    "catalog/coupon.npz",
    "vocabulary/category.npz",
    "timelines-00002-of-00008.tfrecord",
]


@pytest.fixture
def folder(records: Records, tmp_path: Path) -> Path:
    return Path(shutil.copytree(records.path, tmp_path / "copy"))


def content(folder: Path) -> dict[str, Any]:
    """Everything that a training reads, verified as it does."""
    records = Records(str(folder))
    records.verify()
    found: dict[str, Any] = {"manifest": records.manifest, "schema": records.schema, "report": load_report(str(folder))}
    for name, catalog in records.catalogs.items():
        found |= {f"{name}/{key}": values for key, values in catalog.arrays().items()}
    found |= records.vocabularies
    return found | {"timelines": list(tf.data.TFRecordDataset(records.files).as_numpy_iterator())}


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_changes_nothing_or_is_refused_by_name(folder: Path, name: str, count: int) -> None:
    whole = content(folder)
    refused = 0
    for done, damaged in damages((folder / name).read_bytes(), count):
        (folder / name).write_bytes(damaged)
        try:
            found = content(folder)
        except ValueError as error:
            refused += 1
            assert f"{folder}/{name}" in str(error), done
            assert "python -m atrank_tf.prepare" in str(error), done
        else:
            assert found.keys() == whole.keys(), done
            for key, values in whole.items():
                if isinstance(values, np.ndarray):
                    np.testing.assert_array_equal(found[key], values, err_msg=done)
                else:
                    # A changed "sha256" is one key more.
                    same = found[key] if not isinstance(values, dict) else {name: found[key][name] for name in values}
                    assert same == values, done
    assert refused > count


def test_a_file_cut_between_two_timelines_is_refused(folder: Path) -> None:
    path = folder / "timelines-00005-of-00008.tfrecord"
    examples = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    assert len(examples) > 1
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples[:-1]:
            writer.write(example)
    records = Records(str(folder))
    match = rf"{path} is damaged, or of other records\. Expected the SHA-256 \w{{64}} that the manifest names\. Found "
    with pytest.raises(ValueError, match=match):
        records.verify()
    path.rename(folder / "timelines-00005-of-00009.tfrecord")  # The manifest has no such file.
    with pytest.raises(ValueError, match="Expected the SHA-256 none that the manifest names"):
        Records(str(folder)).verify()


def test_several_workers_read_each_file_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, read = Records(str(folder)), []
    of_file = records_module.file_checksum
    monkeypatch.setattr(records_module, "file_checksum", lambda path: read.append(path) or of_file(path))
    for worker in range(3):
        records.of_worker(worker, 3).verify()
    assert sorted(read) == records.files
    name = FILES[-1]
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    for worker in (0, 1):
        records.of_worker(worker, 3).verify()
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        records.of_worker(2, 3).verify()
