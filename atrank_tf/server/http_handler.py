"""Handler of aiohttp's HTTP requests. The event loop only moves bytes: JSON and the model run in threads."""

import asyncio
import re
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from absl import logging
from aiohttp import web

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.metrics import Metrics
from atrank_tf.server.rest_api import RestApi, RestResponse, error_response
from atrank_tf.server.settings import ServerSettings

# Outside of /v1/ TensorFlow Serving's HTTP library answers, in HTML.
_NOT_FOUND_PAGE = b"<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


class HttpHandler:
    """Answers HTTP requests: the REST API under `/v1/`, the metrics page and `/` if there are such, 404 elsewhere.

    Attributes:
        in_flight: int. Requests that have come, and whose answers are not written yet.
        draining: bool. Set it to have every connection closed after its next answer.

    Args:
        api: answers what is under `/v1/`.
        metrics: what the metrics page shows.
        settings: limits, the path of the metrics page, and CORS. aiohttp must leave compressed bodies as they are.
        home_page: HTML of `/`. Defaults to none: `/` is not found.
    """

    def __init__(
        self, api: RestApi, metrics: Metrics, settings: ServerSettings, *, home_page: str | None = None
    ) -> None:
        self.in_flight = 0
        self.draining = False
        self._api = api
        self._metrics = metrics
        self._settings = settings
        self._home_page = home_page
        self._workers = ThreadPoolExecutor(settings.num_threads, thread_name_prefix="atrank-rest")

    async def answer(self, request: web.Request) -> web.Response:
        """Answers one request, and writes the answer."""
        self.in_flight += 1
        try:
            response = await self._response(request)
            if self.draining:
                response.force_close()
            await response.prepare(request)
            await response.write_eof()
        finally:
            self.in_flight -= 1
        return response

    def close(self) -> None:
        """Waits for the requests that are worked on, and drops those that wait."""
        self._workers.shutdown(cancel_futures=True)

    async def _response(self, request: web.Request) -> web.Response:
        try:
            return await self._respond(request)
        except ConnectionError:  # the client is gone: aiohttp knows what to do
            raise
        except Exception:  # a bug: the log gets the traceback, the client does not
            logging.exception("%s %s failed.", request.method, request.raw_path)
            return _json(error_response(ServingError(Code.INTERNAL, "Internal error")))

    async def _respond(self, request: web.Request) -> web.Response:
        path = request.raw_path
        if path.partition("?")[0] == self._settings.metrics_path:
            return self._metrics_page(path)
        if self._home_page is not None and path.partition("?")[0] == "/" and request.method == "GET":
            return web.Response(text=self._home_page, content_type="text/html")
        if not path.lower().startswith("/v1/"):
            return web.Response(status=404, body=_NOT_FOUND_PAGE, content_type="text/html")
        if request.method == "OPTIONS":
            answer = RestResponse(200 if re.match("https?://", request.headers.get("Origin", "")) else 400, b"")
        else:
            answer = await self._call(request)
        return _json(answer, _CORS if self._settings.cors else None)

    async def _call(self, request: web.Request) -> RestResponse:
        timeout = self._settings.timeout_ms / 1000
        deadline = time.monotonic() + timeout
        try:
            async with asyncio.timeout(timeout):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            message = f"Request body is longer than {self._settings.max_body_bytes} bytes"
            return RestResponse(413, self._refuse(request, ServingError(Code.INVALID_ARGUMENT, message)).body)
        except web.RequestPayloadError as error:
            message = f"The request body cannot be read: {error}"
            return self._refuse(request, ServingError(Code.INVALID_ARGUMENT, message))
        except TimeoutError:
            return self._refuse(request, self._too_late())
        encoding = request.headers.get("Content-Encoding", "")
        working = asyncio.get_running_loop().run_in_executor(
            self._workers, self._work, request.method, request.raw_path, body, encoding, deadline
        )
        try:
            # Not cancelled when it is too late: the worker sees that for itself, and counts it.
            await asyncio.wait([working], timeout=deadline - time.monotonic())
        except asyncio.CancelledError:  # the client is gone
            working.cancel()
            raise
        return working.result() if working.done() else error_response(self._too_late())

    def _work(self, method: str, path: str, body: bytes, encoding: str, deadline: float) -> RestResponse:
        if "gzip" in encoding:
            body = _inflate(body, self._settings.max_body_bytes)
        return self._api.answer(method, path, body, deadline=deadline)

    def _refuse(self, request: web.Request, error: ServingError) -> RestResponse:
        return self._api.refuse(request.method, request.raw_path, error)

    def _too_late(self) -> ServingError:
        message = f"The request was not answered within {self._settings.timeout_ms} ms"
        return ServingError(Code.DEADLINE_EXCEEDED, message)

    def _metrics_page(self, path: str) -> web.Response:
        wanted = self._settings.metrics_path
        if path != wanted:
            message = f"Unexpected path: {path}. Should be {wanted}"
            return web.Response(status=400, body=message.encode("utf-8", "replace"), content_type="text/plain")
        return web.Response(body=self._metrics.page(), content_type="text/plain")


def _json(answer: RestResponse, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=headers, content_type="application/json")


def _inflate(body: bytes, most: int) -> bytes:
    """Inflates a gzip body. By contract one that is broken, or longer than `most`, is an empty one."""
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(body, most)
    except zlib.error:
        return b""
    return inflated if inflater.eof and not inflater.unused_data else b""
