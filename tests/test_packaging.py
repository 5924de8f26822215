"""What is packed and what it needs, as setup.cfg says; `make test-environments` tries the real thing."""

import configparser
import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

import atrank_tf

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def environments() -> ModuleType:
    """`release/environments.py` as a module."""
    spec = importlib.util.spec_from_file_location("environments", ROOT / "release/environments.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def config() -> configparser.ConfigParser:
    found = configparser.ConfigParser(comment_prefixes=("#",))
    found.read(ROOT / "setup.cfg")
    return found


def test_every_file_of_the_package_is_packed(config: configparser.ConfigParser) -> None:
    listed = subprocess.run(["git", "ls-files", "atrank_tf"], cwd=ROOT, capture_output=True, text=True, check=True)
    other = {Path(name).relative_to("atrank_tf") for name in listed.stdout.split() if not name.endswith(".py")}
    patterns = config["options.package_data"]["atrank_tf"].split(", ")
    assert {path for path in other if not any(path.match(pattern) for pattern in patterns)} == set()
    for pattern in patterns:
        assert any(path.match(pattern) for path in other), f"{pattern} in setup.cfg matches nothing"


def test_every_folder_of_the_package_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "atrank_tf").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_version_is_said_once(config: configparser.ConfigParser) -> None:
    assert config["metadata"]["version"] == "attr: atrank_tf.version.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", atrank_tf.__version__)
    assert f"## [{atrank_tf.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_requirement_has_both_ends_and_the_oldest_can_be_asked_for(environments: ModuleType) -> None:
    lines = environments.requirements("serving")
    assert all(re.fullmatch(r"[a-z0-9-]+>=[\d.]+,<[\d.]+", line) for line in lines)
    oldest = environments.oldest_versions()
    assert "keras==3.15" in oldest and len(oldest) == len(lines)
    assert [line.split("==")[0] for line in oldest] == [line.split(">=")[0] for line in lines]
    assert list(environments.dev_requirement("mypy")) == [
        line for line in environments.requirements("dev") if "mypy" in line
    ]
