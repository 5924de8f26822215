"""The records folder: replaced whole or not at all."""

import re

import pytest
from small_records import SCHEMA, write

from atrank_tf.data import Records
from atrank_tf.preparation.records_folder import is_current, replacing, shard_name
from atrank_tf.schema import load_schema


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "records"
    with replacing(str(path)) as partial:
        write(partial)
    return path


def test_current_means_complete_and_of_the_same_inputs(folder):
    assert is_current(str(folder), "abc")
    assert not is_current(str(folder), "other")
    assert not is_current(str(folder / "nowhere"), "abc")
    for name in ("catalog/item.npz", shard_name(1, 2), "manifest.json"):
        (folder / name).rename(folder / "away")
        assert not is_current(str(folder), "abc")
        (folder / "away").rename(folder / name)
    assert is_current(str(folder), "abc")


def test_an_older_folder_is_replaced_only_when_the_new_one_is_complete(folder):
    with replacing(str(folder)) as partial:
        write(partial, "new")
        assert Records(str(folder)).manifest["inputs"] == "abc"
    assert Records(str(folder)).manifest["inputs"] == "new"
    assert [path.name for path in folder.parent.iterdir()] == ["records"]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    match = r"Expected a records folder, or nothing, at .*\. Found something else; it is left alone\."
    with pytest.raises(ValueError, match=match), replacing(str(tmp_path)):
        pass
    with pytest.raises(ValueError, match=match), replacing(str(tmp_path / "thesis.txt")):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "x"


@pytest.mark.parametrize("name", ["model", "index.html", "timelines.txt", "catalog/prices.xlsx"])
def test_a_records_folder_that_holds_something_else_too_is_left_alone(folder, name):
    (folder / name).mkdir()
    match = rf"Expected nothing but records in .*records, which are replaced as a whole\. Found: {name}\. Move it"
    with pytest.raises(ValueError, match=match), replacing(str(folder)):
        pass
    assert (folder / name).exists()


def test_what_comes_meanwhile_is_not_lost(folder):
    with pytest.raises(ValueError, match=r"Found: model\. Move it"), replacing(str(folder)) as partial:
        write(partial, "new")
        (folder / "model").mkdir()
    assert (folder / "model").exists()
    assert Records(str(folder)).manifest["inputs"] == "abc"


def test_all_that_prepare_and_tensorflow_datasets_write_may_be_replaced(folder):
    for name in ("report.json", "report.html", "dataset_info.json", "features.json", ".DS_Store"):
        (folder / name).touch()
    with replacing(str(folder)) as partial:
        write(partial, "new")
    assert Records(str(folder)).manifest["inputs"] == "new"


def test_a_mount_point_or_the_current_folder_cannot_be_replaced(tmp_path, monkeypatch):
    match = r"Found a mount point, or the current folder\. Name a folder in it, as {}/records\."
    monkeypatch.chdir(tmp_path)
    for path in (str(tmp_path), "."):
        with pytest.raises(ValueError, match=match.format(re.escape(path))), replacing(path):
            pass
    with pytest.raises(ValueError, match=match.format("")), replacing("/"):
        pass
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_may_be_replaced(tmp_path):
    (tmp_path / "records").mkdir()
    with replacing(str(tmp_path / "records")) as partial:
        write(partial)
    assert load_schema(str(tmp_path / "records/schema.toml")) == SCHEMA
