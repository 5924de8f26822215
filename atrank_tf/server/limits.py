"""Limits of what one request may cost: candidates, reads of a memory, and values of an answer.

A ranker's time and memory grow with the candidates of a request, and with candidates times the behaviors of an encoded
history that comes back with them. Which inputs hold those, a SavedModel says itself, in
`<version>/assets.extra/limited_inputs.json`; of one that says nothing only body and answer are limited.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from atrank_tf.files import load_json, write_json
from atrank_tf.server.errors import invalid, shown

_FILE = "assets.extra/limited_inputs.json"


@dataclasses.dataclass(frozen=True)
class LimitedInputs:
    """Names of the inputs of a SavedModel whose sizes a server limits.

    Attributes:
        candidates: inputs [users, candidates, ...] that hold what is to be scored.
        memory: inputs [users, behaviors, ...] that hold an encoded history, which no `max_length` cuts.
    """

    candidates: frozenset[str] = frozenset()
    memory: frozenset[str] = frozenset()


def write_limited_inputs(saved_model_dir: str, inputs: LimitedInputs) -> None:
    """Writes beside a SavedModel which of its inputs a server limits."""
    path = Path(saved_model_dir) / _FILE
    path.parent.mkdir(exist_ok=True)
    write_json(path, {name: sorted(names) for name, names in vars(inputs).items()})


def read_limited_inputs(saved_model_dir: str) -> LimitedInputs:
    """Returns which inputs of a SavedModel a server limits; none where it does not say.

    Raises:
        ValueError: the file is damaged.
    """
    path = Path(saved_model_dir) / _FILE
    if not path.is_file():
        return LimitedInputs()
    listed = load_json(path, "Export again, or bring back a copy of the file.")
    return LimitedInputs(frozenset(listed.get("candidates", ())), frozenset(listed.get("memory", ())))


def check_inputs(
    tensors: Mapping[str, NDArray[Any]], limited: LimitedInputs, *, max_candidates: int, max_memory_reads: int
) -> None:
    """Checks the tensors of a predict call before the model runs.

    There are as many users as the longest input has rows: a graph may broadcast one user's candidates to all of them.

    Args:
        tensors: name -> array.
        limited: which of them count.
        max_candidates: most candidates of all users together.
        max_memory_reads: most candidates times behaviors of a memory.

    Raises:
        ServingError: INVALID_ARGUMENT for more of either.
    """
    users = max((len(tensor) for tensor in tensors.values() if tensor.ndim), default=1)
    memory = [tensor for name, tensor in tensors.items() if name in limited.memory]
    behaviors = max((tensor.shape[1] for tensor in memory if tensor.ndim > 1), default=0)
    for name, tensor in tensors.items():
        if name not in limited.candidates:
            continue
        count = users * math.prod(tensor.shape[1:])
        if count > max_candidates:
            raise invalid(
                f"Expected at most {max_candidates} candidates in a request. Received: {count} in {shown(name)!r}. "
                "Send several requests."
            )
        if count * behaviors > max_memory_reads:
            raise invalid(
                f"Expected at most {max_memory_reads} candidates times behaviors of a memory in a request. Received: "
                f"{count} in {shown(name)!r}, times {behaviors}. Send several requests, or a memory of the newest "
                "behaviors."
            )


def check_outputs(outputs: Mapping[str, NDArray[Any]], *, max_output_values: int) -> None:
    """Checks what a model gave before it is written.

    Args:
        outputs: name -> array of any shape.
        max_output_values: most values of all of them together.

    Raises:
        ServingError: INVALID_ARGUMENT, if there are more.
    """
    count = sum(array.size for array in outputs.values())
    if count > max_output_values:
        largest = max(outputs, key=lambda name: outputs[name].size)
        raise invalid(
            f"Expected at most {max_output_values} values in an answer. Received: {count}, most of them in {largest!r} "
            f"of shape {list(outputs[largest].shape)}. Ask for fewer users, candidates or behaviors at once."
        )
