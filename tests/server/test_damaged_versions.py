"""A version with a flipped bit, or a file cut short, is refused by name, and the one before goes on answering."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from damage import damages

from atrank_tf.server import ServedModel, WarmupRequest, write_warmup
from atrank_tf.server.loader import load
from atrank_tf.server.version_checksums import compare_checksums, write_checksums

FILES = [
    "saved_model.pb",
    "fingerprint.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
    "assets.extra/checksums.json",
]
X = np.ones([2, 1], np.float32)


@pytest.fixture(scope="module")
def version(tmp_path_factory, save_affine):
    """A version folder with checksums."""
    path = tmp_path_factory.mktemp("affine") / "1"
    save_affine(path)
    write_checksums(str(path))
    return path


def scores(path):
    model = load(str(path))
    try:
        return model.run("serving_default", {"x": X})["y"].tolist()
    finally:
        model.close()


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_changes_nothing_or_is_refused_by_name(version, tmp_path, name, count):
    path = Path(shutil.copytree(version, tmp_path / "1"))
    whole = scores(path)
    refused = 0
    for done, damaged in damages((path / name).read_bytes(), count):
        (path / name).write_bytes(damaged)
        try:
            assert scores(path) == whole, done
        except ValueError as error:
            refused += 1
            assert f"{path}/{name}" in str(error), done
            assert "Export again, or bring back a copy of the file." in str(error), done
    assert refused > count


def test_what_is_refused_says_what_was_expected(version, tmp_path):
    path = Path(shutil.copytree(version, tmp_path / "1"))
    with (path / "saved_model.pb").open("ab") as file:
        file.write(b"x")
    match = r"saved_model\.pb is damaged, or of another version\. Expected the SHA-256 \w{64} that .*json names\."
    with pytest.raises(ValueError, match=match):
        load(str(path))
    (path / "saved_model.pb").unlink()
    with pytest.raises(ValueError, match=r"Expected saved_model\.pb in .*, as assets\.extra/checksums\.json has it\."):
        load(str(path))


def test_every_file_has_a_checksum(version):
    (version / "assets.extra/checksums.json").unlink()
    write_checksums(str(version))
    files = {path.relative_to(version).as_posix() for path in version.rglob("*") if path.is_file()}
    assert files == set(FILES)
    for name in sorted(files - {"assets.extra/checksums.json"}):
        content = (version / name).read_bytes()
        (version / name).write_bytes(content + b"x")
        with pytest.raises(ValueError, match=name):
            compare_checksums(str(version))
        (version / name).write_bytes(content)
    compare_checksums(str(version))


def test_warm_up_requests_may_be_replaced(version, tmp_path):
    path = Path(shutil.copytree(version, tmp_path / "1"))
    file = path / "assets.extra/tf_serving_warmup_requests"
    file.write_bytes(b"")
    (path / "assets.extra/checksums.json").unlink()
    write_checksums(str(path))
    write_warmup(str(path), [WarmupRequest({"x": X})])
    assert scores(path) == scores(version)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="tf_serving_warmup_requests is damaged"):
        load(str(path))
    (path / "assets.extra/checksums.json").write_text("{")
    with pytest.raises(ValueError, match=r"checksums\.json is damaged"):
        write_warmup(str(path), [WarmupRequest({"x": X})])


def test_a_version_of_another_program_and_files_beside_are_taken_as_they_are(version, tmp_path):
    path = Path(shutil.copytree(version, tmp_path / "1"))
    (path / "assets.extra/note.txt").write_text("ours")
    assert scores(path) == scores(version)
    (path / "assets.extra/checksums.json").unlink()
    with (path / "fingerprint.pb").open("ab") as file:
        file.write(b"x")
    assert scores(path) == scores(version)


def test_where_checksums_are_required_no_file_is_without(version, tmp_path):
    path = Path(shutil.copytree(version, tmp_path / "1"))
    load(str(path), require_checksums=True).close()
    (path / "assets.extra/note.txt").write_text("ours")
    with pytest.raises(ValueError, match=r"Expected every file of .* Found: \['assets.extra/note.txt'\]"):
        load(str(path), require_checksums=True)
    (path / "assets.extra/checksums.json").unlink()
    with pytest.raises(ValueError, match=r"Expected assets.extra/checksums.json in .* Found none"):
        load(str(path), require_checksums=True)


def test_the_version_before_goes_on_answering(version, tmp_path):
    shutil.copytree(version, tmp_path / "1")
    model = ServedModel("m", str(tmp_path))
    model.start()
    shutil.copytree(version, tmp_path / "2")
    data = tmp_path / "2/variables/variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1])
    assert not model.refresh()
    two, one = model.statuses()
    assert (one.state, two.state) == ("AVAILABLE", "END")
    assert two.message.startswith("2/variables/variables.data-00000-of-00001 is damaged, or of another version.")
    assert str(tmp_path) not in two.message
    with model.lease() as (number, loaded):
        assert number == 1
        assert loaded.run("serving_default", {"x": X})["y"].shape == (2, 1)
    model.close()
