"""The embedded HTTP server: the REST contract of TensorFlow Serving on aiohttp, for one model.

Needs the extra `serving`. The event loop only moves bytes: JSON and the model run in a pool of threads.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

from absl import logging

from atrank_tf.serving.errors import Code, ServingError
from atrank_tf.serving.rest_api import RestApi, RestResponse, error_response
from atrank_tf.serving.served_model import ServedModel

try:
    from aiohttp import web
except ImportError as error:
    raise ImportError("The embedded server needs aiohttp. Install it with: pip install 'atrank-tf[serving]'") from error

DEFAULT_PORT = 8501
MAX_BODY_BYTES = 64 * 1024 * 1024
NUM_THREADS = 8

# A shutdown waits this long for calls on their way: less than container managers wait before they kill (30 s, 10 s).
_SHUTDOWN_SECONDS = 9.0

# Outside of /v1/ TensorFlow Serving's HTTP library answers, in HTML.
_NOT_FOUND_PAGE = "<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"


def make_app(
    model: ServedModel,
    *,
    poll_seconds: float = 1.0,
    max_body_bytes: int = MAX_BODY_BYTES,
    num_threads: int = NUM_THREADS,
) -> web.Application:
    """The aiohttp application that serves a model; it looks for new versions while it runs, and closes the model.

    Args:
      model: started already, so that the port opens when the model is ready.
      poll_seconds: seconds between two looks at the base path. Defaults to 1.
      max_body_bytes: longest request body, after decompression; longer ones get 413. Defaults to 64 MiB.
      num_threads: requests that are worked on at once; more wait. Defaults to 8.

    Raises:
      ValueError: for a number that is not positive.
    """
    for name, value in (
        ("poll_seconds", poll_seconds),
        ("max_body_bytes", max_body_bytes),
        ("num_threads", num_threads),
    ):
        if not value > 0:
            raise ValueError(f"{name} must be positive. Received: {name}={value}.")
    api = RestApi(model)
    workers = ThreadPoolExecutor(num_threads, thread_name_prefix="atrank-rest")

    async def handle(request: web.Request) -> web.Response:
        path = request.raw_path
        if not path.lower().startswith("/v1/"):
            return web.Response(status=404, text=_NOT_FOUND_PAGE, content_type="text/html")
        try:
            body = await _read_body(request)
        except web.HTTPRequestEntityTooLarge:
            message = f"Request body is longer than {max_body_bytes} bytes"
            too_large = error_response(ServingError(Code.INVALID_ARGUMENT, message))
            return _http(RestResponse(413, too_large.body))
        loop = asyncio.get_running_loop()
        return _http(await loop.run_in_executor(workers, api.answer, request.method, path, body))

    async def run_model(_: web.Application) -> AsyncIterator[None]:
        # A thread of its own: loading a version takes long, and must not wait for requests nor they for it.
        poller = ThreadPoolExecutor(1, thread_name_prefix="atrank-versions")
        polling = asyncio.create_task(_poll(model, poller, poll_seconds))
        yield
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        for pool in (poller, workers):
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)
        await asyncio.to_thread(model.close)

    app = web.Application(client_max_size=max_body_bytes)
    app.router.add_route("*", "/{path:.*}", handle)
    app.cleanup_ctx.append(run_model)
    return app


def serve(
    model: ServedModel,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    poll_seconds: float = 1.0,
    max_body_bytes: int = MAX_BODY_BYTES,
    num_threads: int = NUM_THREADS,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Loads a model and serves it until SIGINT or SIGTERM; calls on their way get 9 seconds to be answered first.

    Call it in the main thread.

    Args:
      model: not started yet; closed in the end.
      host: address to bind. Defaults to 127.0.0.1: there is no access control, so opening it up is a decision.
      port: TCP port. Defaults to 8501; 0 takes a free one.
      poll_seconds: see `make_app`.
      max_body_bytes: see `make_app`.
      num_threads: see `make_app`.
      on_ready: called once with the URL of the model when requests are answered. Defaults to nothing.

    Raises:
      FileNotFoundError: no version folder.
      ValueError: the newest version cannot be loaded, or a number is not positive.
      OSError: the port cannot be bound.
    """
    app = make_app(model, poll_seconds=poll_seconds, max_body_bytes=max_body_bytes, num_threads=num_threads)
    model.start()
    asyncio.run(_serve(app, model.name, host, port, on_ready))


async def _serve(app: web.Application, name: str, host: str, port: int, on_ready: Callable[[str], None] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        if on_ready:
            bound_host, bound_port = runner.addresses[0][:2]
            shown = f"[{bound_host}]" if ":" in bound_host else bound_host
            on_ready(f"http://{shown}:{bound_port}/v1/models/{name}")
        await stop.wait()
    finally:
        await runner.cleanup()


async def _poll(model: ServedModel, thread: ThreadPoolExecutor, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(seconds)
        await loop.run_in_executor(thread, _refresh, model)


def _refresh(model: ServedModel) -> None:
    try:
        model.refresh()
    except Exception:  # a base path that cannot be read now may be readable at the next look
        logging.exception("Model %s: looking for new versions failed.", model.name)


async def _read_body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.RequestPayloadError:
        # By contract a body that cannot be decompressed is an empty one.
        return b""


def _http(response: RestResponse) -> web.Response:
    return web.Response(status=response.status, body=response.body, content_type="application/json")
