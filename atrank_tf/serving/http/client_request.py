"""Plain Python requests of users -> the padded columns that a signature takes."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_MISSING: Mapping[str, Any] = {"DT_STRING": "", "DT_INT64": 0, "DT_FLOAT": math.nan}


class Column(NamedTuple):
    """An input of a signature: its dtype as the metadata call names it, and how many axes it has, users first."""

    dtype: str
    rank: int


def columns_of(metadata: Mapping[str, Any], signature: str) -> dict[str, Column]:
    """Returns the inputs of a signature from the `metadata` that a metadata call answers.

    Raises:
        ValueError: the model has no such signature.
    """
    signatures = metadata["signature_def"]["signature_def"]
    if signature not in signatures:
        names = ", ".join(sorted(name for name in signatures if not name.startswith("__")))
        raise ValueError(f"Expected a signature of the model: {names}. Received: {signature!r}.")
    return {
        name: Column(info["dtype"], len(info["tensor_shape"]["dim"]))
        for name, info in signatures[signature]["inputs"].items()
    }


def candidates_name(columns: Mapping[str, Column]) -> str:
    """Returns the name of the input that holds the candidates."""
    return next(name for name in columns if name.endswith("_candidates"))


def padded(requests: Sequence[Mapping[str, Any]], columns: Mapping[str, Column]) -> dict[str, list[Any]]:
    """Brings requests of several users to the same lengths.

    Behaviors are padded at timestamp 0; a group that a request leaves out is one in which the user did nothing, any
    other input that it leaves out is missing. Candidates are padded with "" or 0.

    Args:
        requests: for each user, input name -> value, list, or list of lists.
        columns: the inputs of the signature.

    Returns:
        Input name -> the values of all users, each as deep as its column.

    Raises:
        ValueError: a request names an input that is none, lacks `now` or its candidates, or has lists of different
            lengths where they belong together; says which request.
    """
    for number, request in enumerate(requests):
        _check(request, columns, f"request {number}")
    candidates = candidates_name(columns)
    most = max(len(request[candidates]) for request in requests)
    found = {}
    for name, column in columns.items():
        missing = _MISSING[column.dtype]
        values = [request.get(name, missing if column.rank == 1 else []) for request in requests]
        if column.rank > 1:
            width = most if name in _context(columns) else max(map(len, values))
            values = [_filled(value, width, missing if column.rank == 2 else []) for value in values]
        if column.rank > 2:
            width = max((len(each) for value in values for each in value), default=0)
            values = [[_filled(each, width, missing) for each in value] for value in values]
        found[name] = values
    return found


def _filled(value: Sequence[Any], width: int, filler: Any) -> list[Any]:
    return [*value, *[filler] * (width - len(value))]


def _context(columns: Mapping[str, Column]) -> list[str]:
    candidates = candidates_name(columns)
    prefix = candidates.removesuffix("candidates")
    return [name for name in columns if name.startswith(prefix) and name != candidates]


def _check(request: Mapping[str, Any], columns: Mapping[str, Column], where: str) -> None:
    for name in request:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f'Did you mean "{near[0]}"? ' if near else ""
            raise ValueError(f"Unknown input {name!r} in {where}. {hint}Valid: {', '.join(sorted(columns))}.")
    candidates = candidates_name(columns)
    for name in ("now", candidates):
        if name not in request:
            raise ValueError(f"Expected {name!r} in {where}. Received: {', '.join(sorted(request)) or 'nothing'}.")
    for name, value in request.items():
        if columns[name].rank > 1 and (isinstance(value, str | bytes) or not isinstance(value, Sequence)):
            raise ValueError(f"Expected a list for {name!r} in {where}. Received: {value!r}.")
    groups = [name.removesuffix("_timestamp") for name in columns if name.endswith("_timestamp")]
    together = [[f"{group}_{column}" for column in ("id", "action", "timestamp")] for group in groups]
    together += [[candidates, name] for name in _context(columns) if name in request]
    for names in together:
        lengths = {name: len(request.get(name, ())) for name in names}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Expected lists of one length in {where}. Received lengths: {lengths}.")
