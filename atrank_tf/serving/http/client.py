"""A client of TensorFlow Serving's REST endpoint, or of the embedded server: they answer alike."""

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Self

import urllib3

from atrank_tf.serving.http.client_request import Column, candidates_name, columns_of, padded


class ClientError(RuntimeError):
    """What a server answered in place of scores.

    Attributes:
        status: the HTTP status: 400 a bad request, 404 no such model, 503 not ready, ...
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} (HTTP {status})")
        self.status = status


class Client:
    """Ranks candidates by a served model. Connections are kept; one client may serve many threads.

    A request is a dict: input name -> value or list, as `docs/serving.md` names them. Lists of a user may have any
    length, and what a user did not do may be left out.

    Args:
        url: of the server, as "http://127.0.0.1:8501".
        model: name of the model.
        version: number of the version; None for the newest.
        timeout: most seconds that a call may take to connect, and again to answer.
        connections: most connections that are kept.

    Example:
        >>> with Client("http://127.0.0.1:8501", "shop") as client:
        ...     client.rank([{"now": 7344000, "next_purchase_candidates": ["p3", "p5"]}])
        [[('p5', -0.29295069), ('p3', -0.478229195)]]
    """

    def __init__(
        self, url: str, model: str, *, version: int | None = None, timeout: float = 5.0, connections: int = 8
    ) -> None:
        path = f"/v1/models/{model}" + ("" if version is None else f"/versions/{version}")
        self._address = url.rstrip("/") + path
        self._pool = urllib3.PoolManager(
            maxsize=connections, block=True, timeout=urllib3.Timeout(timeout), retries=False
        )
        self._columns: dict[str, dict[str, Column]] = {}
        self._lock = threading.Lock()

    def rank(
        self, requests: Sequence[Mapping[str, Any]], *, signature: str = "serving_default"
    ) -> list[list[tuple[Any, float]]]:
        """Returns the candidates of each request with their scores, best first.

        Args:
            requests: one for each user.
            signature: the task, or `serving_default` for the model's first one.

        Raises:
            ValueError: a request does not fit the model.
            ClientError: the server refused.
            ConnectionError: there is no server.
            TimeoutError: it did not answer in time.
        """
        scores = self.score(requests, signature=signature)
        name = candidates_name(self.columns(signature))
        pairs = (zip(request[name], row, strict=True) for request, row in zip(requests, scores, strict=True))
        return [sorted(each, key=lambda pair: -pair[1]) for each in pairs]

    def score(self, requests: Sequence[Mapping[str, Any]], *, signature: str = "serving_default") -> list[list[float]]:
        """Returns the scores of each request's candidates, in their order. Arguments and errors as `rank`."""
        if not requests:
            return []
        columns = self.columns(signature)
        inputs = padded(requests, columns)
        found = self._ask("POST", ":predict", {"signature_name": signature, "inputs": inputs})["outputs"]
        name = candidates_name(columns)
        return [row[: len(request[name])] for request, row in zip(requests, found, strict=True)]

    def columns(self, signature: str = "serving_default") -> dict[str, Column]:
        """Returns the inputs of a signature; asks the server once. Errors as `rank`."""
        with self._lock:
            if signature not in self._columns:
                self._columns[signature] = columns_of(self._ask("GET", "/metadata"), signature)
            return self._columns[signature]

    def close(self) -> None:
        """Closes the kept connections."""
        self._pool.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, method: str, verb: str, body: Any = None) -> Any:
        address, data = f"{self._address}{verb}", None if body is None else json.dumps(body).encode()
        try:
            try:
                answer = self._pool.request(method, address, body=data)
            except urllib3.exceptions.ProtocolError:
                # A kept connection that the server has closed meanwhile. Scoring changes nothing: ask again.
                answer = self._pool.request(method, address, body=data)
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ProtocolError) as error:
            raise ConnectionError(f"Expected a server at {address}. Found: {error}") from error
        except urllib3.exceptions.TimeoutError as error:
            raise TimeoutError(f"Expected an answer from {address} in time. Found: {error}") from error
        try:
            found = json.loads(answer.data)
        except ValueError as error:
            message = f"Expected JSON from {address}. Received: {answer.data[:200]!r}"
            raise ClientError(answer.status, message) from error
        if answer.status != 200:
            raise ClientError(answer.status, str(found["error"]))
        return found
