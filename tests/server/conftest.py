"""The contract's cases, and a server in a thread, which the tests of the server share."""

import asyncio
import http.client
import json
import threading
import time

import pytest
from aiohttp import web
from fake_models import PATIENCE_S, FakeModel
from toy_models import half_plus_two, save_affine, typed_model  # noqa: F401

from atrank_tf.server import Runner, ServedModel, ServedModels, ServerSettings, make_app


class RunningServer:
    """A server on a free port of the loopback interface, in a thread with an event loop of its own."""

    def __init__(self, app, max_connections=1000):
        self._loop = asyncio.new_event_loop()
        self._runner = Runner(app, max_connections=max_connections, shutdown_timeout=60)
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._wait_for(self._start())
        self.port = self._runner.addresses[0][1]

    async def _start(self):
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()

    def _wait_for(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    def stop(self):
        if self._thread.is_alive():
            self._wait_for(self._runner.cleanup())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def call(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def predict(self, value, model="m"):
        status, _, body = self.call("POST", f"/v1/models/{model}:predict", json.dumps({"instances": [value]}))
        assert status == 200, body
        return json.loads(body)["predictions"][0]

    def statuses(self, model="m"):
        body = json.loads(self.call("GET", f"/v1/models/{model}")[2])
        return [(int(s["version"]), s["state"], s["status"]["error_code"]) for s in body["model_version_status"]]


@pytest.fixture(scope="session")
def run_app():
    """`run_app(app)` runs an aiohttp application; whoever does so stops it."""
    return RunningServer


@pytest.fixture
def start():
    """`start(model, **settings)` runs a server until the test ends."""
    servers = []

    def run(model, *, metrics=None, read_config=None, **settings):
        models = ServedModels.of(model)
        models.start()
        settings = ServerSettings(**{"poll_seconds": 0.01, **settings})
        app = make_app(models, settings, metrics=metrics, read_config=read_config)
        servers.append(RunningServer(app, settings.max_connections))
        return servers[-1]

    yield run
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def wait_until():
    """`wait_until(condition)` calls it until it returns something true."""

    def wait(condition):
        give_up = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < give_up, "it did not happen"
            time.sleep(0.01)

    return wait


@pytest.fixture
def loaded(monkeypatch):
    monkeypatch.setattr(FakeModel, "broken", {})
    return []


@pytest.fixture
def served(tmp_path, loaded):
    def load(path):
        loaded.append(FakeModel(path))
        return loaded[-1]

    clock = iter(range(0, 10**6, 30))  # 30 s pass with each look at it
    model = ServedModel("m", str(tmp_path), load=load, max_retries=2, clock=lambda: next(clock))
    yield model
    model.close()
