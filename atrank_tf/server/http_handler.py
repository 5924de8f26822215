"""Handler of aiohttp's HTTP requests. The event loop only moves bytes: JSON and the model run in threads."""

import asyncio
import re
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

from absl import logging
from aiohttp import web

from atrank_tf.server.connections import Response
from atrank_tf.server.errors import Code, ServingError, invalid
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


# Bytes of each body that are not counted as on their way, so that large ones cannot lock small ones out.
_FREE_BYTES = 64 * 1024

# Names of this machine, in a Host header or as an address to bind.
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")


class HttpHandler:
    """Answers HTTP requests: the REST API under `/v1/`, pages beside it, 404 elsewhere.

    Pages are `/healthz`, the metrics page and `/` if there are such.

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
        self._bytes_in_flight = 0
        self._workers = ThreadPoolExecutor(settings.num_threads, thread_name_prefix="atrank-rest")

    async def answer(self, request: web.Request) -> web.Response:
        """Answers one request, and writes the answer."""
        self.in_flight += 1
        deadline = asyncio.get_running_loop().time() + self._settings.timeout_ms / 1000
        try:
            response = await self._response(request, deadline)
            if self.draining:
                response.force_close()
            async with asyncio.timeout_at(deadline):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:  # nobody reads it
            if request.transport is not None:
                request.transport.abort()
        finally:
            self.in_flight -= 1
        return response

    def close(self) -> None:
        """Waits for the requests that are worked on, and drops those that wait."""
        self._workers.shutdown(cancel_futures=True)

    async def _response(self, request: web.Request, deadline: float) -> web.Response:
        try:
            return await self._respond(request, deadline)
        except ConnectionError:  # the client is gone: aiohttp knows what to do
            raise
        except Exception:  # a bug: the log gets the traceback, the client does not
            logging.exception("%s %s failed.", request.method, request.raw_path)
            return self._json(error_response(ServingError(Code.INTERNAL, "Internal error")))

    async def _respond(self, request: web.Request, deadline: float) -> web.Response:
        path = request.raw_path
        page = path.partition("?")[0]
        is_api = path.lower().startswith("/v1/")
        if not self._allows(request.headers.get("Host", ""), is_page=not is_api):
            return Response(status=403, text="This name of the server is not among --allowed_hosts.\n")
        if page == self._settings.metrics_path:
            return self._metrics_page(path)
        if page == "/healthz":
            return self._health()
        if self._home_page is not None and page == "/" and request.method == "GET":
            return Response(text=self._home_page, content_type="text/html")
        if not is_api:
            return Response(status=404, body=_NOT_FOUND_PAGE, content_type="text/html")
        if request.method == "OPTIONS":
            answer = RestResponse(200 if re.match("https?://", request.headers.get("Origin", "")) else 400, b"")
        else:
            answer = await self._call(request, deadline)
        return self._json(answer)

    def _allows(self, host: str, *, is_page: bool) -> bool:
        """Whether a request under this name of the server is answered.

        A web page anywhere may have its own name point to 127.0.0.1, and then reads what this server says to it.
        """
        allowed = self._settings.allowed_hosts
        if not allowed and is_page and self._settings.host in _LOOPBACK:
            allowed = _LOOPBACK
        return not (host and allowed) or re.sub(r":\d*$", "", host).lower() in allowed

    def _health(self) -> web.Response:
        well = not self.draining and None not in self._api.versions().values()
        return Response(status=200 if well else 503, text="ok\n" if well else "not ready\n")

    async def _call(self, request: web.Request, deadline: float) -> RestResponse:
        loop = asyncio.get_running_loop()
        body, held = bytearray(), 0
        try:
            async with asyncio.timeout_at(deadline):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > self._settings.max_body_bytes:
                        message = f"Request body is longer than {self._settings.max_body_bytes} bytes"
                        refused = self._refuse(request, invalid(message))
                        return RestResponse(413, refused.body)
                    more = max(len(body) - _FREE_BYTES, 0) - held
                    held, self._bytes_in_flight = held + more, self._bytes_in_flight + more
                    if self._bytes_in_flight > self._settings.max_bytes_in_flight:
                        message = "Too many bytes of requests are on their way. Try again later"
                        return self._refuse(request, ServingError(Code.UNAVAILABLE, message))
            whole = [bytes(body)]
            body.clear()
            return await self._work(request, whole, deadline - loop.time())
        except web.RequestPayloadError as error:
            message = f"The request body cannot be read: {error}"
            return self._refuse(request, invalid(message))
        except TimeoutError:
            return self._refuse(request, self._too_late())
        finally:
            self._bytes_in_flight -= held

    async def _work(self, request: web.Request, body: list[bytes], seconds: float) -> RestResponse:
        """Has a body worked on; it is in a list so that it is gone when it is taken, or nobody waits for it."""
        encoding = request.headers.get("Content-Encoding", "")
        working = self._workers.submit(
            self._answer, request.method, request.raw_path, body, encoding, time.monotonic() + seconds
        )
        try:
            await asyncio.wait([asyncio.wrap_future(working)], timeout=seconds)
        finally:  # too late, or the client is gone: one that has begun goes on, sees it for itself, and counts it
            waited_in_vain = working.cancel()
            if waited_in_vain:
                body.clear()
        if waited_in_vain:
            return self._refuse(request, self._too_late())
        return working.result() if working.done() else error_response(self._too_late())

    def _answer(self, method: str, path: str, body: list[bytes], encoding: str, deadline: float) -> RestResponse:
        sent = body.pop()
        if "gzip" in encoding:
            sent = _inflate(sent, self._settings.max_body_bytes)
        return self._api.answer(method, path, sent, deadline=deadline)

    def _refuse(self, request: web.Request, error: ServingError) -> RestResponse:
        return self._api.refuse(request.method, request.raw_path, error)

    def _too_late(self) -> ServingError:
        message = f"The request was not answered within {self._settings.timeout_ms} ms"
        return ServingError(Code.DEADLINE_EXCEEDED, message)

    def _metrics_page(self, path: str) -> web.Response:
        wanted = self._settings.metrics_path
        if path != wanted:
            message = f"Unexpected path: {path}. Should be {wanted}"
            return Response(status=400, body=message.encode("utf-8", "replace"), content_type="text/plain")
        return Response(body=self._metrics.page(self._api.versions()), content_type="text/plain")

    def _json(self, answer: RestResponse) -> web.Response:
        headers = _CORS if self._settings.cors else None
        return Response(status=answer.status, body=answer.body, headers=headers, content_type="application/json")


def _inflate(body: bytes, most: int) -> bytes:
    """Inflates a gzip body. By contract one that is broken, or longer than `most`, is an empty one."""
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(body, most)
    except zlib.error:
        return b""
    return inflated if inflater.eof and not inflater.unused_data else b""
