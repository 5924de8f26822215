"""What happens over time: versions and configs that change while a server runs, and its end."""

import asyncio
import functools
import gc
import importlib
import selectors
import shutil
import socket
import sys
import threading
import time

import numpy as np
import pytest
from fake_models import PATIENCE_S, FakeScorer, HeldModel

import atrank_tf.server
from atrank_tf.saved_model import publish
from atrank_tf.server import (
    ModelConfig,
    ServedModel,
    ServedModels,
    ServerSettings,
    make_app,
    read_model_config,
    serve,
)
from atrank_tf.server.http_handler import HttpHandler


def test_the_newest_version_is_swapped_in_while_serving(start, wait_until, tmp_path, save_affine):
    publish(lambda path: save_affine(path, slope=1.0), str(tmp_path))
    server = start(ServedModel("m", str(tmp_path)))
    assert server.predict(10) == 12.0
    publish(lambda path: save_affine(path, slope=2.0), str(tmp_path))
    answers = set()
    wait_until(lambda: answers.add(server.predict(10)) or server.statuses()[0] == (2, "AVAILABLE", "OK"))
    assert server.predict(10) == 22.0
    assert answers <= {12.0, 22.0}
    wait_until(lambda: server.statuses() == [(2, "AVAILABLE", "OK"), (1, "END", "OK")])
    assert server.call("POST", "/v1/models/m/versions/1:predict", '{"instances": [1]}')[0] == 404


def test_a_version_that_fails_to_load_leaves_the_old_one_serving(start, wait_until, tmp_path, save_affine):
    save_affine(tmp_path / "1")
    server = start(ServedModel("m", str(tmp_path)))
    shutil.copytree(tmp_path / "1", tmp_path / "copy")
    (tmp_path / "copy" / "saved_model.pb").write_bytes(b"\xff")
    (tmp_path / "copy").rename(tmp_path / "2")
    wait_until(lambda: server.statuses()[0][:2] == (2, "END"))
    assert server.statuses() == [(2, "END", "NOT_FOUND"), (1, "AVAILABLE", "OK")]
    assert server.predict(2) == 3.0
    save_affine(tmp_path / "copy", slope=1.0)
    (tmp_path / "copy").rename(tmp_path / "3")
    wait_until(lambda: server.statuses()[0] == (3, "AVAILABLE", "OK"))
    assert server.predict(2) == 4.0


def test_polling_goes_on_when_a_look_fails(start, wait_until, tmp_path, save_affine):
    looks = []

    class Unlucky(ServedModel):
        def refresh(self):
            looks.append(len(looks))
            if len(looks) in (2, 3):
                raise PermissionError("not now")
            return super().refresh()

    save_affine(tmp_path / "1")
    server = start(Unlucky("m", str(tmp_path)))
    publish(lambda path: save_affine(path, slope=1.0), str(tmp_path))
    wait_until(lambda: server.statuses()[0] == (2, "AVAILABLE", "OK"))
    assert server.predict(2) == 4.0


class ModelConfigFile:
    """A file that is rewritten while a server runs."""

    def __init__(self, path):
        self.path = path

    def write(self, **models):
        configs = [
            f"config {{ name: '{name}' base_path: '{base}' model_platform: 'tensorflow' {more} }}"
            for name, (base, more) in models.items()
        ]
        self.path.write_text(f"model_config_list {{ {' '.join(configs)} }}")

    def read(self):
        return read_model_config(str(self.path))


@pytest.fixture
def config_file(tmp_path):
    return ModelConfigFile(tmp_path / "models.config")


def test_a_model_config_file_is_followed(start, wait_until, tmp_path, save_affine, config_file):
    for model, slopes in (("a", (1.0, 2.0)), ("b", (3.0,))):
        for number, slope in enumerate(slopes, start=1):
            save_affine(tmp_path / model / str(number), slope=slope)
    config_file.write(a=(tmp_path / "a", "model_version_policy { all {} } version_labels { key: 'stable' value: 1 }"))
    server = start(ServedModels(config_file.read()), read_config=config_file.read, config_poll_seconds=0.01)
    stable = ("POST", "/v1/models/a/labels/stable:predict", '{"instances": [1]}')
    assert server.call(*stable)[2] == b'{"predictions": [3.0]}'
    assert server.statuses("a") == [(2, "AVAILABLE", "OK"), (1, "AVAILABLE", "OK")]
    config_file.write(
        a=(tmp_path / "a", "model_version_policy { all {} } version_labels { key: 'stable' value: 2 }"),
        b=(tmp_path / "b", ""),
    )
    wait_until(lambda: server.call(*stable)[2] == b'{"predictions": [4.0]}')
    wait_until(lambda: server.call("GET", "/v1/models/b")[0] == 200 and server.statuses("b")[0][1] == "AVAILABLE")
    assert server.predict(1, "b") == 5.0
    config_file.write(b=(tmp_path / "b", ""))
    wait_until(lambda: server.call("GET", "/v1/models/a")[0] == 404)
    assert server.predict(1, "b") == 5.0


def test_a_config_file_that_is_wrong_changes_nothing(start, wait_until, half_plus_two, config_file, caplog):
    config_file.write(m=(half_plus_two, ""))
    server = start(ServedModels(config_file.read()), read_config=config_file.read, config_poll_seconds=0.01)
    config_file.path.write_text("model_config_list { config { nome: 'm' } }")
    wait_until(lambda: "The models stay as they are: " in caplog.text)
    assert 'has no field named "nome"' in caplog.text
    config_file.path.unlink()
    wait_until(lambda: "which is no file" in caplog.text)
    assert server.predict(2) == 3.0


def test_versions_are_looked_for_once_if_polling_is_off(start, tmp_path, save_affine):
    save_affine(tmp_path / "1")
    looks = []

    class Watched(ServedModel):
        def refresh(self):
            looks.append(1)
            return super().refresh()

    server = start(Watched("m", str(tmp_path)), poll_seconds=0)
    assert server.predict(2) == 3.0
    server.stop()
    assert looks == [1]


def test_a_shutdown_answers_the_calls_that_are_on_their_way(tmp_path, run_app):
    (tmp_path / "1").mkdir()
    held = HeldModel()
    models = ServedModels.of(ServedModel("m", str(tmp_path), load=lambda path: held))
    models.start()
    app = make_app(models, ServerSettings())
    shutting_down = threading.Event()

    async def note(_):
        shutting_down.set()

    app.on_shutdown.append(note)
    server = run_app(app)
    results = []
    caller = threading.Thread(target=lambda: results.append(server.predict(1)))
    caller.start()
    assert held.called.acquire(timeout=PATIENCE_S)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    assert shutting_down.wait(PATIENCE_S)
    assert not held.closed
    held.let_go.set()
    caller.join()
    stopper.join()
    assert results == [1.0]
    assert held.closed


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time passes when it has nothing to do but wait, and not before it is told to stop serving.

    However slow the machine is, `now` is what its waits add up to.
    """

    def __init__(self):
        self.now, self.passes = 0.0, False
        super().__init__(_Selector(self))

    def time(self):
        return self.now

    def add_signal_handler(self, number, callback):
        self.stop_serving = callback

    def end(self):
        """Tells the server to stop, from any thread."""
        self.passes = True
        self.call_soon_threadsafe(self.stop_serving)


class _Selector(selectors.DefaultSelector):
    def __init__(self, clock):
        super().__init__()
        self._clock = clock

    def select(self, timeout=None):
        if not timeout:
            return super().select(timeout)
        found = super().select(0.0005)
        if not found and self._clock.passes:
            self._clock.now += timeout
        return found


@pytest.fixture
def clock(monkeypatch):
    """The event loop that `serve` runs on."""
    clock = Clock()

    def run(main):
        with asyncio.Runner(loop_factory=lambda: clock) as runner:
            runner.run(main)

    monkeypatch.setattr(asyncio, "run", run)
    yield clock
    gc.unfreeze()


class Slow:
    """What begins and does not end before it is let go."""

    def __init__(self):
        self.begun, self.let_go, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        self.let_go.wait(PATIENCE_S)
        self.ended.set()


@pytest.fixture
def slow():
    slow = Slow()
    yield slow
    slow.let_go.set()


def served(tmp_path, load):
    (tmp_path / "1").mkdir()
    return ServedModel("m", str(tmp_path), load=load)


def serve_until(clock, model, caller, **settings):
    """Serves while `caller(port)` runs in a thread, and stops when it is done."""

    def call(urls):
        caller(int(urls[0].split("/")[2].split(":")[1]))
        clock.end()

    threads = []

    def on_ready(urls):
        threads.append(threading.Thread(target=call, args=[urls]))
        threads[0].start()

    serve(model, ServerSettings(port=0, **settings), on_ready=on_ready)
    threads[0].join()


def test_a_shutdown_waits_eight_seconds_for_a_body_that_does_not_come_and_no_longer(tmp_path, clock):
    connections = []

    def caller(port):
        connections.append(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
        connections[0].sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n")
        connections[0].sendall(b"Expect: 100-continue\r\n\r\n")
        assert connections[0].recv(100).startswith(b"HTTP/1.1 100 ")  # so the server is waiting for it

    serve_until(clock, served(tmp_path, lambda path: HeldModel()), caller, poll_seconds=0)
    connections[0].close()
    assert 7 < clock.now < 8.001


def test_a_port_that_is_taken_is_told(tmp_path, clock):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            OSError, match=rf"Expected a free port \(rest_api_port\)\. Received: port {port} of 127\.0\.0\.1, "
        ):
            serve(served(tmp_path, lambda path: HeldModel()), ServerSettings(port=port), on_ready=lambda urls: None)


def test_what_is_there_before_models_is_no_business_of_the_garbage_collector(tmp_path, clock):
    """It holds up everything while a large body is parsed. What models leave behind it shall find."""
    frozen = []

    def load(path):
        frozen.append(gc.get_freeze_count())
        return HeldModel()

    serve_until(clock, served(tmp_path, load), lambda port: None)
    assert frozen[0] > 0
    assert gc.get_freeze_count() <= frozen[0]


def test_a_shutdown_does_not_wait_for_a_call_that_does_not_end(tmp_path, clock, slow):
    class SlowModel(HeldModel):
        def run(self, name, inputs):
            slow()
            return {"y": np.ones(1, np.float32)}

    def caller(port):
        body = b'{"instances": [1]}'
        connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        connection.sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        connection.sendall(body)
        assert slow.begun.wait(PATIENCE_S)
        connections.append(connection)

    connections = []
    serve_until(clock, served(tmp_path, lambda path: SlowModel()), caller, poll_seconds=0)
    connections[0].close()
    assert 7 < clock.now < 8.001
    assert not slow.ended.is_set()


def test_a_shutdown_does_not_wait_for_a_version_that_is_being_loaded(tmp_path, clock, slow):
    def load(path):
        if path.endswith("2"):
            slow()
        return HeldModel()

    def caller(port):
        (tmp_path / "2").mkdir()
        clock.passes = True  # for the next look at the folder
        assert slow.begun.wait(PATIENCE_S)
        begins.append(clock.now)

    begins = []
    serve_until(clock, served(tmp_path, load), caller)
    assert 7 < clock.now - begins[0] < 8.1
    assert not slow.ended.is_set()


def test_an_idle_connection_is_closed_after_75_seconds(tmp_path, clock):
    closed = []

    def caller(port):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
            connection.sendall(b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(10_000).startswith(b"HTTP/1.1 200 ")
            clock.passes = True
            while connection.recv(10_000):
                pass
            closed.append(clock.now)

    serve_until(clock, served(tmp_path, lambda path: HeldModel()), caller, poll_seconds=0)
    assert 74 < closed[0] < 77


@pytest.mark.parametrize("sent", [b"", b"POST /v1/models/m:pre", b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\nX: "])
def test_a_connection_that_says_nothing_or_half_of_it_is_closed_when_an_idle_one_is(tmp_path, clock, sent):
    closed = []

    def caller(port):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
            connection.sendall(sent)
            clock.passes = True
            assert connection.recv(10_000) == b""
            closed.append(clock.now)

    settings = {"poll_seconds": 0, "keepalive_seconds": 20}
    serve_until(clock, served(tmp_path, lambda path: HeldModel()), caller, **settings)
    assert 19 < closed[0] < 22


def test_a_body_that_does_not_come_keeps_its_connection_two_seconds_longer_than_its_time(tmp_path, clock):
    closed = []

    def caller(port):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
            connection.sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{")
            clock.passes = True
            received = b""
            while more := connection.recv(10_000):
                received += more
            assert received.startswith(b"HTTP/1.1 504 ")
            closed.append(clock.now)

    serve_until(clock, served(tmp_path, lambda path: HeldModel()), caller, poll_seconds=0, timeout_ms=20_000)
    assert 19 < closed[0] < 23


def test_an_answer_that_nobody_reads_is_given_up_when_its_time_is_over(tmp_path, clock):
    closed = []

    class Talkative(FakeScorer):
        def run(self, name, inputs):
            return {"y": np.ones(1_000_000, np.float32)}

    def caller(port):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
            connection.sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n")
            connection.sendall(b'{"inputs": [1]}')
            assert connection.recv(1, socket.MSG_PEEK)  # it is being written
            clock.passes = True
            wait_for_end(port)
            closed.append(clock.now)

    def wait_for_end(port):
        """A connection with an answer that is not read is busy; it is gone when it is not counted any more."""
        give_up = time.monotonic() + PATIENCE_S
        while handler_of[0].in_flight and time.monotonic() < give_up:
            time.sleep(0.01)

    handler_of = []
    make = HttpHandler.__init__

    def note(self, *arguments, **keywords):
        make(self, *arguments, **keywords)
        handler_of.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HttpHandler, "__init__", note)
        model = served(tmp_path, lambda path: Talkative())
        serve_until(clock, model, caller, poll_seconds=0, timeout_ms=20_000)
    assert 19 < closed[0] < 22


def test_a_shutdown_does_not_wait_for_who_does_not_read(tmp_path, clock):
    connections = []

    class Talkative(FakeScorer):
        def run(self, name, inputs):
            return {"y": np.ones(1_000_000, np.float32)}

    def caller(port):
        connections.append(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
        connections[0].sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n")
        connections[0].sendall(b'{"inputs": [1]}')
        assert connections[0].recv(1, socket.MSG_PEEK)

    serve_until(clock, served(tmp_path, lambda path: Talkative()), caller, poll_seconds=0, drain_seconds=5)
    connections[0].close()
    assert 4 < clock.now < 5.001


def test_a_model_whose_loading_hangs_holds_up_no_other(start, wait_until, tmp_path, slow):
    def load(path):
        if path.endswith("a/2"):
            slow()
        return FakeScorer()

    for name in ("a/1", "b/1"):
        (tmp_path / name).mkdir(parents=True)
    configs = [ModelConfig(name, str(tmp_path / name)) for name in ("a", "b")]
    make = functools.partial(ServedModel, load=load)
    server = start(ServedModels(configs, make), read_config=lambda: configs, config_poll_seconds=0.01)
    (tmp_path / "a/2").mkdir()
    assert slow.begun.wait(PATIENCE_S)
    (tmp_path / "b/2").mkdir()
    wait_until(lambda: server.statuses("b")[0] == (2, "AVAILABLE", "OK"))
    (tmp_path / "c/1").mkdir(parents=True)
    configs.append(ModelConfig("c", str(tmp_path / "c")))
    wait_until(lambda: server.call("GET", "/v1/models/c/metadata")[0] != 404)
    assert server.statuses("a")[0] == (2, "LOADING", "OK")
    slow.let_go.set()
    wait_until(lambda: server.statuses("a")[0] == (2, "AVAILABLE", "OK"))


def test_without_aiohttp_only_the_server_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "atrank_tf.server.http_server")
    monkeypatch.delattr(atrank_tf.server, "http_server")
    importlib.reload(atrank_tf.server)
    for name in ("serve", "make_app"):
        with pytest.raises(ImportError, match=r"pip install 'atrank-tf\[serving\]'"):
            getattr(atrank_tf.server, name)


def test_the_package_has_what_it_says():
    for name in atrank_tf.server.__all__:
        assert getattr(atrank_tf.server, name)
    with pytest.raises(AttributeError, match="has no attribute 'server_of_dreams'"):
        atrank_tf.server.server_of_dreams  # noqa: B018
