"""How many candidates one request may ask to be scored, by how long a memory: what a ranker's time grows with."""

import math
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from atrank_tf.server.errors import Code, ServingError, shown

MAX_CANDIDATES = 100_000

MAX_MEMORY_READS = 20_000_000
"""Most candidates times behaviors of a memory: 100,000 candidates may read 200 behaviors, 20,000 may read 1,000."""

# What `request_signature` calls them: <task>_candidates.
_SUFFIX = "_candidates"

# What `encode_user` gives with a place for each behavior. It comes back from clients: no `max_length` cuts it.
_MEMORY = ("memory", "mask", "timestamp", "object", "action")


def check_tensors(tensors: Mapping[str, NDArray[Any]], most: int, most_reads: int = MAX_MEMORY_READS) -> None:
    """Checks the tensors of a predict call, by name.

    There are as many users as the longest input has rows: a graph may broadcast one user's candidates to all of them.

    Raises:
      ServingError: INVALID_ARGUMENT, if all users together have more than `most` candidates; or if a memory comes with
        them, and candidates times its behaviors are more than `most_reads`.
    """
    users = max((len(tensor) for tensor in tensors.values() if tensor.ndim), default=1)
    counts = {name: users * math.prod(tensor.shape[1:]) for name, tensor in tensors.items()}
    _check(counts, most)
    parts = [tensors[name] for name in _MEMORY if name in tensors] if "memory" in tensors else []
    length = max((tensor.shape[1] for tensor in parts if tensor.ndim > 1), default=0)
    for name, count in counts.items():
        if name.endswith(_SUFFIX) and count * length > most_reads:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Expected at most {most_reads} candidates times behaviors of a memory in a request. Received: {count} "
                f"in {shown(name)!r}, times {length}. Send several requests, or a memory of the newest behaviors.",
            )


def check_examples(document: Mapping[str, Any], most: int) -> None:
    """Checks the features of a classify or regress call: of its context and of its examples, which are objects.

    Raises:
      ServingError: INVALID_ARGUMENT, if all examples together have more than `most` candidates.
    """
    examples: list[Mapping[str, Any]] = document["examples"]
    shared = {name: _length(values) for name, values in document.get("context", {}).items() if name.endswith(_SUFFIX)}
    counts = {name: length * len(examples) for name, length in shared.items()}
    for example in examples:
        for name, values in example.items():
            if name.endswith(_SUFFIX):  # in place of what the context says
                counts[name] = counts.get(name, 0) + _length(values) - shared.get(name, 0)
    _check(counts, most)


def _length(values: Any) -> int:
    return len(values) if isinstance(values, list) else 0


def _check(counts: Mapping[str, int], most: int) -> None:
    for name, count in counts.items():
        if name.endswith(_SUFFIX) and count > most:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Expected at most {most} candidates in a request. Received: {count} in {shown(name)!r}. Send "
                "several requests.",
            )
