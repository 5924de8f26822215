"""Copies of folders in object stores: whole or not taken for whole, written back in order, errors in one line."""

import asyncio
import contextlib
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from fake_stores import FakeStore

from atrank_tf import stores as room
from atrank_tf.data import Records
from atrank_tf.preparation.records_folder import is_current, replacing
from atrank_tf.server import ServedModel
from atrank_tf.server.versions import versions
from atrank_tf.stores import StoreCopy, local_copy, stored_files, temporary_folder

DAY = "1970-01-02T00:00:00.000Z"
RECORDS_LAST = {"last": ("manifest.json",), "unfinished": b'{"format": "unfinished"}'}


class Stopped(BaseException):
    """What a kill looks like to those who are not killed."""


class Stopping:
    """A file system that stops after so many changes."""

    def __init__(self, system: Any, changes: float) -> None:
        self._system, self._left = system, changes

    def __getattr__(self, name: str) -> Any:
        if name in ("put_file", "pipe_file", "rm_file"):
            if not self._left:
                raise Stopped
            self._left -= 1
        return getattr(self._system, name)


def replace(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    """Has every store raise an error where this method is called."""
    real = room._system

    def system(url: str) -> Any:
        found = SimpleNamespace(**{each: getattr(real(url), each) for each in ("find", "get_file", "pipe_file")})
        setattr(found, name, Mock(side_effect=error))
        return found

    monkeypatch.setattr(room, "_system", system)


def stop_after(copy: StoreCopy, changes: float) -> None:
    copy._system = Stopping(copy._system, changes)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def read(url: str) -> dict[str, str]:
    with local_copy(url) as path:
        return {found.relative_to(path).as_posix(): found.read_text() for found in Path(path).rglob("*.*")}


def test_a_folder_comes_back_as_it_was_written(bucket: str, tmp_path: Path) -> None:
    copy = StoreCopy(f"{bucket}/a", tmp_path, writable=True)
    assert not copy.path.exists()
    write(copy.path, {"x.txt": "one", "deep/er/y.txt": "", "gone.txt": "x"})
    copy.put()
    write(copy.path, {"x.txt": "two", "z.txt": "é"})
    (copy.path / "gone.txt").unlink()
    copy.put()
    assert read(f"{bucket}/a/") == {"x.txt": "two", "deep/er/y.txt": "", "z.txt": "é"}
    assert set(stored_files(f"{bucket}/a")) == {"x.txt", "deep/er/y.txt", "z.txt"}
    assert stored_files(f"{bucket}/a")["z.txt"].size == 2
    for nothing in (f"{bucket}/a/x", f"{bucket}/b"):  # One is how a name begins.
        assert stored_files(nothing) == {} and read(nothing) == {}


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_what_has_not_changed_is_not_written_again(bucket: str, tmp_path: Path) -> None:
    copy = StoreCopy(f"{bucket}/a", tmp_path)
    write(copy.path, {"x.txt": "one", "y.txt": "two"})
    copy.put()
    write(copy.path, {"y.txt": "three"})
    stop_after(copy, 1)
    copy.put()
    copy.put()
    assert read(f"{bucket}/a") == {"x.txt": "one", "y.txt": "three"}


def test_a_copy_has_the_times_of_the_store(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    copy = StoreCopy(f"{bucket}/a", tmp_path / "first")
    write(copy.path, {"x.txt": "one"})
    os.utime(copy.path / "x.txt", (1, 1))
    copy.put()
    again = StoreCopy(f"{bucket}/a", tmp_path / "second").path / "x.txt"
    assert again.stat().st_mtime_ns == stored_files(f"{bucket}/a")["x.txt"].written > 10**18


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_a_single_file(bucket: str, tmp_path: Path) -> None:
    copy = StoreCopy(f"{bucket}/a/schema.toml", tmp_path)
    copy.path.write_text("x = 1")
    copy.put()
    with local_copy(f"{bucket}/a/schema.toml") as path:
        assert Path(path).name == "schema.toml" and Path(path).read_text() == "x = 1"
    assert not Path(path).exists()


def test_a_path_of_this_machine_is_itself(tmp_path: Path) -> None:
    with local_copy(str(tmp_path)) as path:
        assert path == str(tmp_path)
    assert tmp_path.is_dir()


def test_what_killed_processes_left_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.tempfile, "tempdir", str(tmp_path))
    with temporary_folder() as first:
        write(first, {"x.txt": ""})
        (dead := first.with_name(first.name.replace(f"-{os.getpid()}-", "-999999999-"))).mkdir()
        (alive := first.with_name(first.name.replace(f"-{os.getpid()}-", f"-{os.getppid()}-"))).mkdir()
        (other := tmp_path / "atrank_tf-another.machine-999999999-x").mkdir()
        with temporary_folder() as second:
            assert first.exists() and second.exists() and alive.exists() and other.exists() and not dead.exists()
    assert {path.name for path in tmp_path.iterdir()} == {alive.name, other.name}


@pytest.mark.parametrize("bucket", ["gs", pytest.param("s3", marks=pytest.mark.slow)], indirect=True)
def test_records_that_are_written_are_not_taken_for_whole(
    bucket: str, records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after any change: who reads refuses them, and the next run may replace them."""
    monkeypatch.setattr(room, "_AT_ONCE", 1)
    url, changes = f"{bucket}/records", 0
    files = [path for path in Path(records.path).rglob("*") if path.is_file()]
    numbers = [0, 1, 2, 10, *range(len(files) - 2, len(files) + 3)]
    for number in numbers:
        (folder := tmp_path / f"{number}").mkdir()
        copy = StoreCopy(url, folder, contents=r"manifest\.json")
        assert not is_current(str(copy.path), records.manifest["inputs"])
        with replacing(str(copy.path)) as partial:
            for name in files:
                place = partial / name.relative_to(records.path)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(name.read_bytes())
        stop_after(copy, number)
        try:
            copy.put(**RECORDS_LAST)
        except Stopped:
            changes = number
            with local_copy(url) as path, pytest.raises((FileNotFoundError, ValueError), match="Make records with"):
                Records(path)
        else:
            break
    assert changes == len(files)
    with local_copy(url) as path:
        found = Records(path)
        found.verify()
    assert found.manifest == records.manifest
    (tmp_path / "last").mkdir()
    copy = StoreCopy(url, tmp_path / "last", contents=r"manifest\.json")
    assert is_current(str(copy.path), records.manifest["inputs"])
    stop_after(copy, 0)
    copy.put(**RECORDS_LAST)


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_files_that_others_need_come_first(bucket: str, tmp_path: Path) -> None:
    """A backup that says an epoch is done is there after the model of that epoch, and gone after the last word."""
    last = ("model.keras", "training.json", "backup.npz")
    copy = StoreCopy(f"{bucket}/model", tmp_path)
    write(copy.path, dict.fromkeys(("values.npz", *last), "1"))
    copy.put(last=last)
    seen = []
    write(copy.path, dict.fromkeys((*last, "z.html"), "22"))
    for changes in (1, 1, 1, 1):
        stop_after(copy, changes)
        with contextlib.suppress(Stopped):
            copy.put(last=last)
        seen.append({name for name, text in read(f"{bucket}/model").items() if text == "22"})
        copy._system = copy._system._system
        for name in seen[-1]:  # As if they were known to be written.
            copy._known[name] = copy._states()[name]
    assert seen == [{"z.html"}, {"z.html", *last[:1]}, {"z.html", *last[:2]}, {"z.html", *last}]
    write(copy.path, {"training.json": "333"})
    (copy.path / "backup.npz").unlink()
    stop_after(copy, 1)
    with pytest.raises(Stopped):
        copy.put(last=last)
    assert read(f"{bucket}/model")["training.json"] == "333" and "backup.npz" in read(f"{bucket}/model")


class FakeModel:
    """What is loaded of a folder whose variables are not bad."""

    def __init__(self, folder: str) -> None:
        self.files = {path.name: path.read_text() for path in Path(folder).rglob("*.*")}
        if "bad" in self.files["x.index"]:
            raise ValueError(f"{folder}/variables/x.index is bad.")

    def close(self) -> None:
        pass


def test_a_server_polls_a_bucket(bucket: str, tmp_path: Path) -> None:
    url, last = f"{bucket}/export", ("saved_model.pb",)
    copy = StoreCopy(url, tmp_path)
    served = ServedModel("m", url, max_retries=0, load=FakeModel)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match=f"such as {url}/1.*Received: no version"):
        served.start()
    write(copy.path, {"1/saved_model.pb": "one", "1/variables/x.index": "", "latest/saved_model.pb": "no number"})
    copy.put(last=last)
    served.start()
    with served.lease() as (version, model):
        assert version == 1 and model.files == {"saved_model.pb": "one", "x.index": ""}  # type: ignore[attr-defined]
    write(copy.path, {"2/saved_model.pb": "two", "2/variables/x.index": "bad"})
    stop_after(copy, 1)
    with pytest.raises(Stopped):
        copy.put(last=last)
    assert set(stored_files(f"{url}/2")) == {"variables/x.index"}
    assert [found.number for found in versions(url)] == [1]
    assert not served.refresh()
    copy._system = copy._system._system
    copy.put(last=last)
    assert not served.refresh()
    (failed, still) = served.statuses()
    assert (failed.version, failed.state, still.version, still.state) == (2, "END", 1, "AVAILABLE")
    assert failed.message == "2/variables/x.index is bad."
    write(copy.path, {"2/saved_model.pb": "other", "2/variables/x.index": "good"})
    copy.put(last=last)
    assert served.refresh()
    with served.lease() as (version, model):
        assert version == 2 and model.files == {"saved_model.pb": "other", "x.index": "good"}  # type: ignore[attr-defined]
    served.close()


def test_a_bucket_that_is_not_there(bucket: str, tmp_path: Path) -> None:
    for does in (stored_files, lambda url: StoreCopy(url, tmp_path)):
        with pytest.raises(FileNotFoundError, match=rf"Expected a bucket {bucket}-not, for {bucket}-not/a/b\. The st"):
            does(f"{bucket}-not/a/b")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were to be waited, which are not."""
    sleep, asked = asyncio.sleep, []

    async def wait(seconds: float) -> None:
        asked.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", wait)
    return asked


@pytest.mark.parametrize("scheme", ["gs", pytest.param("s3", marks=pytest.mark.slow)])
def test_a_store_that_is_lost_in_the_middle(
    scheme: str,
    start_store: Callable[[str], FakeStore],
    make_bucket: Callable[[FakeStore], str],
    tmp_path: Path,
    waits: list[float],
) -> None:
    store = start_store(scheme)
    url = make_bucket(store)
    copy = StoreCopy(url, tmp_path)
    write(copy.path, {"x.txt": "one", "y.txt": "two"})
    store.kill()
    with pytest.raises(ConnectionError, match=rf"Expected a store that answers, for {url}\. .* Run the same command"):
        copy.put()
    assert sum(seconds > 0 for seconds in waits) > 4


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, str]]]:
    """A store that gives these answers, one after the other, the last one again and again."""
    answers: list[tuple[int, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        for name in ("AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"):
            monkeypatch.setenv(name, address)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "x")
        yield answers
        server.shutdown()
        thread.join()


def xml(code: str) -> str:
    return f"<Error><Code>{code}</Code><Message>{code} says the store</Message></Error>"


@pytest.mark.parametrize(
    ("url", "answer", "message"),
    [
        ("s3://b/x", (403, xml("AccessDenied")), "the right to read and write s3://b/x. The store refuses: AccessDe"),
        ("gs://b/x", (403, '{"error": "no"}'), "the right to read and write gs://b/x. The store refuses: Forbidden"),
        ("gs://b/x", (401, '{"error": "no"}'), "credentials for gs://b/x: GOOGLE_APPLICATION_CREDENTIALS, .* Found n"),
    ],
)
def test_a_store_that_refuses(
    answering: list[tuple[int, str]], url: str, answer: tuple[int, str], message: str
) -> None:
    skip_without(url)
    answering.append(answer)
    with pytest.raises(PermissionError, match=f"Expected {message}"):
        stored_files(url)


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_no_right_to_write_is_told_before_any_work(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(monkeypatch, "pipe_file", PermissionError("Access Denied"))
    StoreCopy(bucket, tmp_path)
    with pytest.raises(PermissionError, match=rf"the right to read and write {bucket}\. The store refuses: Access Den"):
        StoreCopy(bucket, tmp_path / "again", writable=True)


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    skip_without("s3://b")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    room._system("s3://b").clear_instance_cache()
    with pytest.raises(
        PermissionError, match=r"Expected credentials for s3://b/x: AWS_ACCESS_KEY_ID and .* Found none"
    ):
        stored_files("s3://b/x")


@pytest.mark.parametrize(
    ("url", "answers"),
    [
        (
            "s3://b/x",
            [
                (503, xml("SlowDown")),
                (200, f"<R><Contents><Key>x/y</Key><Size>3</Size><LastModified>{DAY}</LastModified></Contents></R>"),
            ],
        ),
        ("gs://b/x", [(503, ""), (200, f'{{"items": [{{"name": "x/y", "size": "3", "updated": "{DAY}"}}]}}')]),
    ],
)
def test_a_store_that_answers_later_is_asked_again(
    answering: list[tuple[int, str]], waits: list[float], url: str, answers: list[tuple[int, str]]
) -> None:
    skip_without(url)
    answering += answers
    assert stored_files(url) == {"y": (3, 86_400 * 10**9)}
    assert answering == answers[1:]


def skip_without(url: str) -> None:
    pytest.importorskip({"s3": "s3fs", "gs": "gcsfs"}[url[:2]], reason="needs the extras s3 and gcs, as dev has them")
    room._system(url).clear_instance_cache()


@pytest.mark.parametrize(("url", "extra"), [("s3://b/x", "s3"), ("gs://b/x", "gcs")])
def test_an_extra_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, url: str, extra: str) -> None:
    monkeypatch.setitem(room._PACKAGES, url[:2], (extra, "no_such_package", "X"))
    with pytest.raises(
        ImportError, match=rf"{url} needs a package that is not installed: pip install 'atrank-tf\[{extra}"
    ):
        stored_files(url)


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_no_room_on_this_machine(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "first").mkdir()
    copy = StoreCopy(f"{bucket}/a", tmp_path / "first")
    write(copy.path, {"x.txt": "one"})
    copy.put()
    replace(monkeypatch, "get_file", OSError(28, "No space left on device"))
    with (
        pytest.raises(OSError, match=rf"Expected room in .* for {bucket}/a\. .*No space left.* TMPDIR names another"),
        local_copy(f"{bucket}/a"),
    ):
        pass


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_a_bug_is_no_error_of_a_store(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replace(monkeypatch, "find", TypeError("a bug"))
    with pytest.raises(TypeError, match="a bug"):
        stored_files(bucket)
