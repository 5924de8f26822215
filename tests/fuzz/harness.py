"""How every fuzz target starts: atheris, which watches what code an input reaches, and inputs that are right."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import atheris

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

SCHEMA = """
[tables]
item = { dim = 2, min_count = 1 }
tag = { dim = 2 }

[entities.item]
id = { column = "item_id", table = "item" }
features = { tags = { table = "tag", max_values = 3, separator = "|" } }
dense = ["price"]

[groups.click]
entity = "item"
actions = ["view", "buy"]
max_length = 10

[tasks.next]
group = "click"
candidates = "impressions"
[tasks.next.context]
features = { slot = "tag" }
dense = ["score"]

[user]
features = { age = "tag" }

[split]
kind = "by_time"
validation_from = 1970-03-01
test_from = 1970-03-15T12:00:00Z
"""
"""Of a small world with everything in it."""


@contextmanager
def watched() -> Iterator[None]:
    """Coverage of the package's modules that are imported within."""
    with atheris.instrument_imports(include=["atrank_tf", "tomllib"]):
        yield


def scratch() -> Path:
    """A folder in memory, where there is one."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))


def main(target: str, one: Callable[[bytes], None], right: Iterable[bytes]) -> None:
    """Fuzzes `one`, which raises for what it should not have done; `right` are inputs to begin with."""
    corpus = next((Path(argument) for argument in sys.argv[1:] if Path(argument).is_dir()), None)
    for number, content in enumerate(right):
        one(content)
        if corpus:
            (corpus / f"right-{target}-{number}").write_bytes(content)
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
