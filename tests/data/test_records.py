"""The records folder: complete or refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from folder_checksums import checksums
from small_records import CATALOG, SCHEMA, write

from atrank_tf.data import Records
from atrank_tf.preparation.records_folder import (
    fingerprint,
    replacing,
    shard_name,
    write_manifest,
)
from atrank_tf.schema import dump_schema


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "records"
    with replacing(str(path)) as partial:
        write(partial)
    return path


def test_what_is_written_is_read(folder):
    records = Records(str(folder))
    assert records.path == str(folder)
    assert records.schema == SCHEMA
    sums = records.manifest["checksums"]
    assert records.manifest == {
        "format": 2,
        "fingerprint": fingerprint(sums),
        "inputs": "abc",
        "shards": 2,
        "checksums": sums,
    }
    assert records.vocabularies["item"].tolist() == ["7", "8"]
    np.testing.assert_array_equal(records.catalogs["item"].counts, CATALOG.counts)
    names = ["timelines-00000-of-00002.tfrecord", "timelines-00001-of-00002.tfrecord"]
    assert [Path(file).name for file in records.files] == names


def test_no_folder(tmp_path):
    match = r"Expected a records folder at .*x\. Found none\. Make records with python -m atrank_tf\.prepare\."
    with pytest.raises(FileNotFoundError, match=match):
        Records(str(tmp_path / "x"))


@pytest.mark.parametrize("name", ["manifest.json", "schema.toml", "catalog/item.npz", "vocabulary/item.npz"])
def test_an_incomplete_folder(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=rf"Expected {name} in .*: the records are incomplete, or no records\."):
        Records(str(folder))


def test_a_missing_shard(folder):
    (folder / shard_name(0, 2)).unlink()
    with pytest.raises(ValueError, match=r"Expected 2 TFRecord files in .*\. Found 1\."):
        Records(str(folder))


@pytest.mark.parametrize("version", [0, 1, None])
def test_another_format(folder, version):
    path = folder / "manifest.json"
    content = {**json.loads(path.read_text()), "format": version}
    path.write_text(json.dumps({key: value for key, value in content.items() if key != "sha256"}))
    with pytest.raises(ValueError, match=rf"Expected records of format 2 in .*\. Found format {version}\."):
        Records(str(folder))


def test_a_manifest_that_is_no_json(folder):
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json is damaged, or was changed by hand: not valid JSON"):
        Records(str(folder))


def test_a_manifest_of_something_else(folder):
    (folder / "manifest.json").write_text('{"format": 2, "shards": 2, "inputs": "abc"}')
    with pytest.raises(ValueError, match=r"manifest of records in .*json\. Missing: \['checksums', 'fingerprint'\]\."):
        Records(str(folder))


def change_schema(folder, old, new):
    """Other records, whole, whose schema says something else than the other files."""
    (folder / "schema.toml").write_text(dump_schema(SCHEMA).replace(old, new))
    write_manifest(folder, {"inputs": "abc", "shards": 2}, checksums(folder))


def test_a_schema_that_is_not_of_these_records(folder):
    (folder / "schema.toml").write_text(dump_schema(SCHEMA).replace("dim = 2", "dim = 3"))
    match = (
        r"schema\.toml is damaged, or of other records\. Expected the SHA-256 \w{64} that the manifest names\. Found"
    )
    with pytest.raises(ValueError, match=match):
        Records(str(folder))


@pytest.mark.parametrize("name", ["catalog/item.npz", "vocabulary/item.npz"])
def test_values_that_are_not_of_these_records(folder, name):
    with np.load(folder / name) as arrays:
        content = dict(arrays)
    first = next(iter(content.values()))
    first[-1] = first[0]
    np.savez(folder / name, **content)
    with pytest.raises(ValueError, match=rf"{name} is damaged, or of other records\."):
        Records(str(folder))


def test_a_vocabulary_that_holds_something_else(folder):
    np.savez(folder / "vocabulary/item.npz", value=np.array(["7"]))
    with pytest.raises(ValueError, match=r"Expected one array, values, in .*item\.npz\. Found: \['value'\]\."):
        Records(str(folder))


def test_a_schema_without_sizes(folder):
    change_schema(folder, "rows = 4", "")
    with pytest.raises(ValueError, match=r"Expected a prepared schema in .*schema\.toml\. Some sizes are missing\."):
        Records(str(folder))


def test_a_catalog_of_another_size(folder):
    change_schema(folder, "rows = 5", "rows = 6")
    with pytest.raises(ValueError, match=r"Expected 6 rows in .*item\.npz\. Found 5\."):
        Records(str(folder))


def test_records_that_were_replaced_are_noticed(folder):
    records = Records(str(folder))
    records.check_unchanged()
    (folder / "schema.toml").write_text(dump_schema(SCHEMA).replace("dim = 2", "dim = 3"))
    write_manifest(folder, {"inputs": "abc", "shards": 2}, checksums(folder))
    match = r"Expected the records that were opened, of fingerprint \w{12}\.\.\., in .*\. Found others, of \w{12}"
    with pytest.raises(ValueError, match=match):
        records.check_unchanged()


def test_a_name_with_the_characters_of_a_pattern(folder):
    for name in ("r_[v1]", "r*", "what?"):
        other = shutil.copytree(folder, folder.parent / name)
        assert [Path(file).name for file in Records(str(other)).files] == [shard_name(0, 2), shard_name(1, 2)]
