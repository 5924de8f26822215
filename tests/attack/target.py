"""The server that is attacked: the command in a process of its own, with an untrained model, and what it takes."""

import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATH = "/v1/models/m:predict"
STATUS = b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
GOOD = {
    "now": [9],
    "click__id": [[7, 8]],
    "click__action": [["view", "view"]],
    "click__timestamp": [[3, 4]],
    "next__candidates": [[7, 8, 9]],
}


def export(folder: Path) -> None:
    """Exports an untrained model of usual size as the next version of a base path."""
    sys.path.insert(0, str(ROOT / "tests"))
    import small_records

    from atrank_tf import Records, TimelineATRank
    from atrank_tf.data import IdMaps
    from atrank_tf.saved_model import export_model

    small_records.write(folder)
    records = Records(str(folder))
    model = TimelineATRank(records.schema, catalogs=records.catalogs, hidden_dim=64, num_spaces=4)
    export_model(model, IdMaps.of(records), str(folder / "versions"), explain=True)


class Server:
    """`python -m atrank_tf.serve` on a free port, which answers in 5 s and keeps silent connections for 2 s.

    Args:
        base_path: folder of versions.
        files: how many files it may have open. Defaults to 256, of which 128 may be connections.
        **flags: more flags.
    """

    def __init__(self, base_path: Path, *, files: int = 256, **flags: object) -> None:
        given = {"rest_api_port": 0, "rest_api_timeout_in_ms": 5000, "rest_api_keepalive_seconds": 2, **flags}
        arguments = [f"--{name}={value}" for name, value in given.items()]
        command = [sys.executable, "-m", "atrank_tf.serve", "--model_name=m", f"--model_base_path={base_path}"]
        self.base, self.log = base_path, base_path.parent / "log"
        self.process = subprocess.Popen(
            ["bash", "-c", f'ulimit -n {files}; exec "$@"', "bash", *command, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
        )
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"Expected a server. It said: {self.log.read_text()}")
        self.port = int(re.search(r":(\d+)/", line)[1])

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def connect(self, sent: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(sent)
        return connection

    def post(self, body: bytes, *, gzip: bool = False) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", PATH, body, {"Content-Encoding": "gzip"} if gzip else {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def is_well(self) -> bool:
        status, answer = self.post(json.dumps({"inputs": GOOD}).encode())
        return status == 200 and len(json.loads(answer)["outputs"][0]) == 3

    def memory(self, what: str = "VmRSS") -> int:
        """MiB that it has now, or had at most (`VmHWM`) since `forget`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) // 1024

    def forget(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stop(self) -> float:
        """Seconds from SIGTERM to the end of the process."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return time.monotonic() - started


class Watcher(threading.Thread):
    """An honest client: asks for the status again and again, and notes how long each answer took."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server, self._over = server, threading.Event()
        self.seconds: list[float] = []
        self.failed = 0

    def run(self) -> None:
        while not self._over.wait(0.01):
            started = time.monotonic()
            try:
                with self._server.connect(
                    b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                ) as connection:
                    self.failed += not connection.recv(100).startswith(b"HTTP/1.1 200 ")
            except OSError:
                self.failed += 1
            self.seconds.append(time.monotonic() - started)

    def __enter__(self) -> "Watcher":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
