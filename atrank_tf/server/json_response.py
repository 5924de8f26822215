"""What a model gave -> JSON of a response, in TensorFlow Serving's forms.

Only the blanks between tokens differ: one row of numbers is one line here too, but nothing is indented.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.json_request import Format
from atrank_tf.server.json_tokens import tokens

MAX_OUTPUT_VALUES = 1_000_000
"""Most values of an answer, ten times as many as a request may have candidates: 13 MB of JSON, half a second's work."""


def check_size(outputs: Mapping[str, NDArray[Any]], most: int) -> None:
    """Checks what a model gave before it is written.

    Args:
      outputs: name -> array of any shape.
      most: most values of all of them together.

    Raises:
      ServingError: INVALID_ARGUMENT, if there are more.
    """
    count = sum(array.size for array in outputs.values())
    if count > most:
        largest = max(outputs, key=lambda name: outputs[name].size)
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Expected at most {most} values in an answer. Received: {count}, most of them in {largest!r} of shape "
            f"{list(outputs[largest].shape)}. Ask for fewer users, candidates or behaviors at once.",
        )


def write_predict_response(outputs: Mapping[str, NDArray[Any]], form: Format) -> bytes:
    """Writes the body of a predict response.

    Args:
      outputs: name -> array of any shape. Strings are object arrays of bytes or str; those of an output whose name
        ends in `_bytes` are written as `{"b64": ...}`.
      form: of the request. ROW gives `{"predictions": [...]}`, for which all outputs need the same 0-th dimension;
        COLUMNAR gives `{"outputs": ...}`.

    Returns:
      UTF-8 bytes. NaN, Infinity and -Infinity are bare tokens, so this is not always strict JSON.

    Raises:
      ServingError: INVALID_ARGUMENT for no outputs, a dtype that JSON cannot carry (half, bfloat16, complex), and in
        row form for an output without dimensions or with another 0-th dimension than the first.
    """
    if not outputs:
        raise ServingError(Code.INVALID_ARGUMENT, "Cannot convert empty tensor map to JSON")
    if form is Format.ROW:
        text = f'{{"predictions": [{", ".join(_rows(outputs))}]}}'
    else:
        columns = {name: _nest(_tokens(name, array), array.shape, 0)[0] for name, array in outputs.items()}
        text = f'{{"outputs": {next(iter(columns.values())) if len(columns) == 1 else _object(columns)}}}'
    return text.encode("utf-8", "surrogateescape")


def write_classifications(labels: NDArray[Any], scores: NDArray[Any]) -> bytes:
    """Writes the body of a classify response.

    Args:
      labels: object array of bytes [N, K].
      scores: float32 [N, K].

    Returns:
      `{"results": [[["<label>", <score>], ...], ...]}`, UTF-8.

    Raises:
      ServingError: INVALID_ARGUMENT where N is 0.
    """
    if not scores.shape[0]:
        raise ServingError(Code.INVALID_ARGUMENT, "Cannot convert empty ClassificationResults to JSON")
    pairs = [f"[{label}, {score}]" for label, score in zip(tokens(labels), tokens(scores), strict=True)]
    return f'{{"results": {_nest(pairs, scores.shape, 0)[0]}}}'.encode("utf-8", "surrogateescape")


def write_regressions(values: NDArray[Any]) -> bytes:
    """Writes the body of a regress response.

    Args:
      values: float32 [N].

    Returns:
      `{"results": [<value>, ...]}`, UTF-8.

    Raises:
      ServingError: INVALID_ARGUMENT where N is 0.
    """
    if not values.shape[0]:
        raise ServingError(Code.INVALID_ARGUMENT, "Cannot convert empty RegressionResults to JSON")
    return f'{{"results": [{", ".join(tokens(values))}]}}'.encode()


def _rows(outputs: Mapping[str, NDArray[Any]]) -> list[str]:
    batch = None
    for name, array in outputs.items():
        if not array.shape:
            raise ServingError(Code.INVALID_ARGUMENT, f"Tensor name: {name} has no shape information ")
        batch = array.shape[0] if batch is None else batch
        if array.shape[0] != batch:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Tensor name: {name} has inconsistent batch size: {array.shape[0]} expecting: {batch}",
            )
    columns = {name: _nest(_tokens(name, array), array.shape, 1) for name, array in outputs.items()}
    if len(columns) == 1:
        return next(iter(columns.values()))
    return [_object(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _nest(tokens: list[str], shape: tuple[int, ...], outer: int) -> list[str]:
    """Joins the tokens of a tensor to one text for each element of its first `outer` dimensions."""
    for axis in range(len(shape) - 1, outer - 1, -1):
        width = shape[axis]
        tokens = [f"[{', '.join(tokens[i * width : (i + 1) * width])}]" for i in range(math.prod(shape[:axis]))]
    return tokens


def _tokens(name: str, array: NDArray[Any]) -> list[str]:
    return tokens(array, as_base64=name.endswith("_bytes"))


def _object(members: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {text}" for name, text in members.items()) + "}"
