"""Load and faults together, against the command as a person starts it.

Clients ask without a pause while versions are swapped, a broken version appears, others leave in the middle and send
bad bodies: no answer is wrong, no good request is lost, the memory stays flat.
"""

import dataclasses
import http.client
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_CLIENTS = 32
_BAD = [
    '{"instances": ["x"]}',
    '{"instances": [1',
    "",
    '{"instances": [[1], [1, 2]]}',
    '{"inputs": {"z": 1}}',
    "[" * 5000,
]


@dataclasses.dataclass
class Tally:
    """What the clients have seen; each thread has its own."""

    good: int = 0
    bad: int = 0
    left: int = 0
    faults: list = dataclasses.field(default_factory=list)


class Client(threading.Thread):
    """Asks one thing after the other on a connection that it keeps, until it is told to stop.

    Version n of the model is y = n * x + 2, so that an answer tells which version gave it. A client asks after it has
    its answer, so no answer may be of an older version than the one before.
    """

    def __init__(self, port, number, stop):
        super().__init__()
        self.tally = Tally()
        self._port, self._random, self._stopping = port, random.Random(number), stop
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._version = 0

    def run(self):
        while not self._stopping.is_set() and not self.tally.faults:
            action = self._random.choices([self._ask, self._ask_badly, self._leave], [0.9, 0.07, 0.03])[0]
            try:
                action()
            except Exception as error:  # a request that was lost; the test tells of it
                self.tally.faults.append(f"{action.__name__}: {error!r}")
        self._connection.close()

    def _call(self, body):
        self._connection.request("POST", "/v1/models/m:predict", body)
        response = self._connection.getresponse()
        return response.status, response.read()

    def _ask(self):
        x = self._random.randint(1, 1000)
        status, answer = self._call(json.dumps({"instances": [x]}))
        if status != 200:
            self.tally.faults.append(f"{status} {answer!r}")
            return
        [y] = json.loads(answer)["predictions"]
        version = (y - 2) / x
        if version != int(version) or version < self._version:
            self.tally.faults.append(f"x={x} gave y={y} after version {self._version}")
        self._version = int(version)
        self.tally.good += 1

    def _ask_badly(self):
        status, answer = self._call(self._random.choice(_BAD))
        if status != 400 or list(json.loads(answer)) != ["error"]:
            self.tally.faults.append(f"a bad body: {status} {answer!r}")
        self.tally.bad += 1

    def _leave(self):
        body = b'{"instances": [1]}'
        head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        with socket.create_connection(("127.0.0.1", self._port), timeout=60) as connection:
            connection.sendall((head + body)[: self._random.randint(1, len(head + body))])
        self.tally.left += 1


class Server:
    """The command in a process of its own."""

    def __init__(self, base_path, errors):
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "atrank_tf.serve",
                "--model_name=m",
                f"--model_base_path={base_path}",
                "--rest_api_port=0",
                "--file_system_poll_wait_seconds=0.1",
            ],
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        self.port = int(re.search(r":(\d+)/", self._process.stdout.readline())[1])

    def versions(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/v1/models/m")
        statuses = json.loads(connection.getresponse().read())["model_version_status"]
        connection.close()
        return {int(status["version"]): status["state"] for status in statuses}

    def wait_for(self, version, state):
        give_up = time.monotonic() + 60
        while self.versions().get(version) != state:
            assert time.monotonic() < give_up, f"version {version} is not {state}: {self.versions()}"
            time.sleep(0.05)

    def memory(self):
        """Resident MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024

    def stop(self):
        self._process.terminate()
        self._process.communicate(timeout=60)
        return self._process.returncode


def run(tmp_path, save_affine, *, swaps, pause, growth):
    """Swaps versions under load; every third one is broken.

    Args:
      swaps: how many versions appear while the clients ask.
      pause: seconds of load before each.
      growth: MiB that the memory may grow between a third of the way and the end.
    """
    base = tmp_path / "base"
    save_affine(base / "1", slope=1.0)
    with (tmp_path / "errors.txt").open("w") as errors:
        server = Server(base, errors)
        stop = threading.Event()
        clients = [Client(server.port, number, stop) for number in range(_CLIENTS)]
        memory = []
        try:
            for client in clients:
                client.start()
            for version in range(2, 2 + swaps):
                time.sleep(pause)
                memory.append(server.memory())
                broken = version % 3 == 0
                save_affine(tmp_path / "new", slope=float(version))
                if broken:
                    (tmp_path / "new" / "variables" / "variables.index").write_bytes(b"broken")
                (tmp_path / "new").rename(base / str(version))
                server.wait_for(version, "END" if broken else "AVAILABLE")
            time.sleep(pause)
            memory.append(server.memory())
        finally:
            stop.set()
            for client in clients:
                client.join()
            code = server.stop()
    faults = [fault for client in clients for fault in client.tally.faults]
    assert faults == []
    assert code == 0
    assert "Traceback" not in (tmp_path / "errors.txt").read_text()
    total = {name: sum(getattr(client.tally, name) for client in clients) for name in ("good", "bad", "left")}
    assert min(total.values()) > 0, total
    assert memory[-1] - memory[len(memory) // 3] < growth, memory
    return total, memory


def test_swaps_and_faults_under_load(tmp_path, save_affine):
    run(tmp_path, save_affine, swaps=3, pause=1.0, growth=100.0)


@pytest.mark.slow
def test_ten_minutes_of_swaps_and_faults_under_load(tmp_path, save_affine):
    run(tmp_path, save_affine, swaps=30, pause=20.0, growth=100.0)
