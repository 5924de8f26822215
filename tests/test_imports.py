"""Imports run downward only, floor by floor; rooms of one floor do not import each other."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import atrank_tf

PACKAGE = Path(__file__).parents[1] / "atrank_tf"
FLOORS = [
    {"schema", "layers", "version"},
    {"data", "models"},
    {"training", "evaluation", "explanation", "datasets", "serving"},
    {"quiet", "command", "simulate", "prepare", "train", "evaluate", "explain", "export", "serve"},
]
ALLOWED_BESIDE = {("models", "data")}
"""Models take the catalogs that the data room reads."""
SERVING = ["loading", "rest", "export", "http"]
"""Folders of serving: each may import those before it, and what lies beside them all."""


def _floor(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def _rooms() -> list[str]:
    return sorted(p.stem for p in PACKAGE.iterdir() if p.stem not in ("__init__", "__pycache__", "py"))


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("atrank_tf"):
            rest = node.module.split(".")[1:]
            names |= {rest[0]} if rest else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("atrank_tf.")}
    return names


def test_every_room_stands_on_a_floor() -> None:
    assert set(_rooms()) - {"py.typed"} <= {room for rooms in FLOORS for room in rooms}


@pytest.mark.parametrize("room", _rooms())
def test_imports_run_downward(room: str) -> None:
    place = PACKAGE / room
    files = place.rglob("*.py") if place.is_dir() else [PACKAGE / f"{room}.py"]
    for path in files:
        for other in _imported(path) - {room}:
            downward = _floor(other) < _floor(room) or (room, other) in ALLOWED_BESIDE
            command = _floor(room) == 3 and other in ("command", "quiet")
            assert downward or command, f"{path.relative_to(PACKAGE)} imports {other}"


@pytest.mark.parametrize("folder", SERVING)
def test_imports_within_serving_run_downward(folder: str) -> None:
    lower = SERVING[: SERVING.index(folder) + 1]
    place = PACKAGE / "serving"
    assert {path.name for path in place.iterdir() if path.is_dir()} - {"__pycache__"} == set(SERVING)
    for path in [*place.glob("*.py"), *(place / folder).glob("*.py")]:
        if path.name == "__init__.py":
            continue
        found = re.findall(r"from atrank_tf\.serving\.(\w+)", path.read_text())
        upper = set(found) & set(SERVING) - set(lower if path.parent.name == folder else ())
        assert not upper, f"{path.relative_to(PACKAGE)} imports {sorted(upper)}"


def test_tensorflow_datasets_is_imported_with_the_builders_only() -> None:
    code = """
import sys, atrank_tf
assert "tensorflow_datasets" not in sys.modules
assert "complete_journey" in atrank_tf.datasets.SOURCES
import tensorflow_datasets as tfds
assert tfds.builder_cls("complete_journey") is atrank_tf.datasets.CompleteJourney
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_apache_beam_is_imported_with_its_engine_only() -> None:
    code = "import sys, atrank_tf.prepare, atrank_tf.data.prepare; sys.exit('apache_beam' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=True)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'atrank_tf' has no attribute 'dataset'"):
        _ = atrank_tf.dataset
