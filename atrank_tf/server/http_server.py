"""HTTP server of SavedModels on aiohttp, with TensorFlow Serving's REST contract. Needs the extra `serving`."""

import asyncio
import contextlib
import dataclasses
import functools
import gc
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from urllib.parse import quote

from absl import logging as absl_logging

from atrank_tf.server.config_files import ModelConfig
from atrank_tf.server.metrics import Metrics
from atrank_tf.server.rest_api import RestApi
from atrank_tf.server.served_model import ServedModel
from atrank_tf.server.served_models import ServedModels
from atrank_tf.server.settings import ServerSettings

try:
    from aiohttp import web
    from aiohttp.http_exceptions import HttpProcessingError

    from atrank_tf.server.access_log import JsonAccessLog, access_logger
    from atrank_tf.server.connections import Runner
    from atrank_tf.server.http_handler import HttpHandler
except ImportError as error:
    raise ImportError("The embedded server needs aiohttp. Install it with: pip install 'atrank-tf[serving]'") from error


@dataclasses.dataclass
class _End:
    """Time by the event loop's clock after which a shutdown waits no longer; None until it begins."""

    at: float | None = None


_HANDLER = web.AppKey("handler", HttpHandler)
_END = web.AppKey("end", _End)

# So long the rest of a body is still taken after an answer, for a client to read it before the connection is closed.
_LINGERING_SECONDS = 2.0

# Each may have 8 KiB, and a connection keeps them until they are whole. aiohttp's own limit is 128.
_MOST_HEADERS = 64

ReadConfig = Callable[[], Sequence[ModelConfig]]

# Of a shutdown aiohttp has so long, twice, for the requests that are broken off, and the process as long to end.
_BREAKING_OFF_SECONDS = 0.25


def make_app(
    models: ServedModels | ServedModel,
    settings: ServerSettings | None = None,
    *,
    metrics: Metrics | None = None,
    read_config: ReadConfig | None = None,
    home_page: str | None = None,
) -> web.Application:
    """Makes the aiohttp application that serves models; it looks for new versions while it runs, and closes the models.

    Run it by a `Runner`, which counts connections. Its clean-up waits for the calls of models and the loading of
    versions that it cannot break off.

    Args:
        models: started already, so that the port opens when they are ready.
        settings: what a person may choose; host and port are the runner's business. Defaults to the defaults.
        metrics: counts the calls, and is what the metrics page shows. Defaults to new ones.
        read_config: reads the model config file, every `settings.config_poll_seconds`. Defaults to no such file.
        home_page: HTML of `/`. Defaults to none.
    """
    models, settings, metrics = ServedModels.of(models), settings or ServerSettings(), metrics or Metrics()
    api = RestApi(models, settings, metrics=metrics)
    app = web.Application(
        handler_args={
            "access_log": access_logger() if settings.access_log else None,
            "access_log_class": JsonAccessLog,
            "auto_decompress": False,  # the handler inflates by the contract's rules
            "debug": False,  # else aiohttp tells clients of tracebacks
            "handler_cancellation": True,  # nobody needs the answer to a client that is gone
            "keepalive_timeout": settings.keepalive_seconds,
            "max_headers": _MOST_HEADERS,
            "lingering_time": _LINGERING_SECONDS,
            "logger": _http_logger(),
        }
    )
    app[_HANDLER] = HttpHandler(api, metrics, settings, home_page=home_page)
    app[_END] = _End()
    app.router.add_route("*", "/{path:.*}", app[_HANDLER].answer)

    async def run_models(app: web.Application) -> AsyncIterator[None]:
        watching = [asyncio.create_task(_repeat(settings.poll_seconds, functools.partial(models.refresh, wait=False)))]
        if read_config:
            reload = functools.partial(_reload, models, read_config)
            watching.append(asyncio.create_task(_repeat(settings.config_poll_seconds, reload)))
        yield
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        await asyncio.gather(_wait_for(models.stop_looking, app[_END]), _wait_for(app[_HANDLER].close, app[_END]))
        await asyncio.to_thread(models.close)

    app.cleanup_ctx.append(run_models)
    return app


def serve(
    models: ServedModels | ServedModel,
    settings: ServerSettings | None = None,
    *,
    metrics: Metrics | None = None,
    read_config: ReadConfig | None = None,
    home_page: str | None = None,
    on_ready: Callable[[list[str]], None] | None = None,
) -> None:
    """Loads models and serves them until SIGINT or SIGTERM; calls on their way get some seconds to be answered first.

    Call it in the main thread. It returns within `drain_seconds`. A call of a model or the loading of a version that
    takes longer goes on in its thread, which an ordinary end of the process waits for.

    Args:
        models: not started yet; closed in the end.
        settings: what a person may choose. Defaults to the defaults.
        metrics: see `make_app`.
        read_config: see `make_app`.
        home_page: see `make_app`.
        on_ready: called once with the URL of each model when requests are answered. Defaults to nothing.

    Raises:
        FileNotFoundError: a model without a version folder.
        ValueError: a model of which no version can be loaded.
        OSError: the port cannot be bound.
    """
    models, settings = ServedModels.of(models), settings or ServerSettings()
    app = make_app(models, settings, metrics=metrics, read_config=read_config, home_page=home_page)
    # Nothing else runs while a large body is parsed, and the garbage collector goes through all that is there, above
    # all TensorFlow's modules: 8 MiB of empty lists took 2.2 s, and take 0.6 s without (2 cores, 2026-11-27).
    gc.freeze()
    models.start()
    asyncio.run(_serve(app, models, settings, on_ready))


async def _serve(
    app: web.Application,
    models: ServedModels,
    settings: ServerSettings,
    on_ready: Callable[[list[str]], None] | None,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    most = settings.max_connections
    runner = Runner(app, max_connections=most, shutdown_timeout=_BREAKING_OFF_SECONDS)
    await runner.setup()
    # Before they are counted, as many new connections again may be open.
    site = web.TCPSite(runner, settings.host, settings.port, backlog=min(128, most // 4 + 1))
    try:
        try:
            await site.start()
        except OSError as error:
            at = f"port {settings.port} of {settings.host}"
            raise OSError(f"Expected a free port (rest_api_port). Received: {at}, {error.strerror}.") from error
        if on_ready:
            host, port = runner.addresses[0][:2]
            shown = f"[{host}]" if ":" in host else host
            on_ready([f"http://{shown}:{port}/v1/models/{quote(name, safe='')}" for name in models.names])
        await stop.wait()
        app[_END].at = end = loop.time() + max(settings.drain_seconds - _BREAKING_OFF_SECONDS, 0.0)
        await site.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end - 2 * _BREAKING_OFF_SECONDS):
                await _drain(app[_HANDLER])
        runner.abort_connections()
    finally:
        await runner.cleanup()


async def _drain(handler: HttpHandler) -> None:
    """Waits for requests whose bodies are on their way: aiohttp's own shutdown stops reading them."""
    handler.draining = True
    while handler.in_flight:
        await asyncio.sleep(0.01)


async def _wait_for(work: Callable[[], None], end: _End) -> None:
    """Waits for `work` in a thread that may be left behind, which those of an executor may not."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        work()
        with contextlib.suppress(RuntimeError):  # nobody waits any more, and the loop is closed
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(end.at):
            await done.wait()


async def _repeat(seconds: float, work: Callable[[], None]) -> None:
    while seconds:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(work)


def _reload(models: ServedModels, read_config: ReadConfig) -> None:
    try:
        configs = read_config()
    except (OSError, ValueError) as error:
        absl_logging.error("The models stay as they are: %s", error)
    else:
        models.configure(configs, wait=False)


def _http_logger() -> logging.Logger:
    """aiohttp's logger, without the tracebacks that it writes for requests that are no HTTP."""
    logger = logging.getLogger("aiohttp.server")
    if _is_no_client_fault not in logger.filters:
        logger.addFilter(_is_no_client_fault)
    return logger


def _is_no_client_fault(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
