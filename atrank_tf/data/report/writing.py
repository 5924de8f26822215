"""The two files of the report in a records folder."""

import json
import time
from typing import Any

import tensorflow as tf

from atrank_tf.data.records import Records
from atrank_tf.data.report.measuring import measure
from atrank_tf.data.report.page import page

_JSON, _PAGE = "report.json", "report.html"


def write_report(path: str) -> None:
    """Measures what is in a records folder; writes `report.json` and `report.html` into it."""
    report = measure(Records(path), now=int(time.time()))
    with tf.io.gfile.GFile(f"{path}/{_JSON}", "w") as file:
        file.write(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    with tf.io.gfile.GFile(f"{path}/{_PAGE}", "w") as file:
        file.write(page(report))


def load_report(path: str) -> dict[str, Any]:
    """Reads the report of a records folder.

    Raises:
        FileNotFoundError: it has none.
    """
    if not tf.io.gfile.exists(f"{path}/{_JSON}"):
        raise FileNotFoundError(f"Expected {_JSON} in {path}. Make records with python -m atrank_tf.prepare.")
    with tf.io.gfile.GFile(f"{path}/{_JSON}", "r") as file:
        report: dict[str, Any] = json.loads(file.read())
    return report
