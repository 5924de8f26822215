"""Method and path of a REST call -> what it asks for."""

import dataclasses
import re
from urllib.parse import unquote

from atrank_tf.server.errors import Code, ServingError

_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(rf"/v1/models/(?P<model>[^/:]+){_VERSION}:(?P<method>predict|classify|regress)", re.IGNORECASE)
_GET = re.compile(rf"/v1/models(?:/(?P<model>[^/:]+))?{_VERSION}(?:/(?P<subresource>metadata))?", re.IGNORECASE)

_MAX_VERSION = 2**63 - 1


@dataclasses.dataclass(frozen=True)
class RestPath:
    """What a call asks for.

    Attributes:
      model: str, percent-decoded.
      version: int, or None for the newest.
      label: str, percent-decoded, or None. Never together with a version.
      method: `predict`, `classify` or `regress`; empty for a GET.
      subresource: `metadata` (in any case), or empty for the status.
    """

    model: str
    version: int | None = None
    label: str | None = None
    method: str = ""
    subresource: str = ""


def parse_path(http_method: str, path: str) -> RestPath:
    """Reads a call under `/v1/`.

    Args:
      http_method: `GET`, `POST`, ...
      path: as in the request line, still percent-encoded, query string included: by contract none is allowed.

    Raises:
      ServingError: INVALID_ARGUMENT, `Malformed request: <method> <path>`, for wrong HTTP methods too;
        `Missing model name in request.` for a GET without one.
    """
    pattern = {"POST": _POST, "GET": _GET}.get(http_method)
    match = pattern.fullmatch(path) if pattern else None
    # The path is matched whatever its case, the method is not: `:PREDICT` reaches no handler.
    if match is None or (http_method == "POST" and not match["method"].islower()):
        raise ServingError(Code.INVALID_ARGUMENT, f"Malformed request: {http_method} {path}")
    found = match.groupdict()
    if found["model"] is None:
        raise ServingError(Code.INVALID_ARGUMENT, "Missing model name in request.")
    version, label = found["version"], found["label"]
    if version is not None and (len(version.lstrip("0")) > 19 or int(version) > _MAX_VERSION):
        raise ServingError(Code.INVALID_ARGUMENT, f"Failed to convert version: {version} to numeric.")
    return RestPath(
        model=unquote(found["model"]),
        version=None if version is None else int(version),
        label=None if label is None else unquote(label),
        method=found.get("method") or "",
        subresource=found.get("subresource") or "",
    )
