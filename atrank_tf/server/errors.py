"""Error with a canonical status code, and the texts of the REST contract's errors."""

import enum
from typing import Any


class Code(enum.IntEnum):
    """Canonical status codes with their usual numbers, which are also those of `tf.errors.OpError.error_code`."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def http_status(self) -> int:
        """The HTTP status that the contract gives this code."""
        return _HTTP_STATUS[self]


_HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


def shown(text: str, most: int = 256) -> str:
    """Cuts a text of a request for an error message: a mistake must not send the whole body back."""
    return text if len(text) <= most else f"{text[:most]}..."


class ServingError(Exception):
    """A request that cannot be answered.

    Attributes:
        code: `Code`. Decides the HTTP status.
        message: str. What a REST client reads under `error`; never holds a traceback.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def not_found(model: str, version: int | None) -> ServingError:
    """Returns the contract's error for a model, or a version of it, that is not loaded."""
    wanted = f"Latest({model})" if version is None else f"Specific({model}, {version})"
    return ServingError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")


def unknown_label(label: str) -> ServingError:
    """Returns the contract's error for a label that points to no version, of a model that is not there too."""
    return ServingError(Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")


def invalid(message: str) -> ServingError:
    """Returns an INVALID_ARGUMENT error with this message."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def kernel_text(error: Any) -> str:
    """Returns the kernel's own text of a `tf.errors.OpError`, without the Python stack that some of them tell."""
    return without_stack(error.message)


def without_stack(text: str) -> str:
    text = text.removeprefix("Graph execution error:").strip()
    for mark in ("\n\nOriginal stack trace", "\nOriginal stack trace", "\n\nDetected at node"):
        text = text.split(mark)[0]
    if text.startswith("Detected at node"):
        text = text.rpartition("\n\n")[2]
    return text
