"""The contract's cases, and a server in a thread, which the tests of the server share."""

import asyncio
import http.client
import json
import threading
import time
from pathlib import Path

import pytest
from aiohttp import web
from fake_versions import FakeModel
from toy_models import half_plus_two, save_affine, typed_model  # noqa: F401

from atrank_tf.server import ServedModel, ServedModels, ServerSettings, make_app

_CASES = Path(__file__).parents[2].parent / "shared" / "reference" / "tf_serving_rest_cases.json"

# Cases in scope that the server does not meet, and why. Strict: meeting one makes its test fail until it is taken out.
_NOT_MET = {
    "ok.int8.range_not_checked_here": "may: 300 is refused for int8 rather than wrapped around to 44",
}

# Cases that say what happens over time or outside of the API: they are tests of their own in the file named here.
_TOLD_ELSEWHERE = {
    "url.root": "test_server.py",
    "e2e.version.latest_policy": "test_served_model.py",
    "e2e.version.hot_reload": "test_server.py",
    "e2e.version.load_failure_keeps_old": "test_server.py",
}


def pytest_configure(config):
    config.addinivalue_line("markers", "contract(level): runs once for each case of the REST contract at this level")


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker("contract")
    if marker is None:
        return
    if not _CASES.is_file():
        reason = f"the cases of the REST contract are not there ({_CASES.name})"
        metafunc.parametrize("case", [pytest.param(None, marks=pytest.mark.skip(reason=reason))])
        return
    [level] = marker.args
    cases = [
        case
        for case in json.loads(_CASES.read_text("utf-8"))["cases"]
        if case["request"]["level"] == level and case["id"] not in _TOLD_ELSEWHERE
    ]
    metafunc.parametrize("case", [pytest.param(case, id=case["id"], marks=_marks(case)) for case in cases])


def _marks(case):
    reason = _NOT_MET.get(case["id"])
    return [pytest.mark.xfail(reason=reason, strict=True)] if reason else []


PATIENCE_S = 60
"""Until a test gives up waiting for what must happen; not a speed that is asked for."""


class RunningServer:
    """A server on a free port of the loopback interface, in a thread with an event loop of its own."""

    def __init__(self, app):
        self._loop = asyncio.new_event_loop()
        self._runner = web.AppRunner(app)
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
        servers.append(RunningServer(make_app(models, settings, metrics=metrics, read_config=read_config)))
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
