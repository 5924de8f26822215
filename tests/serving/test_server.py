import asyncio
import base64
import gzip
import http.client
import importlib
import json
import shutil
import sys
import threading
import time

import numpy as np
import pytest
from aiohttp import web

import atrank_tf.serving
from atrank_tf.serving import Signature, TensorInfo, publish
from atrank_tf.serving.served_model import ServedModel
from atrank_tf.serving.server import make_app

_PATIENCE_S = 60  # until a test gives up waiting for what must happen; not a speed that is asked for


class RunningServer:
    """A server on a free port of the loopback interface, in a thread with an event loop of its own."""

    def __init__(self, app):
        self._loop = asyncio.new_event_loop()
        self._runner = web.AppRunner(app, access_log=None)
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._wait_for(self._start())
        self.port = self._runner.addresses[0][1]

    async def _start(self):
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()

    def _wait_for(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_PATIENCE_S)

    def stop(self):
        self._wait_for(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def predict(self, value):
        status, _, body = self.call("POST", "/v1/models/m:predict", json.dumps({"instances": [value]}))
        assert status == 200, body
        return json.loads(body)["predictions"][0]

    def statuses(self):
        body = json.loads(self.call("GET", "/v1/models/m")[2])
        return [(int(s["version"]), s["state"], s["status"]["error_code"]) for s in body["model_version_status"]]


@pytest.fixture
def start():
    """`start(model, **arguments of make_app)` runs a server until the test ends."""
    servers = []

    def run(model, **arguments):
        model.start()
        servers.append(RunningServer(make_app(model, **{"poll_seconds": 0.01, **arguments})))
        return servers[-1]

    yield run
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def contract_servers(half_plus_two):
    servers = {}
    for name in ("half_plus_two", "default"):
        model = ServedModel(name, half_plus_two, labels={"some_label": 123})
        model.start()
        servers[name] = RunningServer(make_app(model))
    yield servers
    for server in servers.values():
        server.stop()


def wait_until(condition):
    give_up = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.01)


@pytest.mark.contract("http")
def test_contract(case, contract_servers):
    request, expected = case["request"], case["expected"]
    body = request.get("body")
    if isinstance(body, dict):
        body = base64.b64decode(body["base64"])
    server = contract_servers["default" if "/default" in request["path"] else "half_plus_two"]
    status, headers, answer = server.call(request["method"], request["path"], body, request.get("headers"))
    assert status == expected["http_status"]
    for name, value in expected.get("headers", {}).items():
        assert headers.get(name) == value
    if "body_json" in expected:
        assert json.loads(answer) == expected["body_json"]
    if "error_contains" in expected:
        assert expected["error_contains"] in json.loads(answer)["error"]
    if "body_contains" in expected:
        assert expected["body_contains"] in answer.decode()


@pytest.mark.contract("url")
def test_malformed_calls_over_http(case, contract_servers):
    if "body_json" not in case["expected"]:
        return  # a well-formed path: test_rest_path.py
    request, expected = case["request"], case["expected"]
    status, headers, answer = contract_servers["half_plus_two"].call(request["method"], request["path"], "")
    assert (status, json.loads(answer)) == (expected["http_status"], expected["body_json"])
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/", "/v2/models/m", "/favicon.ico", "/v1"])
def test_outside_of_the_api_is_404_in_html(contract_servers, path):
    status, headers, answer = contract_servers["default"].call("GET", path)
    assert status == 404
    assert headers["Content-Type"].startswith("text/html")
    assert b"Not Found" in answer


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_other_methods_are_malformed_requests(contract_servers, method):
    status, _, answer = contract_servers["default"].call(method, "/v1/models/default:predict")
    assert status == 400
    if method != "HEAD":
        assert json.loads(answer) == {"error": f"Malformed request: {method} /v1/models/default:predict"}


def test_a_query_string_is_part_of_the_path(contract_servers):
    path = "/v1/models/default:predict?x=1"
    status, _, answer = contract_servers["default"].call("POST", path, '{"instances": [2]}')
    assert (status, json.loads(answer)) == (400, {"error": f"Malformed request: POST {path}"})


def test_the_content_type_of_a_request_is_not_read(contract_servers):
    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data", "nonsense"):
        status, _, answer = contract_servers["default"].call(
            "POST", "/v1/models/default:predict", '{"instances": [2]}', {"Content-Type": content_type}
        )
        assert (status, json.loads(answer)) == (200, {"predictions": [3.0]})


def test_metadata_over_http(contract_servers):
    status, _, answer = contract_servers["default"].call("GET", "/v1/models/default/versions/123/metadata")
    assert status == 200
    body = json.loads(answer)
    assert body["model_spec"] == {"name": "default", "signature_name": "", "version": "123"}
    inputs = body["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    assert inputs["x"]["dtype"] == "DT_FLOAT"


@pytest.mark.parametrize("compressed", [False, True])
def test_a_body_over_the_limit_is_413(start, tmp_path, save_affine, compressed):
    save_affine(tmp_path / "1")
    server = start(ServedModel("m", str(tmp_path)), max_body_bytes=1000)
    body = json.dumps({"instances": [0] * 10_000}).encode()
    headers = {}
    if compressed:
        body, headers = gzip.compress(body), {"Content-Encoding": "gzip"}
        assert len(body) < 1000
    status, _, answer = server.call("POST", "/v1/models/m:predict", body, headers)
    assert (status, json.loads(answer)) == (413, {"error": "Request body is longer than 1000 bytes"})
    assert server.predict(2) == 3.0


def test_the_newest_version_is_swapped_in_while_serving(start, tmp_path, save_affine):
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


def test_a_version_that_fails_to_load_leaves_the_old_one_serving(start, tmp_path, save_affine):
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


def test_polling_goes_on_when_a_look_fails(start, tmp_path, save_affine):
    looks = []

    class Unlucky(ServedModel):
        def refresh(self):
            looks.append(len(looks))
            if len(looks) < 3:
                raise PermissionError("not now")
            return super().refresh()

    save_affine(tmp_path / "1")
    server = start(Unlucky("m", str(tmp_path)))
    publish(lambda path: save_affine(path, slope=1.0), str(tmp_path))
    wait_until(lambda: server.statuses()[0] == (2, "AVAILABLE", "OK"))
    assert server.predict(2) == 4.0


class SlowModel:
    """A model whose calls wait until they are let go."""

    def __init__(self):
        self.called, self.let_go, self.closed = threading.Event(), threading.Event(), False

    def signature(self, name):
        return Signature({"x": TensorInfo("x:0", "float", (None,))}, {})

    def run(self, name, inputs):
        self.called.set()
        assert self.let_go.wait(_PATIENCE_S)
        assert not self.closed
        return {"y": np.ones(1, np.float32)}

    def close(self):
        self.closed = True


def slow_app(tmp_path):
    (tmp_path / "1").mkdir()
    slow = SlowModel()
    model = ServedModel("m", str(tmp_path), load=lambda path: slow)
    model.start()
    return make_app(model), slow


def call_in_thread(server, results):
    thread = threading.Thread(target=lambda: results.append(server.predict(1)))
    thread.start()
    return thread


def test_the_event_loop_is_free_while_the_model_runs(tmp_path):
    app, slow = slow_app(tmp_path)
    server = RunningServer(app)
    results = []
    thread = call_in_thread(server, results)
    assert slow.called.wait(_PATIENCE_S)
    assert server.statuses() == [(1, "AVAILABLE", "OK")]
    slow.let_go.set()
    thread.join()
    server.stop()
    assert results == [1.0]


def test_a_shutdown_answers_the_calls_that_are_on_their_way(tmp_path):
    app, slow = slow_app(tmp_path)
    shutting_down = threading.Event()

    async def note(_):
        shutting_down.set()

    app.on_shutdown.append(note)
    server = RunningServer(app)
    results = []
    caller = call_in_thread(server, results)
    assert slow.called.wait(_PATIENCE_S)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    assert shutting_down.wait(_PATIENCE_S)
    assert not slow.closed
    slow.let_go.set()
    caller.join()
    stopper.join()
    assert results == [1.0]
    assert slow.closed


@pytest.mark.parametrize("name", ["poll_seconds", "max_body_bytes", "num_threads"])
def test_numbers_must_be_positive(name):
    with pytest.raises(ValueError, match=f"{name} must be positive. Received: {name}=0."):
        make_app(None, **{name: 0})


def test_without_aiohttp_only_the_server_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "atrank_tf.serving.server")
    monkeypatch.delattr(atrank_tf.serving, "server")
    importlib.reload(atrank_tf.serving)
    for name in ("serve", "make_app"):
        with pytest.raises(ImportError, match=r"pip install 'atrank-tf\[serving\]'"):
            getattr(atrank_tf.serving, name)


def test_the_package_has_what_it_says():
    for name in atrank_tf.serving.__all__:
        assert getattr(atrank_tf.serving, name)
    with pytest.raises(AttributeError, match="has no attribute 'server_of_dreams'"):
        atrank_tf.serving.server_of_dreams  # noqa: B018
