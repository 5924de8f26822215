import fcntl
import os
from pathlib import Path

import pytest

from atrank_tf.saved_model import publish
from atrank_tf.server.versions import versions


def write_model(path, content="model"):
    (Path(path) / "saved_model.pb").write_text(content)


def test_publish_counts_up_from_the_largest(tmp_path):
    base = tmp_path / "deep" / "base"
    assert publish(write_model, str(base)) == str(base / "1")
    (base / "00000041").mkdir()
    assert publish(write_model, str(base)) == str(base / "42")
    assert [version.number for version in versions(str(base))] == [1, 41, 42]


def test_nothing_is_a_version_while_it_is_written(tmp_path):
    seen = []

    def write(path):
        assert list(Path(path).iterdir()) == []
        write_model(path, "new")
        seen.extend(versions(str(tmp_path)))

    target = publish(write, str(tmp_path))
    assert seen == []
    assert (Path(target) / "saved_model.pb").read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]


def test_a_version_can_be_read_by_others_as_the_umask_says(tmp_path):
    (tmp_path / "plain").mkdir()
    assert Path(publish(write_model, str(tmp_path))).stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [ValueError("no disk"), KeyboardInterrupt("no patience")])
def test_a_failing_write_leaves_nothing(tmp_path, error):
    def write(path):
        write_model(path)
        raise error

    with pytest.raises(type(error), match=str(error)):
        publish(write, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_saves_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Expected write\(path\) to save a SavedModel"):
        publish(lambda path: None, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_no_version_and_is_removed_by_the_next(run_command, tmp_path):
    killed = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from atrank_tf.saved_model import publish\n"
        "def write(path):\n"
        "    (Path(path) / 'saved_model.pb').write_text('half')\n"
        "    os._exit(9)\n"
        "publish(write, sys.argv[1])\n"
    )
    assert run_command("-c", killed, tmp_path).returncode == 9
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    assert versions(str(tmp_path)) == []
    publish(write_model, str(tmp_path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "model"


def test_two_runs_at_once_wait_for_each_other(tmp_path):
    def is_locked():
        descriptor = os.open(tmp_path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    seen = []
    publish(lambda path: (write_model(path), seen.append(is_locked())), str(tmp_path))
    assert seen == [True]
    assert not is_locked()


def test_a_version_is_on_the_disk_before_it_has_its_name_and_its_name_before_publish_returns(tmp_path, monkeypatch):
    synced = []

    def fsync(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path)
        synced.append((str(path), (tmp_path / "1").is_dir()))

    def write(path):
        (Path(path) / "variables").mkdir()
        (Path(path) / "variables" / "data").write_text("numbers")
        write_model(path)

    monkeypatch.setattr(os, "fsync", fsync)
    publish(write, str(tmp_path))
    folder = "publishing.tmp"
    files = {folder, f"{folder}/saved_model.pb", f"{folder}/variables", f"{folder}/variables/data"}
    assert set(synced[:-1]) == {(name, False) for name in files}
    assert synced[-1] == (".", True)
