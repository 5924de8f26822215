"""Checksums and fingerprint of records: of contents, whatever the time, the place and the packing."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from folder_checksums import checksums

from atrank_tf.preparation import prepare
from atrank_tf.preparation.records_folder import fingerprint
from atrank_tf.schema import load_schema


@pytest.fixture
def folder(records, tmp_path):
    return Path(shutil.copytree(records.path, tmp_path / "copy"))


def test_every_file_that_a_training_reads_has_one(records):
    sums = records.manifest["checksums"]
    files = [
        path for path in Path(records.path).rglob("*") if path.parent.name != "state"
    ]  # Which only --append reads.
    read = {path.name for path in files if path.suffix in (".npz", ".tfrecord", ".toml")}
    assert {Path(name).name for name in sums} == read
    assert sums == checksums(Path(records.path))
    assert sums["schema.toml"] == hashlib.sha256(Path(records.path, "schema.toml").read_bytes()).hexdigest()


def test_the_same_logs_elsewhere_and_later_give_the_same_fingerprint(logs, schema_file, records, tmp_path):
    copy = shutil.copytree(logs, tmp_path / "logs")
    for file in copy.rglob("*.*"):
        os.utime(file, (1, 1))
    again = prepare(str(copy), load_schema(str(schema_file)), str(tmp_path / "records"))
    assert again.manifest["inputs"] != records.manifest["inputs"]
    assert again.manifest["fingerprint"] == records.manifest["fingerprint"]


def test_packing_does_not_count(folder, records):
    path = folder / "vocabulary/product.npz"
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **content)
    assert checksums(folder) == records.manifest["checksums"]


@pytest.mark.parametrize("name", ["schema.toml", "timelines-00003-of-00008.tfrecord"])
def test_a_changed_file_changes_the_fingerprint(folder, records, name):
    with (folder / name).open("ab") as file:
        file.write(b"#")
    sums, before = checksums(folder), records.manifest["checksums"]
    assert [file for file in sums if sums[file] != before[file]] == [name]
    assert fingerprint(sums) != fingerprint(before)


def test_a_changed_value_of_a_catalog_changes_the_fingerprint(folder, records):
    path = folder / "catalog/product.npz"
    with np.load(path) as arrays:
        content = dict(arrays)
    content["counts"][3] += 1
    np.savez(path, **content)
    sums, before = checksums(folder), records.manifest["checksums"]
    assert [file for file in sums if sums[file] != before[file]] == ["catalog/product.npz"]
