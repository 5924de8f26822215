"""What a client sees over HTTP: the contract's cases, limits, and what happens to clients that do wrong."""

import gzip
import json
import logging
import socket
import struct
import threading

import pytest
from aiohttp import StreamReader, web
from fake_models import PATIENCE_S, FakeScorer, HeldModel, served_with

from atrank_tf.server import ModelConfig, ServedModel, ServedModels, ServerSettings, make_app
from atrank_tf.server.http_handler import HttpHandler
from atrank_tf.server.json_request import read_request
from atrank_tf.server.limits import Cost, LimitedInputs

_METRICS_PATH = "/monitoring/prometheus/metrics"


@pytest.fixture(scope="module")
def servers(half_plus_two, run_app):
    """Servers of the contract's model: under two names, and one with everything switched on."""
    running = {}
    for name in ("half_plus_two", "default", "all"):
        model = ServedModel("half_plus_two" if name == "all" else name, half_plus_two, labels={"some_label": 123})
        models = ServedModels.of(model)
        models.start()
        on = {"cors": True, "metrics_path": _METRICS_PATH} if name == "all" else {}
        running[name] = run_app(make_app(models, ServerSettings(**on)))
    yield running
    for server in running.values():
        server.stop()


@pytest.mark.parametrize("path", ["/", "/v2/models/m", "/favicon.ico", "/v1", _METRICS_PATH])
def test_outside_of_the_api_is_404_in_html(servers, path):
    status, headers, answer = servers["default"].call("GET", path)
    assert status == 404
    assert headers["Content-Type"].startswith("text/html")
    assert b"Not Found" in answer


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
def test_other_methods_are_malformed_requests(servers, method):
    status, _, answer = servers["default"].call(method, "/v1/models/default:predict")
    assert status == 400
    if method != "HEAD":
        assert json.loads(answer) == {"error": f"Malformed request: {method} /v1/models/default:predict"}


@pytest.mark.parametrize("name", ["default", "all"])
@pytest.mark.parametrize(
    ("origin", "status"), [("https://a.example", 200), ("http://a.example", 200), ("ftp://a.example", 400), (None, 400)]
)
def test_options_ask_for_an_origin(servers, name, origin, status):
    headers = {"Origin": origin} if origin else {}
    got, headers, answer = servers[name].call("OPTIONS", "/v1/models/default:predict", headers=headers)
    assert (got, answer) == (status, b"")
    assert ("Access-Control-Allow-Origin" in headers) == (name == "all")


def test_cors_headers_are_on_errors_too(servers):
    status, headers, _ = servers["all"].call("GET", "/v1/models/nope")
    assert status == 404
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Access-Control-Allow-Methods"] == "POST, GET"
    assert headers["Access-Control-Allow-Headers"] == "Content-Type"


def test_a_query_string_is_part_of_the_path(servers):
    path = "/v1/models/default:predict?x=1"
    status, _, answer = servers["default"].call("POST", path, '{"instances": [2]}')
    assert (status, json.loads(answer)) == (400, {"error": f"Malformed request: POST {path}"})


def test_the_content_type_of_a_request_is_not_read(servers):
    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data", "nonsense"):
        status, _, answer = servers["default"].call(
            "POST", "/v1/models/default:predict", '{"instances": [2]}', {"Content-Type": content_type}
        )
        assert (status, json.loads(answer)) == (200, {"predictions": [3.0]})


def test_metadata_over_http(servers):
    status, _, answer = servers["default"].call("GET", "/v1/models/default/versions/123/metadata")
    assert status == 200
    body = json.loads(answer)
    assert body["model_spec"] == {"name": "default", "signature_name": "", "version": "123"}
    inputs = body["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    assert inputs["x"]["dtype"] == "DT_FLOAT"


def test_the_metrics_page_counts_calls_by_model_and_status(half_plus_two, start):
    server = start(ServedModel("m", half_plus_two), metrics_path="/metrics")
    for _ in range(3):
        server.predict(2)
    server.call("POST", "/v1/models/m:predict", "no JSON")
    server.call("POST", "/v1/models/invented:predict", '{"instances": [1]}')
    server.call("GET", "/v1/models/m")
    body = '{"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}, {"x": 2.0}]}'
    assert server.call("POST", "/v1/models/m:regress", body)[0] == 200
    status, headers, page = server.call("GET", "/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain")
    prefix = ":tensorflow:serving:"
    for line in (
        f'{prefix}request_count{{model_name="m",status="OK"}} 5',
        f'{prefix}request_count{{model_name="m",status="INVALID_ARGUMENT"}} 1',
        f'{prefix}request_count{{model_name="",status="NOT_FOUND"}} 1',
        f'{prefix}request_latency_count{{model_name="m",API="predict",entrypoint="REST"}} 3',
        f'{prefix}request_latency_count{{model_name="m",API="regress",entrypoint="REST"}} 1',
        f'{prefix}runtime_latency_count{{model_name="m",API="Predict",runtime="TF1"}} 3',
        f'{prefix}request_example_counts_sum{{model="m"}} 2.0',
        f'{prefix}request_example_count_total{{model="m"}} 2',
    ):
        assert line in page.decode().splitlines()
    status, headers, answer = server.call("GET", "/metrics?x=1")
    assert (status, answer) == (400, b"Unexpected path: /metrics?x=1. Should be /metrics")


def test_a_body_over_the_limit_is_413(half_plus_two, start):
    server = start(ServedModel("m", half_plus_two), max_body_bytes=1000)
    body = json.dumps({"instances": [0] * 10_000})
    status, _, answer = server.call("POST", "/v1/models/m:predict", body)
    assert (status, json.loads(answer)) == (413, {"error": "Request body is longer than 1000 bytes"})
    assert server.predict(2) == 3.0


def test_bodies_that_are_too_long_or_do_not_come_are_counted(half_plus_two, start):
    server = start(ServedModel("m", half_plus_two), max_body_bytes=1000, timeout_ms=200, metrics_path="/metrics")
    for name in ("m", "invented"):
        assert server.call("POST", f"/v1/models/{name}:predict", "x" * 1001)[0] == 413
    assert server.call("POST", "/v1/nonsense", "x" * 1001)[0] == 413
    with open_connection(server, b"Content-Length: 100\r\n\r\n{") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 504 ")
    counts = [line for line in server.call("GET", "/metrics")[2].decode().splitlines() if ":request_count{" in line]
    assert [line.partition("{")[2] for line in counts] == [
        'model_name="m",status="INVALID_ARGUMENT"} 1',
        'model_name="",status="INVALID_ARGUMENT"} 2',
        'model_name="m",status="DEADLINE_EXCEEDED"} 1',
    ]


def test_a_body_that_cannot_be_read_is_400_and_counted(half_plus_two, start, monkeypatch):
    async def read(body):
        raise web.RequestPayloadError("no chunk")

    server = start(ServedModel("m", half_plus_two), metrics_path="/metrics")
    monkeypatch.setattr(StreamReader, "readany", read)
    status, _, answer = server.call("POST", "/v1/models/m:predict", "{}")
    assert (status, json.loads(answer)) == (400, {"error": "The request body cannot be read: no chunk"})
    line = b':tensorflow:serving:request_count{model_name="m",status="INVALID_ARGUMENT"} 1\n'
    assert line in server.call("GET", "/metrics")[2]


def test_gzip_bodies(servers):
    path, good = "/v1/models/default:predict", gzip.compress(b'{"instances": [2.0]}')
    for encoding in ("gzip", "x-gzip"):
        status, _, answer = servers["default"].call("POST", path, good, {"Content-Encoding": encoding})
        assert (status, json.loads(answer)) == (200, {"predictions": [3.0]})


def test_a_small_gzip_body_that_holds_millions_of_lists_is_not_parsed(servers):
    bomb = gzip.compress(b'{"instances": [' + b"[]," * 3_000_000 + b"[]]}")
    assert len(bomb) < 10_000
    path = "/v1/models/default:predict"
    status, _, answer = servers["default"].call("POST", path, bomb, {"Content-Encoding": "gzip"})
    assert (status, json.loads(answer)) == (400, {"error": "JSON Parse error: The document is empty"})


def test_gzip_bodies_that_do_not_inflate_are_empty_ones_and_leave_no_trace_in_the_log(half_plus_two, start, caplog):
    server = start(ServedModel("m", half_plus_two), max_body_bytes=1000)
    good = gzip.compress(b'{"instances": [2.0]}')
    bomb = gzip.compress(b" " * 100_000)
    assert len(bomb) < 1000
    for body in (b"not gzip", good[:-5], good + b"more", bomb, b""):
        status, _, answer = server.call("POST", "/v1/models/m:predict", body, {"Content-Encoding": "gzip"})
        assert (status, json.loads(answer)) == (400, {"error": "JSON Parse error: The document is empty"})
    assert not caplog.records


def test_an_answer_has_so_many_values_at_most(half_plus_two, start):
    server = start(ServedModel("m", half_plus_two), max_output_values=3)
    for count, status in ((3, 200), (4, 400)):
        assert server.call("POST", "/v1/models/m:predict", json.dumps({"instances": [1] * count}))[0] == status


def test_a_request_has_so_many_candidates_and_reads_so_many_behaviors_at_most(tmp_path, start):
    limited = LimitedInputs(frozenset({"buy__candidates"}), frozenset({"memory"}))
    inputs = {"buy__candidates": ("int64", 2), "memory": ("float", 3)}
    model = served_with(tmp_path, [1], load=lambda path: FakeScorer(limited, **inputs))
    server = start(model, max_candidates=3, max_memory_reads=6)
    for count, length, status in ((2, 3, 200), (2, 4, 400), (3, 2, 200), (4, 1, 400)):
        body = {"inputs": {"buy__candidates": [[1] * count], "memory": [[[0.5]] * length]}}
        assert server.call("POST", "/v1/models/m:predict", json.dumps(body))[0] == status


def test_a_context_of_a_body_s_length_in_all_examples_together_at_most(half_plus_two, start):
    server = start(ServedModel("m", half_plus_two), max_body_bytes=1000)
    for length, status in ((20, 200), (200, 400)):
        request = {"signature_name": "regress_x_to_y", "context": {"y": "a" * length}, "examples": [{"x": 1.0}] * 9}
        assert server.call("POST", "/v1/models/m:regress", json.dumps(request))[0] == status


@pytest.fixture
def slow(tmp_path, run_app):
    """`slow(**settings)` gives a slow model, its application and a server that runs it."""
    servers, models = [], []

    def run(**settings):
        (tmp_path / "1").mkdir()
        models.append(HeldModel())
        served = ServedModels.of(ServedModel("m", str(tmp_path), load=lambda path: models[-1]))
        served.start()
        app = make_app(served, ServerSettings(**settings))
        servers.append(run_app(app))
        return models[-1], app, servers[-1]

    yield run
    for model in models:
        model.let_go.set()
    for server in servers:
        server.stop()


def in_thread(call, *arguments):
    results = []
    thread = threading.Thread(target=lambda: results.append(call(*arguments)))
    thread.start()
    return thread, results


def test_the_event_loop_is_free_while_the_model_runs(slow):
    model, _, server = slow()
    thread, results = in_thread(server.predict, 1)
    assert model.called.acquire(timeout=PATIENCE_S)
    assert server.statuses() == [(1, "AVAILABLE", "OK")]
    model.let_go.set()
    thread.join()
    assert results == [1.0]


def test_a_request_that_takes_too_long_is_504(slow, wait_until):
    model, _, server = slow(timeout_ms=200, num_threads=1, metrics_path="/metrics")
    late = [in_thread(server.call, "POST", "/v1/models/m:predict", '{"instances": [1]}') for _ in range(2)]
    for thread, results in late:
        thread.join()
        status, _, answer = results[0]
        assert (status, json.loads(answer)) == (504, {"error": "The request was not answered within 200 ms"})
    model.let_go.set()
    line = ':tensorflow:serving:request_count{model_name="m",status="DEADLINE_EXCEEDED"} 2\n'
    wait_until(lambda: line in server.call("GET", "/metrics")[2].decode())
    assert model.calls == 1  # the one that had to wait for its turn never ran
    assert server.predict(1) == 1.0


def test_a_body_that_does_not_come_is_504(half_plus_two, start):
    server = start(ServedModel("m", half_plus_two), timeout_ms=2000)
    with open_connection(server, b"Content-Length: 100\r\n\r\n{") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 504 ")
    assert server.predict(2) == 3.0


def open_connection(server, headers_and_body):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
    connection.sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\n" + headers_and_body)
    return connection


def reset(connection):
    """Closes a connection both ways at once; `close` alone may be somebody who has sent all and waits."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def handler(app):
    [found] = [value for value in (app[key] for key in app) if isinstance(value, HttpHandler)]
    return found


def in_flight(app):
    return handler(app).in_flight


def test_a_request_whose_client_is_gone_does_not_run(slow, wait_until):
    model, app, server = slow(num_threads=1)
    thread, results = in_thread(server.predict, 1)
    assert model.called.acquire(timeout=PATIENCE_S)
    body = b'{"instances": [1]}'
    connection = open_connection(server, b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    wait_until(lambda: in_flight(app) == 2)
    reset(connection)
    wait_until(lambda: in_flight(app) == 1)
    model.let_go.set()
    thread.join()
    assert results == [1.0]
    assert server.predict(1) == 1.0
    assert model.calls == 2


@pytest.mark.parametrize(
    "sent",
    [
        b"NONSENSE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"GET /v1/models/" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/models/m\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 100 + b"\r\n",
    ],
)
def test_what_is_no_http_is_400_and_leaves_no_trace_in_the_log(servers, sent, caplog):
    with socket.create_connection(("127.0.0.1", servers["default"].port), timeout=PATIENCE_S) as connection:
        connection.sendall(sent)
        answer = connection.recv(10_000)
    assert b" 400 Bad Request\r\n" in answer
    assert b"Traceback" not in answer
    assert not caplog.records


def test_clients_that_leave_in_the_middle_leave_no_trace_in_the_log(half_plus_two, start, caplog):
    server = start(ServedModel("m", half_plus_two))
    for sent in (b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", b"Content-Le"):
        open_connection(server, sent).close()
    assert server.predict(2) == 3.0
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_bug_is_a_500_that_says_nothing_of_the_code(half_plus_two, start, monkeypatch, caplog):
    server = start(ServedModel("m", half_plus_two))
    monkeypatch.setattr(HttpHandler, "_call", lambda self, request, deadline: 1 / 0)
    status, headers, answer = server.call("GET", "/v1/models/m")
    assert (status, json.loads(answer)) == (500, {"error": "Internal error"})
    assert headers["Content-Type"] == "application/json"
    assert "ZeroDivisionError" in caplog.text


def test_a_home_page_stands_at_the_root_and_nowhere_else(half_plus_two, run_app):
    models = ServedModels.of(ServedModel("half_plus_two", half_plus_two))
    models.start()
    server = run_app(make_app(models, home_page="<p>\u00e9</p>"))
    try:
        status, headers, body = server.call("GET", "/")
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert body.decode() == "<p>\u00e9</p>"
        assert [server.call("POST", "/")[0], server.call("GET", "/index.html")[0]] == [404, 404]
    finally:
        server.stop()


def test_bytes_on_their_way_are_bounded_and_small_bodies_are_none_of_them(half_plus_two, start, wait_until):
    server = start(ServedModel("m", half_plus_two), max_bytes_in_flight=300_000)
    half, whole = b" " * 250_000, b'{"instances": [2]}' + b" " * 300_000
    with open_connection(server, b"Content-Length: 300000\r\n\r\n" + half) as first:
        wait_until(lambda: server.call("POST", "/v1/models/m:predict", whole)[0] == 503)
        status, _, answer = server.call("POST", "/v1/models/m:predict", whole)
        assert (status, json.loads(answer)["error"]) == (
            503,
            "Too many bytes of requests are on their way. Try again later",
        )
        assert server.predict(2) == 3.0
        first.sendall(b'{"instances": [2]}' + b" " * 49_982)
        assert first.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert server.call("POST", "/v1/models/m:predict", whole)[0] == 200


def test_lists_and_values_of_a_body_are_bounded_also_of_an_inflated_one(half_plus_two, start):
    server = start(ServedModel("m", half_plus_two), max_lists=10, max_values=20)
    path, headers = "/v1/models/m:predict", {"Content-Encoding": "gzip"}
    for body in (b'{"instances": [' + b"[]," * 10 + b"[]]}", b'{"instances": [' + b"1," * 20 + b"1]}"):
        status, _, answer = server.call("POST", path, gzip.compress(body), headers)
        assert status == 400
        assert "Expected at most" in json.loads(answer)["error"]


def test_large_bodies_are_parsed_one_by_one_and_wait_no_longer_than_their_time(half_plus_two, start, monkeypatch):
    held, let_go = threading.Semaphore(0), threading.Event()

    def read(body):
        held.release()
        assert let_go.wait(PATIENCE_S)
        return read_request(body)

    server = start(ServedModel("m", half_plus_two), timeout_ms=300)
    monkeypatch.setattr("atrank_tf.server.rest_api.read_request", read)
    body = b'{"instances": [2]}' + b" " * 300_000
    calls = [in_thread(server.call, "POST", "/v1/models/m:predict", body) for _ in range(3)]
    assert held.acquire(timeout=PATIENCE_S)
    for thread, results in calls:
        thread.join()
        assert results[0][0] == 504
    assert not held.acquire(timeout=0.01)
    let_go.set()


def test_models_work_on_so_much_at_once(tmp_path, start):
    limited = LimitedInputs(frozenset({"buy__candidates"}), cost=Cost(candidate=300))
    held = HeldModel(limited, buy__candidates=("int64", 2))
    server = start(served_with(tmp_path, [1], load=lambda path: held), max_work_bytes=1000, timeout_ms=500)
    body = b'{"inputs": {"buy__candidates": [[1, 2]]}}'  # 800 bytes
    calls = [in_thread(server.call, "POST", "/v1/models/m:predict", body) for _ in range(2)]
    for thread, results in calls:
        thread.join()
        assert results[0][0] == 504
    assert held.calls == 1
    held.let_go.set()
    assert server.call("POST", "/v1/models/m:predict", body)[0] == 200
    body = b'{"inputs": {"buy__candidates": [[1, 2, 3]]}}'
    assert server.call("POST", "/v1/models/m:predict", body)[0] == 400


def test_pages_of_a_loopback_server_are_for_its_own_names(half_plus_two, start):
    server = start(ServedModel("m", half_plus_two), metrics_path="/metrics")
    for host in ("localhost", "127.0.0.1:80", "[::1]:8501", "LOCALHOST"):
        assert server.call("GET", "/metrics", headers={"Host": host})[0] == 200
    for host in ("evil.example", "127.0.0.1.evil.example:8501"):
        for path in ("/metrics", "/", "/healthz"):
            assert server.call("GET", path, headers={"Host": host})[0] == 403
        assert server.call("GET", "/v1/models/m", headers={"Host": host})[0] == 200


def test_with_allowed_hosts_no_other_name_is_answered(half_plus_two, start):
    server = start(ServedModel("m", half_plus_two), allowed_hosts=("shop.example",))
    for host, status in (("shop.example:80", 200), ("Shop.Example", 200), ("127.0.0.1", 403)):
        assert server.call("GET", "/v1/models/m", headers={"Host": host})[0] == status
        assert server.call("GET", "/healthz", headers={"Host": host})[0] == status


def test_a_server_is_well_while_every_model_answers_and_it_is_not_stopped(tmp_path, slow):
    _, app, server = slow()
    assert server.call("GET", "/healthz")[::2] == (200, b"ok\n")
    handler(app).draining = True
    assert server.call("GET", "/healthz")[::2] == (503, b"not ready\n")


def test_a_server_is_not_well_while_a_model_has_no_version(half_plus_two, tmp_path, run_app):
    models = ServedModels([ModelConfig("a", half_plus_two), ModelConfig("b", str(tmp_path))])
    models.refresh()
    server = run_app(make_app(models))
    try:
        assert server.call("GET", "/healthz")[0] == 503
    finally:
        server.stop()


def test_each_request_has_a_line_of_json_in_the_access_log(half_plus_two, start, capsys):
    server = start(ServedModel("m", half_plus_two), access_log=True)
    server.predict(2)
    server.call("GET", "/a%22b?x=1")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"NONSENSE\r\n\r\n")
        assert connection.recv(10_000)
    server.stop()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [(line["method"], line["path"], line["status"]) for line in lines]
    assert told == [("POST", "/v1/models/m:predict", 200), ("GET", "/a%22b?x=1", 404), ("UNKNOWN", "/", 400)]
    assert lines[0]["bytes"] == len('{"predictions": [3.0]}')
    assert {line["remote"] for line in lines} == {"127.0.0.1"}
    assert all(line["ms"] >= 0 and line["time"].endswith("+00:00") for line in lines)
