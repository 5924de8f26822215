"""Smoke test of an installed package, outside the repository, in an empty folder: `python smoke.py`.

It simulates a small market, prepares it, trains for one epoch, evaluates and exports; then it loads the export as the
server does, and sends it a request; then it starts the server, and looks how it treats its connections.
"""

import json
import re
import socket
import subprocess
import sys
from importlib import resources
from pathlib import Path

import atrank_tf
from atrank_tf.server import RestApi, ServedModel

EXPERIMENT = """
[model]
name = "atrank"
hidden_dim = 16
num_spaces = 2
intermediate_dim = 16
hidden_units = [16]

[training]
epochs = 1
"""
REQUEST = {
    "signature_name": "score__next_product",
    "instances": [
        {
            "now": 1_712_000_000,
            "product__id": [1, 2],
            "product__action": ["click", "cart"],
            "product__timestamp": [1_711_000_000, 1_711_900_000],
            **{f"{group}__{part}": [] for group in ("query", "coupon") for part in ("id", "action", "timestamp")},
            "next_product__candidates": [3, 4, 999_999],
        }
    ],
}


def run(command: str, **flags: object) -> str:
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    done = subprocess.run([sys.executable, "-m", f"atrank_tf.{command}", *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stdout}{done.stderr}")
    print(f"   {command}: {done.stdout.strip().splitlines()[-1][:100]}")
    return done.stdout


def main() -> None:
    installed = Path(atrank_tf.__file__).resolve()
    if not installed.is_relative_to(Path(sys.prefix).resolve()):
        sys.exit(f"Expected the package of {sys.prefix}. Found {installed}.")
    schema = resources.files("atrank_tf.datasets") / "market.schema.toml"
    Path("experiment.toml").write_text(EXPERIMENT)
    run("simulate", users=200, seed=1, logs="logs")
    run("prepare", logs="logs", schema=schema, records="records")
    run("train", records="records", config="experiment.toml", model_dir="model")
    metrics = json.loads(run("evaluate", records="records", model_dir="model").splitlines()[-1])
    if set(metrics) != {"next_product", "next_query", "next_coupon"}:
        sys.exit(f"Expected the metrics of three tasks. Received: {metrics}.")
    version = run("export", model_dir="model", export_dir="export").strip()
    served = ServedModel("market", "export")
    served.start()
    answer = RestApi(served).answer("POST", "/v1/models/market:predict", json.dumps(REQUEST).encode())
    served.close()
    scores = json.loads(answer.body).get("predictions", [[]])[0]
    if answer.status != 200 or len(scores) != 3 or not all(isinstance(score, float) for score in scores):
        sys.exit(f"Expected three scores from {version}. Received: {answer.status} {answer.body!r}.")
    print(f"   {version} answers: {scores}")
    check_connections()


def check_connections() -> None:
    """Starts the server: whether it closes silent and half-sent connections depends on the version of aiohttp."""
    flags = ["--model_base_path=export", "--rest_api_port=0", "--rest_api_keepalive_seconds=1"]
    with subprocess.Popen(
        [sys.executable, "-m", "atrank_tf.serve", *flags], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            port = int(re.search(r":(\d+)/", server.stdout.readline())[1])
            for sent in (b"", b"POST /v1/models", b"GET /v1/models/default HTTP/1.1\r\nHost: x\r\n"):
                with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                    connection.sendall(sent)
                    if connection.recv(1000):
                        sys.exit(f"Expected a closed connection after {sent!r}.")
            for sent in (b"GET /v1/models/default HTTP/1.1\r\nHost: x\r\n\r\n", b"NONSENSE\r\n\r\n"):
                with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                    connection.sendall(sent)
                    connection.shutdown(socket.SHUT_WR)
                    answer = connection.recv(10_000)
                if not answer.startswith(b"HTTP/1.") or b"aiohttp" in answer:
                    sys.exit(f"Expected an answer that does not name aiohttp. Received: {answer!r}.")
        finally:
            server.terminate()
    print("   silent and half-sent connections are closed, half-closed ones answered")


if __name__ == "__main__":
    main()
