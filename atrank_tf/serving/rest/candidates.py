"""How many candidates one request may ask to be scored: what a ranker's time and memory grow with."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from atrank_tf.serving.errors import Code, ServingError

MAX_CANDIDATES = 100_000

# What `request_signature` calls them: <task>_candidates.
_SUFFIX = "_candidates"


def check_tensors(tensors: Mapping[str, NDArray[Any]], most: int) -> None:
    """Checks the tensors of a predict call, by name.

    Raises:
      ServingError: INVALID_ARGUMENT, if all users together have more than `most` candidates.
    """
    _check({name: tensor.size for name, tensor in tensors.items()}, most)


def check_examples(document: Mapping[str, Any], most: int) -> None:
    """Checks the features of a classify or regress call: of its context and of its examples, which are objects.

    Raises:
      ServingError: INVALID_ARGUMENT, if all examples together have more than `most` candidates.
    """
    counts: dict[str, int] = {}
    context = document.get("context", {})
    for example in document["examples"]:
        for name, values in (context | example).items():
            if name.endswith(_SUFFIX) and isinstance(values, list):
                counts[name] = counts.get(name, 0) + len(values)
    _check(counts, most)


def _check(counts: Mapping[str, int], most: int) -> None:
    for name, count in counts.items():
        if name.endswith(_SUFFIX) and count > most:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Expected at most {most} candidates in a request. Received: {count} in {name!r}. Send "
                "several requests.",
            )
