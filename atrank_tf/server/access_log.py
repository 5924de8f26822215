"""Access log of the HTTP server: one line of JSON for each request."""

import datetime
import json
import logging
import sys

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger


class JsonAccessLog(AbstractAccessLogger):
    """Writes when a request came, from where, what it asked for, the answer's status and length, and how long it took.

    The keys are `time` (ISO 8601, UTC), `remote`, `method`, `path`, `status`, `bytes` and `ms`. The path is as long as
    a client makes it, up to 8 KiB; control characters in it are escaped.
    """

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Writes the line of a request that took `time` seconds."""
        began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=time)
        line = {
            "time": began.isoformat(timespec="milliseconds"),
            "remote": request.remote,
            "method": request.method,
            "path": getattr(request, "raw_path", request.path),
            "status": response.status,
            "bytes": response.content_length or 0,
            "ms": round(1000 * time, 3),
        }
        self.logger.info(json.dumps(line))


def access_logger() -> logging.Logger:
    """Returns a logger whose lines go to stdout as they are."""
    logger = logging.getLogger("atrank_tf.access")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.handlers = [logging.StreamHandler(sys.stdout)]
    return logger
