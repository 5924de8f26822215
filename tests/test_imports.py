"""Imports run downward only, floor by floor; rooms of one floor do not import each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import atrank_tf

PACKAGE = Path(__file__).parents[1] / "atrank_tf"
_LOWER = {
    "paths",
    "progress",
    "stores",
    "schema",
    "experiment",
    "files",
    "layers",
    "optimizers",
    "losses",
    "metrics",
    "data",
    "pages",
    "report",
    "models",
    "types",
    "version",
}
_ALL = {
    *_LOWER,
    "preparation",
    "description",
    "training",
    "evaluation",
    "explanation",
    "datasets",
    "saved_model",
    "server",
    "command",
}
MAY_IMPORT: dict[str, set[str]] = {
    "version": set(),
    "types": set(),
    "schema": set(),
    "experiment": {"schema"},
    "paths": set(),
    "progress": set(),
    "stores": {"paths", "progress"},
    "files": {"paths"},
    "layers": {"types"},
    "optimizers": set(),
    "losses": {"types"},
    "metrics": {"types"},
    "data": {"schema", "experiment", "files", "progress", "types"},
    "pages": set(),
    "report": {"schema", "experiment", "files", "data", "pages", "types"},
    "preparation": {"schema", "files", "data", "report", "paths", "progress", "stores", "version"},
    "models": {"schema", "experiment", "layers", "optimizers", "losses", "metrics", "data", "types"},
    **dict.fromkeys(("training", "evaluation", "explanation"), _LOWER),
    "datasets": {"schema", "files", "data", "preparation", "progress"},
    "server": {"files", "paths", "stores"},
    "saved_model": {"schema", "files", "data", "layers", "models", "server", "types", "paths"},
    "command": {"paths", "stores"},
    "description": {"schema", "files", "preparation", "paths"},
    **dict.fromkeys(("simulate", "describe", "prepare", "train", "evaluate", "explain", "export", "serve"), _ALL),
}
"""Room -> the rooms that it stands on."""
SERVER = [
    *("errors", "protos", "metrics", "settings", "limits", "version_checksums", "loader", "versions", "config_files"),
    *("json_request", "json_tensors", "json_response", "examples", "warmup", "work_budget", "served_model"),
    *("served_models", "rest_api", "connections", "access_log", "http_handler", "http_server", "client"),
    "upstream_flags",
]
"""The modules of server as one may read them: each stands on some before it."""


def _rooms() -> list[str]:
    return sorted(p.stem for p in PACKAGE.iterdir() if p.stem not in ("__init__", "__pycache__", "py"))


def _imported(code: str, package: str = "atrank_tf") -> set[str]:
    """What code takes of a package: of `from a.b.c import d`, `from a import b` and `import a.b.c`, b of package a.

    An import that does not say so is "a relative import", or "everything" where the package itself is imported.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.level:
            names.add("a relative import")
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} if node.module.startswith(f"{package}.") else set()
        elif isinstance(node, ast.Import):
            modules = {alias.name for alias in node.names}
            names |= {module for module in modules if module.startswith(f"{package}.")}
            names |= {"everything"} if package in modules else set()
    return {name.removeprefix(f"{package}.").split(".")[0] for name in names}


def test_every_way_to_import_is_seen() -> None:
    code = """
import atrank_tf.data.targets as chunk, numpy
from atrank_tf import schema, layers as own
from atrank_tf.models.ranker import Ranker
import atrank_tfx, os.path
def later():
    from atrank_tf.server.rest import rest_api
"""
    assert _imported(code) == {"data", "schema", "layers", "models", "server"}
    assert _imported(code, "atrank_tf.server") == {"rest"}
    assert _imported("import atrank_tf") == _imported("import numpy, atrank_tf as room") == {"everything"}
    assert _imported("from atrank_tf import *") == {"*"}
    for relative in ("from . import data", "from .data import Records", "from ..data.chunk import parse"):
        assert _imported(relative) == {"a relative import"}


def test_of_every_room_it_is_known_what_it_stands_on() -> None:
    assert set(_rooms()) == set(MAY_IMPORT)


@pytest.mark.parametrize("room", _rooms())
def test_imports_run_downward(room: str) -> None:
    place = PACKAGE / room
    files = list(place.rglob("*.py")) if place.is_dir() else [PACKAGE / f"{room}.py"]
    assert files
    for path in files:
        beside = _imported(path.read_text()) - {room} - MAY_IMPORT[room]
        assert not beside, f"{path.relative_to(PACKAGE)} imports {sorted(beside)}"


def test_imports_within_the_server_run_downward() -> None:
    paths = {path.stem: path for path in (PACKAGE / "server").glob("*.py") if path.stem != "__init__"}
    assert set(paths) == set(SERVER)
    for place, name in enumerate(SERVER):
        beside = _imported(paths[name].read_text(), "atrank_tf.server") - set(SERVER[:place])
        assert not beside, f"server/{name}.py imports {sorted(beside)}"


def test_importing_the_package_brings_nothing_heavy_and_sets_nothing() -> None:
    """TensorFlow Datasets and Apache Beam come with what needs them only."""
    code = """
import os, sys
before = dict(os.environ)
import atrank_tf
assert not {"tensorflow", "keras", "numpy"} & set(sys.modules)
assert dict(os.environ) == before
import atrank_tf.prepare, atrank_tf.preparation.make_records
for name in atrank_tf.__all__:
    getattr(atrank_tf, name)
assert not {"apache_beam", "tensorflow_datasets"} & set(sys.modules)
assert "complete_journey" in atrank_tf.datasets.SOURCES
import tensorflow_datasets as tfds
assert tfds.builder_cls("complete_journey") is atrank_tf.datasets.CompleteJourney
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", atrank_tf.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(atrank_tf, name) is not None
    assert name in dir(atrank_tf)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'atrank_tf' has no attribute 'dataset'"):
        _ = atrank_tf.dataset
