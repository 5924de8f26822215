"""Limits of what one request may cost: lists and values of its body, candidates, memory, and values of its answer.

A ranker's time and memory grow with the candidates of a request, with candidates times behaviors and, in
self-attention, with the square of the behaviors; padding several users to the longest multiplies all of it. What the
inputs hold and what they cost, a SavedModel says itself, in `<version>/assets.extra/limited_inputs.json`; of one that
says nothing only body and answer are limited.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from atrank_tf.files import load_json, write_json
from atrank_tf.server.errors import invalid, shown
from atrank_tf.server.settings import ServerSettings

_FILE = "assets.extra/limited_inputs.json"

# The input of a memory that has one value for each behavior.
_MASK = "mask"

# What one value takes in a tensor of strings and in those that are made of it: 24 bytes, pointers, rows of tables.
_VALUE_BYTES = 100


@dataclasses.dataclass(frozen=True)
class Cost:
    """Bytes that a model takes for a request while it runs, an upper estimate.

    Attributes:
        pair: int. For each pair of a user's behaviors that see each other.
        seen: int. Most behaviors that each one sees; 0 for all.
        behavior: int. For each behavior.
        read: int. For each behavior that a candidate reads.
        candidate: int. For each candidate.
    """

    pair: int = 0
    seen: int = 0
    behavior: int = 0
    read: int = 0
    candidate: int = 0

    def of_user(self, behaviors: Any, memory: Any, candidates: Any, smaller: Callable[[Any, Any], Any] = min) -> Any:
        """Returns the bytes for a user: behaviors to encode, behaviors of a memory that came with them, candidates."""
        seen = smaller(behaviors + memory, self.seen) if self.seen else behaviors + memory
        encoded = behaviors * (seen * self.pair + self.behavior)
        return encoded + candidates * ((behaviors + memory) * self.read + self.candidate)


@dataclasses.dataclass(frozen=True)
class LimitedInputs:
    """What the inputs of a SavedModel hold, and what they cost.

    Attributes:
        candidates: inputs [users, candidates, ...] that hold what is to be scored.
        memory: inputs [users, behaviors, ...] that hold an encoded history, which no `max_length` cuts.
        histories: inputs [users, behaviors], one for each group -> the most behaviors of it that the model reads.
        examples: inputs [users] of serialized tf.Examples, whose features have the names of the other inputs.
        cost: what a request costs.
    """

    candidates: frozenset[str] = frozenset()
    memory: frozenset[str] = frozenset()
    histories: Mapping[str, int] = dataclasses.field(default_factory=dict)
    examples: frozenset[str] = frozenset()
    cost: Cost = Cost()

    def work(self, users: Any, sizes: Mapping[str, Any], smaller: Callable[[Any, Any], Any] = min) -> Any:
        """Returns the bytes that a request takes: an int, or a tensor for tensors.

        Args:
            users: how many there are.
            sizes: input, or feature of an Example -> how many values each user has, padding counted.
            smaller: gives the smaller one of two. Defaults to `min`; tensors need another.
        """
        behaviors = sum(smaller(sizes[name], most) for name, most in self.histories.items() if name in sizes)
        memory = sizes.get(_MASK, 0) if _MASK in self.memory else 0
        candidates = sum(sizes[name] for name in self.candidates if name in sizes)
        values = sum(size for name, size in sizes.items() if name not in self.memory)
        return users * (self.cost.of_user(behaviors, memory, candidates, smaller) + values * _VALUE_BYTES)


def write_limited_inputs(saved_model_dir: str, inputs: LimitedInputs) -> None:
    """Writes beside a SavedModel what its inputs hold."""
    path = Path(saved_model_dir) / _FILE
    path.parent.mkdir(exist_ok=True)
    listed = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in vars(inputs).items()}
    write_json(path, {**listed, "cost": vars(inputs.cost)})


def read_limited_inputs(saved_model_dir: str) -> LimitedInputs:
    """Returns what the inputs of a SavedModel hold; nothing where it does not say.

    Raises:
        ValueError: the file is damaged.
    """
    path = Path(saved_model_dir) / _FILE
    if not path.is_file():
        return LimitedInputs()
    listed = load_json(path, "Export again, or bring back a copy of the file.")
    names = {name: frozenset(listed.get(name, ())) for name in ("candidates", "memory", "examples")}
    return LimitedInputs(**names, histories=listed.get("histories", {}), cost=Cost(**listed.get("cost", {})))


def check_body(body: bytes, settings: ServerSettings) -> None:
    """Checks a JSON body before it is parsed, by its punctuation: what is parsed takes 20 times as much memory.

    Raises:
        ServingError: INVALID_ARGUMENT for more lists and objects, or more values, than allowed.
    """
    for what, flag, most, count in (
        ("lists and objects", "rest_api_max_lists", settings.max_lists, body.count(b"[") + body.count(b"{")),
        ("values", "rest_api_max_values", settings.max_values, body.count(b",") + 1),
    ):
        if count > most:
            raise invalid(
                f"Expected at most {most} {what} in a request (--{flag}). Received: {count}, those in texts counted. "
                "Send several requests."
            )


def check_inputs(tensors: Mapping[str, NDArray[Any]], limited: LimitedInputs, settings: ServerSettings) -> int:
    """Checks the tensors of a predict call before the model runs; returns the bytes that it will take.

    There are as many users as the longest input has rows: a graph may broadcast one user's candidates to all of them.
    tf.Examples are counted as the graph will pad them, to the longest of all.

    Args:
        tensors: name -> array.
        limited: what they hold.
        settings: their limits hold.

    Raises:
        ServingError: INVALID_ARGUMENT for too many candidates, values, or reads of a memory, or too many bytes.
    """
    users = max((len(tensor) for tensor in tensors.values() if tensor.ndim), default=1)
    sizes = {name: math.prod(tensor.shape[1:]) for name, tensor in tensors.items()}
    memory = [tensor.shape[1] for name, tensor in tensors.items() if name in limited.memory and tensor.ndim > 1]
    read = sizes[_MASK] = max(memory, default=0)  # a graph would broadcast the others
    for name in limited.examples & tensors.keys():
        longest = _longest(tensors[name], {*limited.candidates, *limited.histories})
        most = max(longest, key=lambda feature: longest[feature], default=name)
        if users * longest.get(most, 0) > settings.max_values:
            raise invalid(
                f"Expected at most {settings.max_values} values of a feature in all Examples, padded to the longest "
                f"(--rest_api_max_values). Received: {users} Examples, {longest[most]} values of {shown(most)!r} in "
                "the longest. Send several requests."
            )
        sizes |= longest
    for name in sorted(limited.candidates & sizes.keys()):
        count = users * sizes[name]
        if count > settings.max_candidates:
            raise invalid(
                f"Expected at most {settings.max_candidates} candidates in a request. Received: {count} in "
                f"{shown(name)!r}. Send several requests."
            )
        if count * read > settings.max_memory_reads:
            raise invalid(
                f"Expected at most {settings.max_memory_reads} candidates times behaviors of a memory in a request. "
                f"Received: {count} in {shown(name)!r}, times {read}. Send several requests, or a memory of the newest "
                "behaviors."
            )
    work = int(limited.work(users, sizes))
    if work > settings.max_work_bytes:
        raise invalid(
            f"Expected a request that takes at most {settings.max_work_bytes} bytes of memory while it is worked on "
            f"(--rest_api_max_work_bytes). Received: {users} users, all padded to the longest, which may take {work}. "
            "Send several requests."
        )
    return work


def _longest(examples: NDArray[Any], names: Iterable[str]) -> dict[str, int]:
    """Returns the longest list of each of these features in any Example; a broken one is the graph's business."""
    longest = dict.fromkeys(names, 0)
    example = tf.train.Example()
    for serialized in examples.reshape(-1):
        try:
            example.ParseFromString(serialized)
        except Exception:  # protobuf's DecodeError; what it derives from differs between its implementations
            continue
        features = example.features.feature
        for name in longest.keys() & features.keys():
            feature = features[name]
            kind = feature.WhichOneof("kind")
            if kind:
                longest[name] = max(longest[name], len(getattr(feature, kind).value))
    return longest


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
