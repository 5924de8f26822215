"""A file is whole, or what it was before."""

from pathlib import Path

import pytest

from atrank_tf.files import whole_file, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_text_takes_the_place_of_another(tmp_path: Path) -> None:
    for text in ("one", "zwei, ä\n"):
        write_text(tmp_path / "file", text)
        assert (tmp_path / "file").read_text("utf-8") == text
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("concurrent", [False, True])
def test_a_failure_leaves_what_was_there(tmp_path: Path, concurrent: bool) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), whole_file(path, concurrent=concurrent) as partial:
        Path(partial).write_text("1 / 0")
        _ = 1 / 0
    assert names(tmp_path) == ["file"]
    assert path.read_text() == "before"


def test_what_a_killed_run_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file.partial").write_text("left, and longer")
    write_text(tmp_path / "file", "new")
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "new"


def test_a_file_that_several_write_is_always_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with whole_file(path, concurrent=True) as one, whole_file(path, concurrent=True) as other:
        Path(one).write_text("one")
        Path(other).write_text("other")
        assert not path.exists()
    assert path.read_text() == "one"
    assert names(tmp_path) == ["file"]
