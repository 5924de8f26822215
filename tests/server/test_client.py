"""The client: plain lists in, ranked candidates out; what it sends is what the server would have been sent by hand."""

import asyncio
import json
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
import urllib3
from aiohttp import web

from atrank_tf.data import Records
from atrank_tf.server import Client, ClientError, LoadedModel, ServedModel, make_app
from atrank_tf.server.client import Column, candidates_name, padded

COLUMNS = {
    "now": Column("DT_INT64", 1),
    "buy__id": Column("DT_STRING", 2),
    "buy__action": Column("DT_STRING", 2),
    "buy__timestamp": Column("DT_INT64", 2),
    "user__age": Column("DT_STRING", 1),
    "user__tags": Column("DT_STRING", 2),
    "next__candidates": Column("DT_INT64", 2),
    "next__price": Column("DT_FLOAT", 2),
    "next__words": Column("DT_STRING", 3),
    "next__device": Column("DT_STRING", 1),
}


def test_users_of_different_lengths_are_padded() -> None:
    rich = {
        "now": 9,
        "buy__id": ["a", "b"],
        "buy__action": ["x", "y"],
        "buy__timestamp": [1, 2],
        "user__age": "old",
        "user__tags": ["t"],
        "next__candidates": [5],
        "next__price": [0.5],
        "next__words": [["u", "v"]],
        "next__device": "phone",
    }
    found = padded([rich, {"now": 8, "next__candidates": [6, 7]}], COLUMNS, "next__candidates")
    price = found.pop("next__price")
    assert found == {
        "now": [9, 8],
        "buy__id": [["a", "b"], ["", ""]],
        "buy__action": [["x", "y"], ["", ""]],
        "buy__timestamp": [[1, 2], [0, 0]],
        "user__age": ["old", ""],
        "user__tags": [["t"], [""]],
        "next__candidates": [[5, -1], [6, 7]],
        "next__words": [[["u", "v"], ["", ""]], [["", ""], ["", ""]]],
        "next__device": ["phone", ""],
    }
    np.testing.assert_array_equal(price, [[0.5, np.nan], [np.nan, np.nan]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"by__id": ["a"]}, r"Unknown input 'by__id' in request 1\. Did you mean \"buy__id\"\?"),
        ({"now": None}, r"Expected 'now' in request 1\. Received: next__candidates\."),
        ({"next__candidates": None}, r"Expected 'next__candidates' in request 1\. Received: now\."),
        ({"buy__id": "abc"}, r"Expected a list for 'buy__id' in request 1\. Received: 'abc'\."),
        ({"buy__id": ["a"], "buy__action": ["x"]}, r"lists of one length in request 1\. .*'buy__timestamp': 0"),
        ({"next__price": [1.0]}, r"lists of one length in request 1\. .*'next__candidates': 2, 'next__price': 1"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_before_it_is_sent(change: dict[str, Any], message: str) -> None:
    good = {"now": 8, "next__candidates": [6, 7]}
    bad = {name: value for name, value in {**good, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        padded([good, bad], COLUMNS, "next__candidates")


@pytest.mark.parametrize("group", ["next_ad", "nex", "_next"])
def test_a_group_named_almost_as_the_task_is_no_context_of_candidates(group: str) -> None:
    columns = {name.replace("buy__", f"{group}__"): column for name, column in COLUMNS.items()}
    history = {f"{group}__id": ["a", "b"], f"{group}__action": ["x", "y"], f"{group}__timestamp": [1, 2]}
    found = padded([{"now": 9, "next__candidates": [5, 6, 7], **history}], columns, "next__candidates")
    assert {name: found[name] for name in history} == {name: [values] for name, values in history.items()}
    assert found["next__words"] == [[[], [], []]]


def test_columns_of_the_user_and_of_a_context_make_no_group_and_no_candidates() -> None:
    own = {"user__id": 1, "user__timestamp": 1, "user__candidates": 2, "next__id": 2, "next__action": 2}
    columns = {**COLUMNS, **{name: Column("DT_STRING", rank) for name, rank in own.items()}}
    assert candidates_name(columns, "serving_default") == "next__candidates"
    request = {"now": 9, "next__candidates": [5, 6], "next__action": ["a", "b"], "user__timestamp": "long ago"}
    found = padded([request], columns, "next__candidates")
    assert found["next__action"] == [["a", "b"]] and found["next__id"] == [["", ""]]
    assert found["user__timestamp"] == ["long ago"] and found["user__candidates"] == [[]]


class _Running:
    """Serves an app from a thread."""

    def __init__(self, app: web.Application) -> None:
        self.loop = asyncio.new_event_loop()
        self.runner = web.AppRunner(app, access_log=None)
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.wait(self.runner.setup())
        self.wait(web.TCPSite(self.runner, "127.0.0.1", 0).start())
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    def wait(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def stop(self) -> None:
        self.wait(self.runner.cleanup())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def url(shop_export: str) -> Iterator[str]:
    model = ServedModel("shop", shop_export.rsplit("/", 1)[0])
    model.start()
    server = _Running(make_app(model))
    yield server.url
    server.stop()


REQUESTS = [
    {
        "now": 7_344_000,
        "purchase__id": ["p1", "p2"],
        "purchase__action": ["regular", "discounted"],
        "purchase__timestamp": [7_257_600, 7_264_800],
        "user__age": "young",
        "user__income": 120.0,
        "next_purchase__candidates": ["p3", "p5", "p1"],
    },
    {"now": 7_344_000, "next_purchase__candidates": ["p9"]},
]


def test_candidates_come_back_ranked_as_the_signature_scores_each_user_alone(url: str, shop_export: str) -> None:
    loaded = LoadedModel(shop_export)
    with Client(url, "shop") as client:
        ranked = client.rank(REQUESTS)
        scores = client.score(REQUESTS, signature="score__next_purchase")
    for request, row, own in zip(REQUESTS, ranked, scores, strict=True):
        raw = {name: np.array(value, object) for name, value in _whole(request).items()}
        for name in ("now", "purchase__timestamp", "redemption__id", "redemption__timestamp"):
            raw[name] = raw[name].astype(np.int64)
        raw["user__income"] = raw["user__income"].astype(np.float32)
        expected = loaded.run("score__next_purchase", raw)["scores"][0]
        np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-5)
        best = np.argsort(-expected, kind="stable")
        assert [name for name, _ in row] == [request["next_purchase__candidates"][place] for place in best]
        np.testing.assert_allclose([score for _, score in row], expected[best], rtol=1e-5, atol=1e-5)
    loaded.close()


def test_the_best_of_a_catalog_are_those_that_rank_highest_as_candidates(url: str, records: Records) -> None:
    catalog = records.catalogs["product"].ids.tolist()
    users = [{name: value for name, value in each.items() if "candidates" not in name} for each in REQUESTS]
    with Client(url, "shop") as client:
        best = client.top([{**users[0], "exclude": ["p3"]}, users[1]], 3)
        whole = client.rank([{**each, "next_purchase__candidates": catalog} for each in users])
        own = client.top(users[:1], len(catalog), exclude_history=True, signature="top__next_purchase")
    whole[0] = [each for each in whole[0] if each[0] != "p3"]
    for found, expected in zip(best, whole, strict=True):
        assert [name for name, _ in found] == [name for name, _ in expected[:3]]
        np.testing.assert_allclose([s for _, s in found], [s for _, s in expected[:3]], rtol=1e-5, atol=1e-5)
    assert {name for name, _ in own[0]} == set(catalog) - {"p1", "p2"}


def test_the_best_of_a_catalog_are_asked_of_a_signature_that_finds_them(url: str) -> None:
    message = r"^Expected 'top' or 'top__<task>', .* Received: 'serving_default', which takes next_purchase__candidates"
    with Client(url, "shop") as client, pytest.raises(ValueError, match=message):
        client.top([{"now": 1}], 3, signature="serving_default")


def _whole(request: dict[str, Any]) -> dict[str, Any]:
    """One user in columnar form, written out by hand."""
    groups = {f"{group}__{c}": [] for group in ("purchase", "redemption") for c in ("id", "action", "timestamp")}
    return {name: [value] for name, value in {**groups, "user__age": "", "user__income": np.nan, **request}.items()}


def test_no_request_is_no_call() -> None:
    assert Client("http://127.0.0.1:9", "shop").score([]) == []
    assert Client("http://127.0.0.1:9", "shop").top([], 3) == []


def test_what_the_server_refuses_is_told_with_its_status(url: str) -> None:
    with pytest.raises(ClientError, match=r"not of expected type: int64.*\(HTTP 400\)") as found:
        Client(url, "shop").rank([{"now": 1.5, "next_purchase__candidates": ["p3"]}])
    assert found.value.status == 400
    with pytest.raises(ClientError, match="HTTP 404"):
        Client(url, "shpo").rank([{"now": 1, "next_purchase__candidates": ["p3"]}])
    with pytest.raises(ValueError, match=r"Expected a signature of the model: .*next_purchase.*Received: 'next'"):
        Client(url, "shop").rank([{"now": 1}], signature="next")


@pytest.mark.parametrize(
    "signature", ["rank", "top", "encode_user", "score_candidates", "explain", "explain__next_purchase"]
)
def test_a_signature_that_is_no_tasks_is_refused(url: str, signature: str) -> None:
    message = rf"^Expected 'serving_default' or 'score__<task>', .* Received: '{signature}', which takes \w+"
    with Client(url, "shop") as client:
        with pytest.raises(ValueError, match=message):
            client.rank(REQUESTS, signature=signature)
        with pytest.raises(ValueError, match=message):
            client.score(REQUESTS, signature=signature)


def test_no_server_and_a_silent_one_are_told_apart() -> None:
    with pytest.raises(ConnectionError, match=r"Expected a server at http://127\.0\.0\.1:9/v1/models/shop/metadata"):
        Client("http://127.0.0.1:9", "shop").columns()
    over = threading.Event()

    def answer(*_: Any) -> tuple[None, None]:
        over.wait(60)
        return None, None

    with _Fake(answer) as address, pytest.raises(TimeoutError, match="Expected an answer"):
        Client(address, "shop", timeout=0.05).columns()
    over.set()


def test_an_answer_that_is_no_json_is_shown() -> None:
    with (
        _Fake(lambda *_: (200, b"<html>")) as address,
        pytest.raises(ClientError, match=r"Expected JSON.*<html>.*HTTP 200"),
    ):
        Client(address, "shop").columns()


def test_the_name_of_a_model_is_quoted() -> None:
    paths = []

    def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
        paths.append(path)
        return 200, _metadata("now", "next__candidates")

    with _Fake(answer) as address, Client(address, "a/b c?", timeout=60) as client:
        client.columns()
    assert paths == ["/v1/models/a%2Fb%20c%3F/metadata"]


@pytest.mark.parametrize("text", ['{"message": "no healthy upstream"}', '["no", "upstream"]', "null"])
@pytest.mark.parametrize("status", [200, 503])
def test_what_a_gateway_answers_in_words_of_its_own_is_shown(status: int, text: str) -> None:
    def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
        return status, json.loads(text)

    with (
        _Fake(answer) as address,
        pytest.raises(ClientError, match=r"Expected 'metadata' from .*Received: b'") as found,
    ):
        Client(address, "shop").columns()
    assert found.value.status == status
    assert text in str(found.value)


def test_threads_that_begin_together_do_not_wait_for_each_other() -> None:
    together = threading.Barrier(6)

    def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
        together.wait(10)
        return 200, _metadata("now", "next__candidates")

    with _Fake(answer) as address, Client(address, "shop", timeout=60) as client, ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: client.columns(), range(6)))
    assert [set(columns) for columns in found] == [{"now", "next__candidates"}] * 6


def test_a_free_connection_is_waited_for_within_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go, asked = threading.Event(), threading.Event()

    def request(*_: Any, **__: Any) -> Any:
        asked.set()
        assert let_go.wait(60)
        return types.SimpleNamespace(status=200, data=json.dumps(_metadata("now", "next__candidates")))

    with Client("http://127.0.0.1:9", "shop", timeout=0.05, connections=1) as client, ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(client._pool, "request", request)
        first = pool.submit(client.columns)
        try:
            assert asked.wait(60)
            with pytest.raises(TimeoutError, match=r"Expected a free connection to http://127.0.0.1:9/.*all in use"):
                client.columns()
        finally:
            let_go.set()
        assert set(first.result(60)) == {"now", "next__candidates"} == set(client.columns())


def test_what_was_waited_is_taken_off_the_time_for_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, left = types.SimpleNamespace(now=100.0), []

    def passes(seconds: float) -> bool:
        clock.now += seconds
        return True

    def request(*_: Any, timeout: Any, **__: Any) -> Any:
        left.append(timeout.total)
        passes(1.0)
        if len(left) == 1:
            raise urllib3.exceptions.ProtocolError("the kept connection was closed")
        return types.SimpleNamespace(status=200, data=json.dumps(_metadata("now", "next__candidates")))

    client = Client("http://127.0.0.1:9", "shop", timeout=5.0)
    monkeypatch.setattr("atrank_tf.server.client.time", types.SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(client._free, "acquire", lambda timeout: passes(timeout - 2.0))
    monkeypatch.setattr(client._pool, "request", request)
    client.columns()
    assert left == [2.0, 1.0]


class _Versions:
    """A server whose version changes: it takes its own inputs only, and counts what it is asked."""

    def __init__(self, *inputs: str) -> None:
        self.inputs, self.asked = inputs, {"GET": 0, "POST": 0}

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.asked[method] += 1
        if method == "GET":
            return 200, _metadata(*self.inputs)
        missing = [name for name in self.inputs if name not in body["inputs"]]
        if missing:
            return 400, {"error": f"Missing named input: {missing[0]} in 'inputs' object."}
        if min(body["inputs"]["now"]) < 0:
            return 400, {"error": "No such time"}
        return 200, {"outputs": [[0.5] * len(row) for row in body["inputs"]["next__candidates"]]}


def test_inputs_are_asked_for_again_when_a_new_version_takes_others() -> None:
    versions = _Versions("now", "next__candidates")
    request = {"now": 1, "next__candidates": [5]}
    with _Fake(versions.answer) as address, Client(address, "shop", timeout=60) as client:
        assert client.rank([request]) == [[(5, 0.5)]]
        versions.inputs = ("now", "next__candidates", "user__age")
        assert client.rank([request]) == [[(5, 0.5)]]
        assert versions.asked == {"GET": 2, "POST": 3}
        versions.inputs = ("now", "next__candidates", "user__age", "user_city")
        assert client.score([{**request, "user_city": 3}]) == [[0.5]]  # refused here before, as an unknown input
        assert versions.asked == {"GET": 3, "POST": 4}
        assert client.score([request]) == [[0.5]]
        assert versions.asked == {"GET": 3, "POST": 5}


def test_a_bad_request_is_sent_once() -> None:
    versions = _Versions("now", "next__candidates")
    with _Fake(versions.answer) as address, Client(address, "shop", timeout=60) as client:
        client.columns()
        with pytest.raises(ClientError, match=r"^No such time \(HTTP 400\)$"):
            client.score([{"now": -1, "next__candidates": [5]}])
        assert versions.asked == {"GET": 2, "POST": 1}
        with pytest.raises(ValueError, match="Unknown input 'nwo' in request 0"):
            client.score([{"nwo": 1, "next__candidates": [5]}])
        assert versions.asked == {"GET": 3, "POST": 1}
        assert client.rank([]) == client.score([]) == []


def test_only_a_bad_request_makes_it_ask_for_the_inputs_again() -> None:
    asked = []

    def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
        asked.append(method)
        return (200, _metadata("now", "next__candidates")) if method == "GET" else (503, {"error": "not yet"})

    with _Fake(answer) as address, Client(address, "shop", timeout=60) as client:
        for _ in range(2):
            with pytest.raises(ClientError, match=r"^not yet \(HTTP 503\)$"):
                client.score([{"now": 1, "next__candidates": [5]}])
    assert asked == ["GET", "POST", "POST"]


def _metadata(*inputs: str) -> dict[str, Any]:
    columns = {
        name: {
            "dtype": "DT_INT64",
            "tensor_shape": {"dim": [{"size": "-1"}] * (2 if name.endswith("__candidates") else 1)},
        }
        for name in inputs
    }
    return {"metadata": {"signature_def": {"signature_def": {"serving_default": {"inputs": columns}}}}}


class _Fake:
    """A server of a function: method, path and parsed body -> status and JSON, or bytes as they are.

    Of status None it says nothing.
    """

    def __init__(self, answer: Callable[[str, str, Any], tuple[int | None, Any]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                status, told = answer(self.command, self.path, body)
                if status is None:
                    return
                data = told if isinstance(told, bytes) else json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
