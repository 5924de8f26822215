"""The two files of the report in a records folder."""

import time
from typing import Any

import tensorflow as tf

from atrank_tf.data.records import Records
from atrank_tf.files import load_json, write_json, write_text
from atrank_tf.report.measuring import measure
from atrank_tf.report.page import page

_JSON, _PAGE = "report.json", "report.html"
_MAKE_AGAIN = "Make the records again with python -m atrank_tf.prepare --overwrite."


def write_report(path: str) -> None:
    """Measures what is in a records folder; writes `report.json` and `report.html` into it."""
    report = measure(Records(path), now=int(time.time()))
    write_json(f"{path}/{_JSON}", report)
    write_text(f"{path}/{_PAGE}", page(report))


def load_report(path: str) -> dict[str, Any]:
    """Reads the report of a records folder.

    Raises:
        FileNotFoundError: it has none.
        ValueError: it is damaged.
    """
    if not tf.io.gfile.exists(f"{path}/{_JSON}"):
        raise FileNotFoundError(f"Expected {_JSON} in {path}. {_MAKE_AGAIN}")
    return load_json(f"{path}/{_JSON}", _MAKE_AGAIN)
