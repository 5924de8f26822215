"""Client that ranks candidates by TensorFlow Serving or the embedded server, which answer alike."""

import difflib
import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import urllib3

_MISSING: Mapping[str, Any] = {"DT_STRING": "", "DT_INT64": 0, "DT_FLOAT": math.nan, "DT_BOOL": False}
_NO_CANDIDATE: Mapping[str, Any] = {"DT_STRING": "", "DT_INT64": -1}
_DEFAULT = "serving_default"
# Names of the inputs of a signature that scores: a group, a task or the user, and a column. Which there are, the
# signature says.
_NOW = "now"
_USER = "user"
_SEPARATOR = "__"
_CANDIDATES = f"{_SEPARATOR}candidates"
_EXCLUDE = "exclude"
_BEHAVIOR = ("id", "action", "timestamp")
_SCORE = f"score{_SEPARATOR}"


class ClientError(RuntimeError):
    """Error that a server answered in place of scores.

    Attributes:
        status: the HTTP status: 400 a bad request, 404 no such model, 503 not ready, ...
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} (HTTP {status})")
        self.status = status


class Column(NamedTuple):
    """An input of a signature: its dtype as the metadata call names it, and how many axes it has, users first."""

    dtype: str
    rank: int


class Client:
    """Ranks candidates by a served model. Connections are kept; one client may serve many threads.

    A request is a dict: input name -> value or list, as `docs/serving.md` names them. Lists of a user may have any
    length, and what a user did not do may be left out.

    Args:
        url: of the server, as "http://127.0.0.1:8501".
        model: name of the model.
        version: number of the version; None for the newest.
        timeout: most seconds until the server has answered, with the wait for a free connection. The first call of a
            signature asks twice: for its inputs, too.
        connections: most connections, and so most requests at once.

    Example:
        >>> with Client("http://127.0.0.1:8501", "shop") as client:
        ...     client.rank([{"now": 7344000, "next_purchase__candidates": ["p3", "p5"]}])
        [[('p5', -0.29295069), ('p3', -0.478229195)]]
    """

    def __init__(
        self, url: str, model: str, *, version: int | None = None, timeout: float = 5.0, connections: int = 8
    ) -> None:
        path = f"/v1/models/{quote(model, safe='')}" + ("" if version is None else f"/versions/{version}")
        self._address = url.rstrip("/") + path
        self._pool = urllib3.PoolManager(maxsize=connections, retries=False)
        self._free = threading.Semaphore(connections)  # The pool could wait too, but not within the timeout.
        self._timeout = timeout
        self._columns: dict[str, dict[str, Column]] = {}

    def rank(
        self, requests: Sequence[Mapping[str, Any]], *, signature: str = "serving_default"
    ) -> list[list[tuple[Any, float]]]:
        """Returns the candidates of each request with their scores, best first.

        Args:
            requests: one for each user.
            signature: `score__<task>`, or `serving_default` for the first task of the model.

        Raises:
            ValueError: a request does not fit the model, or the signature is no task's.
            ClientError: the server refused.
            ConnectionError: there is no server.
            TimeoutError: it did not answer in time.
        """
        if not requests:
            return []
        name, scores = self._scored(requests, signature)
        pairs = (zip(request[name], row, strict=True) for request, row in zip(requests, scores, strict=True))
        return [sorted(each, key=lambda pair: -pair[1]) for each in pairs]

    def score(self, requests: Sequence[Mapping[str, Any]], *, signature: str = "serving_default") -> list[list[float]]:
        """Returns the scores of each request's candidates, in their order. Arguments and errors as `rank`."""
        return self._scored(requests, signature)[1] if requests else []

    def top(
        self, requests: Sequence[Mapping[str, Any]], k: int, *, exclude_history: bool = False, signature: str = "top"
    ) -> list[list[tuple[Any, float]]]:
        """Returns the best k objects of the whole catalog for each request with their scores, best first.

        Args:
            requests: one for each user, without candidates; `exclude` lists ids that do not count.
            k: how many, at most 10,000; fewer come back where too many are excluded.
            exclude_history: whether what the user did before, in the task's own group, does not count either.
            signature: `top__<task>`, or `top` for the first task of the model.

        Raises:
            As `rank`.
        """
        if not requests:
            return []
        asked = [{"k": k, _EXCLUDE: [], "exclude_history": exclude_history, **request} for request in requests]
        _, found = self._answered(asked, signature, excluded_name)
        rows = zip(found["ids"], found["scores"], found["count"], strict=True)
        return [list(zip(ids[:count], scores[:count], strict=True)) for ids, scores, count in rows]

    def columns(self, signature: str = "serving_default") -> dict[str, Column]:
        """Returns the inputs of a signature; asks the server when it does not know them. Errors as `rank`."""
        return self._columns.get(signature) or self._fetched_columns(signature)

    def close(self) -> None:
        """Closes the kept connections."""
        self._pool.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _scored(self, requests: Sequence[Mapping[str, Any]], signature: str) -> tuple[str, list[list[float]]]:
        """Returns the name of the candidates, and their scores."""
        name, found = self._answered(requests, signature, candidates_name)
        return name, [row[: len(request[name])] for request, row in zip(requests, found, strict=True)]

    def _answered(
        self, requests: Sequence[Mapping[str, Any]], signature: str, listed: Callable[[Mapping[str, Column], str], str]
    ) -> tuple[str, Any]:
        """Returns the name of the objects that requests list, which `listed` finds in the signature, and the answer."""
        columns = self.columns(signature)
        try:
            return self._answered_by(columns, requests, signature, listed)
        except (ValueError, ClientError) as error:
            if isinstance(error, ClientError) and error.status != 400:
                raise
            # A version with other inputs may be served by now.
            fresh = self._fetched_columns(signature)
            if fresh == columns:
                raise
        return self._answered_by(fresh, requests, signature, listed)

    def _answered_by(
        self,
        columns: Mapping[str, Column],
        requests: Sequence[Mapping[str, Any]],
        signature: str,
        listed: Callable[[Mapping[str, Column], str], str],
    ) -> tuple[str, Any]:
        name = listed(columns, signature)
        body = {"signature_name": signature, "inputs": padded(requests, columns, name)}
        return name, self._ask("POST", ":predict", "outputs", body)

    def _fetched_columns(self, signature: str) -> dict[str, Column]:
        columns = columns_of(self._ask("GET", "/metadata", "metadata"), signature)
        self._columns[signature] = columns
        return columns

    def _ask(self, method: str, verb: str, wanted: str, body: Any = None) -> Any:
        """Returns what stands under the key `wanted` of an answer."""
        address, data = f"{self._address}{verb}", None if body is None else json.dumps(body).encode()
        try:
            answer = self._exchange(method, address, data)
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ProtocolError) as error:
            raise ConnectionError(f"Expected a server at {address}. Found: {error}") from error
        except urllib3.exceptions.TimeoutError as error:
            raise TimeoutError(f"Expected an answer from {address} in time. Found: {error}") from error
        try:
            found = json.loads(answer.data)
        except ValueError as error:
            message = f"Expected JSON from {address}. Received: {answer.data[:200]!r}"
            raise ClientError(answer.status, message) from error
        members = found if isinstance(found, dict) else {}
        if answer.status == 200 and wanted in members:
            return members[wanted]
        # What stands between here and the server answers in words of its own.
        message = f"Expected {wanted!r} from {address}. Received: {answer.data[:200]!r}"
        raise ClientError(answer.status, str(members.get("error", message)))

    def _exchange(self, method: str, address: str, data: bytes | None) -> urllib3.BaseHTTPResponse:
        give_up = time.monotonic() + self._timeout

        def once() -> urllib3.BaseHTTPResponse:
            left = max(give_up - time.monotonic(), 0.001)
            return self._pool.request(method, address, body=data, timeout=urllib3.Timeout(left))

        if not self._free.acquire(timeout=self._timeout):
            raise TimeoutError(f"Expected a free connection to {address} in time. Found: all in use.")
        try:
            return once()
        except urllib3.exceptions.ProtocolError:
            # A kept connection that the server has closed meanwhile. Scoring changes nothing: ask again.
            return once()
        finally:
            self._free.release()


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
    """Returns the name of the input that holds the candidates of a task's signature: `<task>__candidates`.

    Raises:
        ValueError: the signature is neither a task's nor `serving_default`, which is one's.
    """
    tasks = [name.removesuffix(_CANDIDATES) for name in columns if name.endswith(_CANDIDATES)]
    tasks = [task for task in tasks if task != _USER and signature in (_DEFAULT, f"{_SCORE}{task}")]
    if len(tasks) != 1:
        raise ValueError(
            f"Expected {_DEFAULT!r} or '{_SCORE}<task>', which takes the candidates of the task. "
            f"Received: {signature!r}, which takes {', '.join(sorted(columns))}."
        )
    return f"{tasks[0]}{_CANDIDATES}"


def excluded_name(columns: Mapping[str, Column], signature: str) -> str:
    """Returns the name of the input that holds what is excluded from the best of a catalog.

    Raises:
        ValueError: the signature is none that finds these.
    """
    if _EXCLUDE not in columns:
        raise ValueError(
            f"Expected 'top' or 'top__<task>', which ranks a whole catalog. Received: {signature!r}, which takes "
            f"{', '.join(sorted(columns))}."
        )
    return _EXCLUDE


def padded(
    requests: Sequence[Mapping[str, Any]], columns: Mapping[str, Column], candidates: str
) -> dict[str, list[Any]]:
    """Brings requests of several users to the same lengths.

    Behaviors are padded at timestamp 0; a group that a request leaves out is one in which the user did nothing, any
    other input that it leaves out is missing. Candidates are padded with "" or -1.

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
    task = candidates.removesuffix(_CANDIDATES)
    groups = _groups(columns, task)
    of_task = [name for name in columns if name.split(_SEPARATOR)[0] == task and name != candidates]
    context = [name for name in of_task if columns[name].rank > 1]  # The rest is of the request.
    for number, request in enumerate(requests):
        where = f"request {number}"
        _check(request, columns, candidates, where)
        _check_lengths(request, [*groups, *([candidates, name] for name in context if name in request)], where)
    most = max(len(request[candidates]) for request in requests)
    found = {}
    for name, column in columns.items():
        missing = _NO_CANDIDATE[column.dtype] if name == candidates else _MISSING[column.dtype]
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


def _groups(columns: Mapping[str, Column], task: str) -> list[list[str]]:
    """Returns the three columns of each group: what is neither the user's nor the task's is a group's."""
    owners = dict.fromkeys(name.split(_SEPARATOR)[0] for name in columns if _SEPARATOR in name)
    groups = [owner for owner in owners if owner not in (_USER, task)]
    return [[f"{group}{_SEPARATOR}{column}" for column in _BEHAVIOR] for group in groups]


def _check(request: Mapping[str, Any], columns: Mapping[str, Column], candidates: str, where: str) -> None:
    for name in request:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f'Did you mean "{near[0]}"? ' if near else ""
            raise ValueError(f"Unknown input {name!r} in {where}. {hint}Valid: {', '.join(sorted(columns))}.")
    for name in (_NOW, candidates):
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
