"""A folder is whole, or not there, or what it was before."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from atrank_tf.files import whole_folder


def anything(target: Path) -> None:
    """Lets any folder be replaced."""


def write(folder: Path, text: str) -> None:
    (folder / "file").write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with whole_folder(str(tmp_path / "of/many/folder")) as partial:
        write(partial, "old")
        assert not (tmp_path / "of/many/folder").exists()
    return tmp_path / "of/many/folder"


def test_a_folder_appears_when_it_is_whole(folder: Path) -> None:
    assert (folder / "file").read_text() == "old"
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


def test_a_folder_that_is_there_is_left_alone(folder: Path) -> None:
    match = r"Expected nothing at .*folder2?\. Remove it, or choose another folder\."
    with pytest.raises(FileExistsError, match=match), whole_folder(str(folder)):
        pytest.fail("The block is not run.")
    with pytest.raises(FileExistsError, match=match), whole_folder(f"{folder}2"):
        Path(f"{folder}2").mkdir()  # It comes meanwhile.
    assert (folder / "file").read_text() == "old"


def test_a_folder_is_replaced_when_the_new_one_is_whole(folder: Path) -> None:
    with whole_folder(str(folder), anything) as partial:
        write(partial, "new")
        assert (folder / "file").read_text() == "old"
    assert (folder / "file").read_text() == "new"
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


def test_a_failure_leaves_everything_as_it_was(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"), whole_folder(str(folder), anything) as partial:
        write(partial, "new")
        raise RuntimeError("stop")
    with pytest.raises(FileNotFoundError), whole_folder(str(folder), anything) as partial:
        shutil.rmtree(partial)  # So that the folders cannot change places.
    assert (folder / "file").read_text() == "old"
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


def test_what_may_be_replaced_is_asked_before_and_after(folder: Path) -> None:
    asked = []
    with whole_folder(str(folder), asked.append):
        assert asked == [folder]
    assert asked == [folder, folder]


def test_what_a_killed_run_left_blocks_nobody_and_is_removed(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    stem = f"folder.partial-{socket.gethostname()}-"
    left, mine = tmp_path / f"{stem}{process.pid}", tmp_path / f"{stem}{os.getpid()}"
    alive, elsewhere = tmp_path / f"{stem}{os.getppid()}", tmp_path / "folder.partial-another-machine-1"
    for path in (left, mine, alive, elsewhere):
        path.mkdir()
        write(path, "left")
    with whole_folder(str(tmp_path / "folder")) as partial:
        assert list(partial.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"folder", alive.name, elsewhere.name}


@pytest.mark.parametrize("there", [True, False])
def test_the_place_of_a_link_is_that_of_what_it_leads_to(tmp_path: Path, there: bool) -> None:
    disk, link = tmp_path / "disk", tmp_path / "folder"
    link.symlink_to(disk / "folder")
    if there:
        (disk / "folder").mkdir(parents=True)
    for text in ("old", "new"):
        with whole_folder(str(link), anything) as partial:
            assert partial.parent == disk
            write(partial, text)
        assert link.is_symlink()
        assert (link / "file").read_text() == text
    assert [path.name for path in disk.iterdir()] == ["folder"]
