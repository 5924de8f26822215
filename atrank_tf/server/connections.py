"""Connections of the HTTP server: how many there may be, which one goes first, and what aiohttp tells of itself."""

import asyncio
from typing import Any

from absl import logging
from aiohttp import web

_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 43\r\nConnection: close\r\n"
    b'\r\n{"error": "There are too many connections"}'
)
_LOG_SECONDS = 60


class Response(web.Response):
    """Answer that does not say which versions of Python and aiohttp wrote it."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


class Connection(web.RequestHandler):
    """aiohttp's connection, which a client may close on its side when it has sent its request.

    Attributes:
        used: float. Reading of the event loop's clock when it was made, or its last answer was written.
    """

    used = 0.0
    _answered = 0
    _newest_body: Any = None
    _half_closed = False

    @property
    def is_idle(self) -> bool:
        """Whether there is no request whose head has come and that is not answered yet."""
        return self._request_count == self._answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # What is written counts as written when the system has it, not when it is in a buffer of ours: else aiohttp
        # waits for ever for somebody to read it.
        transport.set_write_buffer_limits(0)  # type: ignore[attr-defined]
        self.used = asyncio.get_running_loop().time()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages:
            _, self._newest_body = self._messages[-1]

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keeps the way back open while there are whole requests to answer, else lets asyncio close the connection."""
        self._half_closed = not self.is_idle and self._newest_body.is_eof()
        return self._half_closed

    async def finish_response(self, request: Any, resp: Any, start_time: float | None) -> Any:
        self.used = asyncio.get_running_loop().time()
        self._answered += 1
        if self._half_closed and self.is_idle:
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def handle_error(self, *arguments: Any, **keywords: Any) -> Response:
        told = super().handle_error(*arguments, **keywords)
        response = Response(status=told.status, body=told.body, content_type=told.content_type)  # type: ignore[attr-defined]
        response.force_close()
        return response


class _Server(web.Server):
    """aiohttp's server with `Connection`s, of which there are so many at most."""

    def __init__(self, made: web.Server, most: int) -> None:
        vars(self).update(vars(made))
        self._most = most

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        others = [other for other in self.connections if other is not handler and _is_open(other)]
        if len(others) < self._most:
            return
        idle = [other for other in others if isinstance(other, Connection) and other.is_idle]
        oldest = min(idle, key=lambda connection: connection.used, default=None)
        told = "There are %d connections: idle ones are closed for new ones, and without such a new one gets 503."
        logging.log_every_n_seconds(logging.WARNING, told, _LOG_SECONDS, self._most)
        if oldest is not None and oldest.transport is not None:
            oldest.transport.abort()
        else:
            transport.write(_REFUSAL)
            handler.force_close()


def _is_open(connection: web.RequestHandler) -> bool:
    return connection.transport is not None and not connection.transport.is_closing()


class Runner(web.AppRunner):
    """Runs an application of `make_app`.

    Args:
        app: the application.
        max_connections: most connections at once. Of idle ones the one that was used longest ago is closed for a new
            one; where all are busy, the new one gets 503.
        shutdown_timeout: seconds that aiohttp waits for the requests that are broken off, twice. Defaults to 0.25.
    """

    def __init__(self, app: web.Application, *, max_connections: int, shutdown_timeout: float = 0.25) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout)
        self._max_connections = max_connections

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._max_connections)

    def abort_connections(self) -> None:
        """Closes every connection, whoever still reads from it or writes to it."""
        for connection in self.server.connections if self.server else ():
            if connection.transport is not None:
                connection.transport.abort()
