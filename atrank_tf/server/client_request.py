"""Plain Python requests of users -> the padded columns that a signature takes."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_MISSING: Mapping[str, Any] = {"DT_STRING": "", "DT_INT64": 0, "DT_FLOAT": math.nan}
_DEFAULT = "serving_default"
_CANDIDATES = "_candidates"


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


def candidates_name(columns: Mapping[str, Column], signature: str) -> str:
    """Returns the name of the input that holds the candidates of a task's signature: `<task>_candidates`.

    Raises:
        ValueError: the signature is neither a task's nor `serving_default`, which is one's.
    """
    tasks = [name.removesuffix(_CANDIDATES) for name in columns if name.endswith(_CANDIDATES)]
    found = tasks if signature == _DEFAULT else [task for task in tasks if task == signature]
    if len(found) != 1:
        raise ValueError(
            f"Expected {_DEFAULT!r} or the signature of a task, which has the task's name and takes its candidates. "
            f"Received: {signature!r}, which takes {', '.join(sorted(columns))}."
        )
    return f"{found[0]}{_CANDIDATES}"


def padded(
    requests: Sequence[Mapping[str, Any]], columns: Mapping[str, Column], candidates: str
) -> dict[str, list[Any]]:
    """Brings requests of several users to the same lengths.

    Behaviors are padded at timestamp 0; a group that a request leaves out is one in which the user did nothing, any
    other input that it leaves out is missing. Candidates are padded with "" or 0.

    Args:
        requests: for each user, input name -> value, list, or list of lists.
        columns: the inputs of the signature.
        candidates: which of them holds the candidates.

    Returns:
        Input name -> the values of all users, each as deep as its column.

    Raises:
        ValueError: a request names an input that is none, lacks `now` or its candidates, or has lists of different
            lengths where they belong together; says which request.
    """
    groups = _groups(columns)
    context = _context(columns, groups, candidates)
    for number, request in enumerate(requests):
        where = f"request {number}"
        _check(request, columns, candidates, where)
        _check_lengths(request, [*groups, *([candidates, name] for name in context if name in request)], where)
    most = max(len(request[candidates]) for request in requests)
    found = {}
    for name, column in columns.items():
        missing = _MISSING[column.dtype]
        values = [request.get(name, missing if column.rank == 1 else []) for request in requests]
        if column.rank > 1:
            width = most if name in context else max(map(len, values))
            values = [_filled(value, width, missing if column.rank == 2 else []) for value in values]
        if column.rank > 2:
            width = max((len(each) for value in values for each in value), default=0)
            values = [[_filled(each, width, missing) for each in value] for value in values]
        found[name] = values
    return found


def _filled(value: Sequence[Any], width: int, filler: Any) -> list[Any]:
    return [*value, *[filler] * (width - len(value))]


def _groups(columns: Mapping[str, Column]) -> list[list[str]]:
    """Returns the three columns of each group."""
    names = [name.removesuffix("timestamp") for name in columns if name.endswith("_timestamp")]
    groups = [[f"{name}{column}" for column in ("id", "action", "timestamp")] for name in names]
    return [group for group in groups if set(group) <= columns.keys()]


def _context(columns: Mapping[str, Column], groups: Sequence[Sequence[str]], candidates: str) -> list[str]:
    task = candidates.removesuffix(_CANDIDATES)
    # A group may be named as the task, or begin with its name.
    others = {candidates}.union(*groups)
    return [name for name in columns if name.startswith(f"{task}_") and name not in others]


def _check(request: Mapping[str, Any], columns: Mapping[str, Column], candidates: str, where: str) -> None:
    for name in request:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f'Did you mean "{near[0]}"? ' if near else ""
            raise ValueError(f"Unknown input {name!r} in {where}. {hint}Valid: {', '.join(sorted(columns))}.")
    for name in ("now", candidates):
        if name not in request:
            raise ValueError(f"Expected {name!r} in {where}. Received: {', '.join(sorted(request)) or 'nothing'}.")
    for name, value in request.items():
        if columns[name].rank > 1 and (isinstance(value, str | bytes) or not isinstance(value, Sequence)):
            raise ValueError(f"Expected a list for {name!r} in {where}. Received: {value!r}.")


def _check_lengths(request: Mapping[str, Any], together: Sequence[Sequence[str]], where: str) -> None:
    for names in together:
        lengths = {name: len(request.get(name, ())) for name in names}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Expected lists of one length in {where}. Received lengths: {lengths}.")
