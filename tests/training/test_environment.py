"""What a result is noted with: versions, and the revision of the code around it."""

import platform
import subprocess
from pathlib import Path

import keras
import pytest

import atrank_tf
from atrank_tf.training import environment

_AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@b.c")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", *_AUTHOR, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit, and the working directory a folder in it."""
    (tmp_path / "work").mkdir()
    (tmp_path / "kept").write_text("1")
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "add", "kept")
    _git(tmp_path, "commit", "--quiet", "--message=one")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_versions() -> None:
    found = environment()
    assert found["python"] == platform.python_version()
    assert found["packages"]["atrank_tf"] == atrank_tf.__version__
    assert found["packages"]["keras"] == keras.__version__
    assert set(found["packages"]) == {"atrank_tf", "keras", "numpy", "tensorflow"}


def test_the_revision_and_whether_kept_files_have_changed(repository: Path) -> None:
    revision = _git(repository, "rev-parse", "HEAD")
    (repository / "new").write_text("what git does not keep")
    assert environment()["git"] == {"revision": revision, "changed": False}
    (repository / "kept").write_text("2")
    assert environment()["git"] == {"revision": revision, "changed": True}


def test_no_repository_no_commit_or_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment()["git"] is None
    _git(tmp_path, "init", "--quiet")
    assert environment()["git"] is None
    monkeypatch.setenv("PATH", "")
    assert environment()["git"] is None
