"""Smoke test of an installed package, outside the repository, in an empty folder: `python smoke.py`.

It simulates a small market, prepares it, trains for one epoch, evaluates and exports; then it loads the export as the
server does, and sends it a request.
"""

import json
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


if __name__ == "__main__":
    main()
