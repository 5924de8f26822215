"""Measures how fast an exported model answers: the embedded server beside the bare signature, in the same run.

The model of `experiments/amazon_sports.toml` (`hidden_dim` 128), untrained, is exported and asked for generated users

- bare: the signature through the C++ loader, without HTTP and JSON;
- server: the same request over HTTP, by 1, 8 and 32 clients, each a thread with a connection that it keeps;
- repeated: as many rows as candidates, each with the whole history, which is what a model without a memory needs;
- memory: `encode_user` once, then `score_candidates`;
- catalog: the best 100 of 100,000 objects (`top`), bare and over HTTP, beside the bare call that gets all of them as
  candidates; `hidden_dim` 64;
- long: a history of 10,000 behaviors and 1,000 candidates, of `timeline_atrank` (`LONG_MODEL`):
  encoded and scored, scored by a memory, and one behavior appended to the memory;
- long counted: the same request, where attention reads the newest 128 (`max_length`) and affinity counts all.

Prints a line for each figure and writes build/bench_serving.json. The clients share the machine with the server, so
they do little: each sends the same bytes again, and reads an answer's length and status.
"""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from atrank_tf import command
from figures import write_figures
from workload import BUILD, ITEMS, experiments, generated_logs, prepared

_SECONDS = flags.DEFINE_float("seconds", 3.0, "Seconds of each measurement.")
_MODEL = flags.DEFINE_string("model", "atrank", "Experiment of Amazon Sports, by the name of its model.")
_OUT = flags.DEFINE_string("out", "build/bench_serving.json", "Where the figures are written.")

HISTORIES = (10, 100, 200, 1000)
CANDIDATES = (1, 100, 1000, 5000)
ROWS = 100
"""Rows of a request in which the history stands beside each candidate: more at once is more than one may take."""
CLIENTS = (1, 8, 32)
TYPICAL = (200, 1000)
"""History and candidates of the request that the target names."""
SMALL = (100, 100)
"""History and candidates at which the server's overhead and throughput are compared with the bare call's."""
CATALOG, BEST, CATALOG_HISTORY = 100_000, 100, 64
"""Objects, how many of them are asked for, and the history."""
CATALOG_MS = 150.0
"""Target: median of the best of the catalog, in the server."""
LONG, LONG_MS, APPEND_MS = 10_000, 15.0, 2.0
"""A long history; targets: median of scoring candidates by its memory, and of appending a behavior to that, bare."""
LONG_MODEL = {"hidden_dim": 64, "num_spaces": 4, "window": 256}
READ, COUNTED_MODEL = 128, {"hidden_dim": 64, "num_spaces": 4, "affinity": True, "popularity": True}
"""How much of a long history attention reads where affinity counts the rest."""
MEDIAN_MS, OVERHEAD_MS, THROUGHPUT, REPEATED = 6.0, 1.5, 0.7, 60.0
"""Targets: median of the typical request in the server; server beside bare; repeated beside once."""
_NOW = 1_400_000_000


def main() -> None:
    from atrank_tf.server import LoadedModel

    export = _export("serving", ITEMS)
    model = LoadedModel(export)
    figures: dict[str, Any] = {"model": _MODEL.value}
    for history in HISTORIES:
        for candidates in CANDIDATES:
            request = _request(history, candidates)
            _add(figures, "bare", history, candidates, 1, _bare(model, "serving_default", request, 1))
            memory = model.run("encode_user", _of(model, "encode_user", request))
            known = _of(model, "score_candidates", {**request, **memory})
            _add(figures, "memory", history, candidates, 1, _bare(model, "score_candidates", known, 1))
    for history, candidates in (TYPICAL, SMALL):
        rows = {name: np.repeat(value, ROWS, axis=0) for name, value in _request(history, 1).items()}
        _add(figures, "repeated", history, candidates, 1, _bare(model, "serving_default", rows, 1, candidates // ROWS))
    for clients in CLIENTS[1:]:
        _add(figures, "bare", *SMALL, clients, _bare(model, "serving_default", _request(*SMALL), clients))
    model.close()
    server = _Server(Path(export).parent)
    try:
        for history, candidates in [(h, c) for h in HISTORIES for c in CANDIDATES]:
            for clients in CLIENTS if (history, candidates) in (SMALL, TYPICAL) else CLIENTS[:1]:
                found = server.measure(_request(history, candidates), clients)
                _add(figures, "server", history, candidates, clients, found)
    finally:
        server.stop()
    _measure_catalog(figures)
    _measure_long(figures)
    figures["targets"] = _targets(figures)
    for line, (found, target) in figures["targets"].items():
        print(f"{line:78}{found:9.2f}   target {target}")
    write_figures(_OUT.value, figures)


def _measure_catalog(figures: dict[str, Any]) -> None:
    from atrank_tf.server import LoadedModel

    export, shape = _export("catalog", CATALOG, hidden_dim=64), (CATALOG_HISTORY, CATALOG, 1)
    request = _request(CATALOG_HISTORY, 0)
    everything = {**request, "next_review__candidates": np.arange(CATALOG)[np.newaxis]}
    best = {name: value for name, value in request.items() if not name.endswith("candidates")}
    best |= {"k": np.array([BEST]), "exclude": np.zeros((1, 0), np.int64), "exclude_history": np.array([True])}
    model = LoadedModel(export)
    _add(figures, "all as candidates", *shape, _bare(model, "serving_default", everything, 1))
    _add(figures, "bare top", *shape, _bare(model, "top", best, 1))
    model.close()
    server = _Server(Path(export).parent)
    try:
        _add(figures, "top", *shape, server.measure(best, 1, "top"))
    finally:
        server.stop()


def _measure_long(figures: dict[str, Any]) -> None:
    from atrank_tf.server import LoadedModel

    model = LoadedModel(_export("long", ITEMS, "timeline_atrank", longest=LONG, **LONG_MODEL))
    for history in (LONG // 10, LONG):
        request, shape = _request(history, TYPICAL[1]), (history, TYPICAL[1], 1)
        memory = model.run("encode_timeline", _of(model, "encode_timeline", request))
        newer = {**_request(1, 0), "review__timestamp": np.array([[_NOW]]), **memory}
        _add(figures, "long", *shape, _bare(model, "serving_default", request, 1))
        _add(figures, "long encode", *shape, _bare(model, "encode_timeline", _of(model, "encode_timeline", request), 1))
        known = _of(model, "score_candidates", {**request, **memory})
        _add(figures, "long memory", *shape, _bare(model, "score_candidates", known, 1))
        appended = _of(model, "append_behaviors", newer)
        _add(figures, "long append", *shape, _bare(model, "append_behaviors", appended, 1))
    model.close()
    model = LoadedModel(_export("counted", ITEMS, "timeline_atrank", longest=LONG, read=READ, **COUNTED_MODEL))
    for history in (LONG // 10, LONG):
        request, shape = _request(history, TYPICAL[1]), (history, TYPICAL[1], 1)
        _add(figures, "long counted", *shape, _bare(model, "serving_default", request, 1))
    model.close()


def _targets(figures: dict[str, Any]) -> dict[str, tuple[float, str]]:
    def get(kind: str, shape: tuple[int, int], clients: int, figure: str) -> float:
        return next(
            float(found[figure])
            for found in figures[kind]
            if (found["history"], found["candidates"], found["clients"]) == (*shape, clients)
        )

    overhead = get("server", SMALL, 1, "p50") - get("bare", SMALL, 1, "p50")
    throughput = get("server", SMALL, 8, "per_second") / get("bare", SMALL, 8, "per_second")
    repeated = get("repeated", TYPICAL, 1, "p50") / get("bare", TYPICAL, 1, "p50")
    return {
        "history 200, 1,000 candidates: median in the server, ms": (
            get("server", TYPICAL, 1, "p50"),
            f"below {MEDIAN_MS}",
        ),
        "history 100, 100 candidates: median in the server less the bare call's, ms": (
            overhead,
            f"below {OVERHEAD_MS}",
        ),
        "history 100, 100 candidates: requests per second of 8 clients, beside the bare call's": (
            throughput,
            f"at least {THROUGHPUT}",
        ),
        "history 200, 1,000 candidates: the history repeated, beside once": (repeated, f"at least {REPEATED}"),
        "the best 100 of 100,000 objects, history 64: median in the server, ms": (
            get("top", (CATALOG_HISTORY, CATALOG), 1, "p50"),
            f"below {CATALOG_MS}",
        ),
        "history 10,000, 1,000 candidates: encoded and scored, bare, ms": (
            get("long", (LONG, TYPICAL[1]), 1, "p50"),
            f"below {LONG_MS}",
        ),
        "history 10,000, 1,000 candidates: the newest 128 read, all counted, bare, ms": (
            get("long counted", (LONG, TYPICAL[1]), 1, "p50"),
            f"below {LONG_MS}",
        ),
        "history 10,000, 1,000 candidates: scored by a memory, bare, ms": (
            get("long memory", (LONG, TYPICAL[1]), 1, "p50"),
            f"below {LONG_MS}",
        ),
        "history 10,000: one behavior appended, bare, ms": (
            get("long append", (LONG, TYPICAL[1]), 1, "p50"),
            f"below {APPEND_MS}",
        ),
    }


def _add(
    figures: dict[str, Any], kind: str, history: int, candidates: int, clients: int, found: dict[str, Any]
) -> None:
    figures.setdefault(kind, []).append({"history": history, "candidates": candidates, "clients": clients, **found})
    shown = ", ".join(f"{name} {found[name]:,.2f}" for name in found if name != "repeats")
    print(f"{kind:17} history {history:5,}, {candidates:5,} candidates, {clients:2} clients: {shown}", flush=True)


def _export(
    name: str, items: int, model: str = "", longest: int = max(HISTORIES), read: int = 0, **changes: Any
) -> str:
    """Exports a model of users whose histories are as long as the longest; it reads all of them, or so many."""
    import keras

    from atrank_tf.data import IdMaps
    from atrank_tf.models import MODELS
    from atrank_tf.saved_model import export_model

    logs = generated_logs(name, np.full(200_000 // longest, longest + 10), items)
    records = prepared(logs, BUILD / "records" / name, max_length=read or longest)
    experiment = experiments()[model or _MODEL.value]
    keras.utils.set_random_seed(1)
    ranker = MODELS[experiment.name](records.schema, catalogs=records.catalogs, **(vars(experiment.model) | changes))
    return export_model(ranker, IdMaps.of(records), str(BUILD / "export" / f"{experiment.name}_{name}"))


def _request(history: int, candidates: int) -> dict[str, Any]:
    random = np.random.default_rng(history * 10_007 + candidates)
    return {
        "now": np.array([_NOW]),
        "review__id": random.integers(0, ITEMS, (1, history)),
        "review__action": np.full((1, history), "review", object),
        "review__timestamp": np.sort(_NOW - random.integers(1, 300_000_000, (1, history))),
        "next_review__candidates": random.integers(0, ITEMS, (1, candidates)),
    }


def _of(model: Any, signature: str, known: dict[str, Any]) -> dict[str, Any]:
    return {name: known[name] for name in model.signatures[signature].inputs}


def _bare(model: Any, signature: str, request: dict[str, Any], clients: int, times: int = 1) -> dict[str, Any]:
    """Measures a call that runs a signature `times` times, one after the other."""

    def call() -> None:
        for _ in range(times):
            model.run(signature, request)

    call()
    return _latencies([call] * clients)


class _Server:
    """Embedded server in a process of its own."""

    def __init__(self, base_path: Path) -> None:
        flags_of_server = ["--model_name=bench", f"--model_base_path={base_path}", "--rest_api_port=0"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "atrank_tf.serve", *flags_of_server], stdout=subprocess.PIPE, text=True
        )
        ready = self._process.stdout.readline()  # type: ignore[union-attr]
        self._port = int(ready.split("//")[1].split("/")[0].split(":")[1])

    def measure(self, request: dict[str, Any], clients: int, signature: str = "serving_default") -> dict[str, Any]:
        inputs = {name: value.tolist() for name, value in request.items()}
        body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
        head = f"POST /v1/models/bench:predict HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"

        def client() -> Callable[[], None]:
            connection = socket.create_connection(("127.0.0.1", self._port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answers = connection.makefile("rb")

            def call() -> None:
                connection.sendall(head.encode() + body)
                status = answers.readline()
                length = 0
                while (line := answers.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                answer = answers.read(length)
                if b" 200 " not in status:
                    raise RuntimeError(answer.decode())

            call()
            return call

        return _latencies([client() for _ in range(clients)])

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def _latencies(calls: list[Callable[[], None]]) -> dict[str, Any]:
    """Returns milliseconds by share of the calls, and calls per second, of calls repeated in a thread each."""
    found: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + _SECONDS.value

    def work(place: int) -> None:
        while time.perf_counter() < end or len(found[place]) < 3:
            started = time.perf_counter()
            calls[place]()
            found[place].append(time.perf_counter() - started)

    started = time.perf_counter()
    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = np.concatenate(found)
    p50, p95, p99 = np.quantile(every, [0.5, 0.95, 0.99]) * 1e3
    per_second = len(every) / (time.perf_counter() - started)
    thirds = [
        1e3 * float(np.median(np.concatenate(part)))
        for part in zip(*(np.array_split(own, 3) for own in found), strict=True)
    ]
    return {"p50": p50, "p95": p95, "p99": p99, "per_second": per_second, "repeats": {"p50": thirds}}


if __name__ == "__main__":
    command.run(main)
