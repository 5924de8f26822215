"""`make attack`: attacks the embedded server over the loopback interface, and prints a table of what came of it.

    python tests/attack/run.py [ATTACK...]

Each attack runs against a server of its own with an untrained model (`target.py`); all together take some minutes. Exit
code 1 if the server did not stand one: a right answer was not given, memory stayed, something took longer than it may.
"""

import base64
import contextlib
import gzip
import json
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from target import GOOD, PATH, STATUS, Server, Watcher, export, reset

HEAD = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
BODY = json.dumps({"inputs": GOOD}).encode()

# MiB that memory may stay above where it was: threads, arenas, executors of signatures that were not warm.
KEPT = 150


def mutated_bodies(server: Server) -> Iterator[str]:
    """2,000 bodies with bytes changed, doubled and left out: 200 or 400, never anything else."""
    rng, statuses = random.Random(1), {}
    for _ in range(2000):
        body = bytearray(BODY)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(body))
            change = rng.choice([b"", b"[", b"]", b"{", b'"', b",", b"0", b"-", b"1e999", b"null", b"\xff", body[at:]])
            body[at : at + rng.randint(0, 3)] = change
        status, _ = server.post(bytes(body))
        statuses[status] = statuses.get(status, 0) + 1
    yield ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    assert statuses.keys() <= {200, 400}, statuses


def silent_and_half_sent(server: Server) -> Iterator[str]:
    """400 connections that say nothing or half a request, with 256 files: others are answered."""
    kinds = (b"", b"POST /v1", HEAD % (PATH.encode(), 100), HEAD % (PATH.encode(), 100) + b"{")
    connections = []
    with Watcher(server) as watcher:
        for number in range(400):
            with contextlib.suppress(OSError):
                connections.append(server.connect(kinds[number % 2]))
        time.sleep(1)
        for number in range(60):
            with contextlib.suppress(OSError):
                connections.append(server.connect(kinds[2 + number % 2]))
        time.sleep(9)
    closed = sum(is_closed(connection) for connection in connections)
    size = server.log.stat().st_size
    yield f"{closed} of {len(connections)} closed after 10 s"
    yield f"{watcher.failed} of {len(watcher.seconds)} honest calls failed; log {size} bytes"
    assert closed == len(connections) and watcher.failed == 0 and size < 100_000


def slow_readers(server: Server) -> Iterator[str]:
    """20 clients that ask for 1 MB and read none of it: given up within the request's time."""
    users = {name: value * 2000 for name, value in GOOD.items()}
    body = json.dumps({"inputs": {name: users[name] for name in users}}).encode()
    small = json.dumps({"signature_name": "encode_user", "inputs": {n: v for n, v in users.items() if "__c" not in n}})
    connections = []
    for sent in (body, small.encode()):
        for _ in range(10):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(HEAD % (PATH.encode(), len(sent)) + sent)
            connections.append(connection)
    time.sleep(9)
    closed = sum(is_closed(connection, drain=True) for connection in connections)
    yield f"{closed} of {len(connections)} closed after 9 s"
    assert closed == len(connections)


def bombs(server: Server) -> Iterator[str]:
    """Small gzip bodies that inflate to 8 MB: lists, values, Examples, spaces."""
    examples = b'{"examples": [' + b"{}," * 2_600_000 + b"{}]}"
    with Watcher(server) as watcher:
        for name, body in {
            "lists": b'{"instances": [' + b"[]," * 2_700_000 + b"[]]}",
            "values": b'{"inputs": [' + b"1," * 4_000_000 + b"1]}",
            "allowed values": b'{"inputs": [' + b"1," * 999_000 + b"1]}",
            "allowed lists": b'{"inputs": [' + b"[]," * 99_990 + b"[]]}",
            "examples": examples,
            "spaces": BODY + b" " * 8_000_000,
            "too long": b" " * 90_000_000,
        }.items():
            started = time.monotonic()
            status, _ = server.post(gzip.compress(body), gzip=True)
            yield f"{name}: {status} in {time.monotonic() - started:.2f} s"
            assert status == (200 if name == "spaces" else 400)
    yield f"others waited {1000 * max(watcher.seconds):.0f} ms at most"
    assert watcher.failed == 0


def unfinished_uploads(server: Server) -> Iterator[str]:
    """60 uploads of 8 MiB without the last byte."""
    before = server.memory()
    connections = []

    def upload() -> None:
        with contextlib.suppress(OSError):
            connection = server.connect(HEAD % (PATH.encode(), 8 << 20))
            connections.append(connection)
            connection.sendall(b" " * ((8 << 20) - 1))

    threads = [threading.Thread(target=upload) for _ in range(60)]
    for thread in threads:
        thread.start()
    server.forget()
    time.sleep(2)
    well = server.is_well()
    yield f"+{server.memory('VmHWM') - before} MiB while they come; an honest call {'was' if well else 'not'} answered"
    for connection in connections:
        reset(connection)
    for thread in threads:
        thread.join()
    assert well and server.memory("VmHWM") - before < 200


def padded_examples(server: Server) -> Iterator[str]:
    """10,000 Examples, one with 1,000 candidates, and 12,000 users with 64 behaviors."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from raw_requests import example

    clicks = {"click__id": [7] * 64, "click__action": ["view"] * 64, "click__timestamp": [3] * 64}
    short, long, active = (
        {"b64": base64.b64encode(example({"now": [9], "next__candidates": [7] * count, **more})).decode()}
        for count, more in ((1, {}), (1000, {}), (1, clicks))
    )
    before = server.memory()
    for name, users, expected in (
        ("1,000 candidates among 10,000 Examples", [long] + [short] * 9999, 400),
        ("12,000 users with 64 behaviors", [active] * 12_000, 400),
        ("1,000 users with 64 behaviors", [active] * 1000, 200),
    ):
        server.forget()
        started = time.monotonic()
        body = json.dumps({"signature_name": "rank", "inputs": {"examples": users}}).encode()
        status, _ = server.post(gzip.compress(body) if len(body) < 8 << 20 else body, gzip=len(body) < 8 << 20)
        took = server.memory("VmHWM") - before
        yield f"{name}: {status} in {time.monotonic() - started:.1f} s, +{took} MiB"
        assert status in (expected, 413), status
    with contextlib.ExitStack() as stack:
        threads = [threading.Thread(target=server.post, args=[body]) for _ in range(16)]
        server.forget()
        for thread in threads:
            thread.start()
        stack.callback(lambda: [thread.join() for thread in threads])
    until = time.monotonic() + 5  # Memory goes back once an answer is on its way.
    while server.memory() - before >= KEPT and time.monotonic() < until:
        time.sleep(0.1)
    yield f"16 of the last at once: {server.memory('VmHWM')} MiB in all; then +{server.memory() - before} MiB"
    assert server.memory("VmHWM") < 2048 and server.memory() - before < KEPT


def stuck_reader_at_the_end(server: Server) -> Iterator[str]:
    """SIGTERM while a client does not read and another does not send."""
    with server.connect(HEAD % (PATH.encode(), 100)), server.connect() as reader:
        users = {name: value * 2000 for name, value in GOOD.items() if "__c" not in name}
        sent = json.dumps({"signature_name": "encode_user", "inputs": users}).encode()
        reader.sendall(HEAD % (PATH.encode(), len(sent)) + sent)
        time.sleep(1)
        seconds = server.stop()
    yield f"ended after {seconds:.1f} s with code {server.process.returncode}"
    assert seconds <= 8 and server.process.returncode == 0


def swaps_and_kills(server: Server) -> Iterator[str]:
    """32 clients while versions come and are taken away, and a server that is killed and started again."""
    base, times = server.base, []
    wrong, asked, over = [], [], threading.Event()

    def ask() -> None:
        while not over.is_set():
            begun = time.monotonic()
            status, answer = server.post(BODY)
            asked.append((begun, time.monotonic() - begun))
            if status != 200 or len(json.loads(answer)["outputs"][0]) != 3:
                wrong.append((status, answer))

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    time.sleep(5)
    first = time.monotonic()
    for number in (2, 3):
        shutil.copytree(base / "1", base / "copy")
        (base / "copy").rename(base / str(number))
        started = time.monotonic()
        while b'"version": "%d",\n            "state": "AVAILABLE"' % number not in status_of(server):
            time.sleep(0.1)
        times.append(time.monotonic() - started)
    over.set()
    for thread in threads:
        thread.join()
    yield f"{len(wrong)} of {len(asked)} answers wrong; swaps of {', '.join(f'{seconds:.0f} s' for seconds in times)}"
    before, meanwhile = (
        sorted(seconds for begun, seconds in asked if (begun > first) == during) for during in (False, True)
    )
    p99 = [1000 * seconds[len(seconds) * 99 // 100] for seconds in (before, meanwhile)]
    yield f"p99 {p99[0]:.0f} ms before, {p99[1]:.0f} ms meanwhile"
    server.process.kill()
    with Server(base) as again:
        well = again.is_well()
        yield f"started again after a kill: {'well' if well else 'not well'}"
    for number in (2, 3):
        shutil.rmtree(base / str(number))
    assert well and not wrong


def status_of(server: Server) -> bytes:
    with server.connect(STATUS) as connection:
        answer = b""
        while more := connection.recv(10_000):
            answer += more
    return answer


def is_closed(connection: socket.socket, *, drain: bool = False) -> bool:
    connection.settimeout(1)
    try:
        while received := connection.recv(1 << 16):
            if not drain and not received.startswith(b"HTTP/1.1 50"):
                return False
        return True
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    finally:
        connection.close()


ATTACKS: list[Callable[[Server], Iterator[str]]] = [
    mutated_bodies,
    silent_and_half_sent,
    slow_readers,
    bombs,
    unfinished_uploads,
    padded_examples,
    swaps_and_kills,
    stuck_reader_at_the_end,
]


def main(*names: str) -> int:
    stood = True
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder))
        sys.stdout.write("| attack | what came of it |\n|---|---|\n")
        for attack in ATTACKS:
            if names and attack.__name__ not in names:
                continue
            told, verdict = [], ""
            with Server(Path(folder) / "versions") as server:
                try:
                    told += attack(server)
                    if server.process.poll() is None and not server.is_well():
                        raise AssertionError("not well afterwards")
                except (AssertionError, OSError) as error:
                    stood, verdict = False, f" **FAILED** {error!r}"
            sys.stdout.write(f"| {attack.__doc__.strip().rstrip('.')} | {'; '.join(told)}{verdict} |\n")
            sys.stdout.flush()
    return 0 if stood else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
