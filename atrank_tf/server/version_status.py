"""What became of one version of a model, as the status call tells it."""

import dataclasses

import tensorflow as tf

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.loader import kernel_text


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """What became of one version.

    Attributes:
      version: int.
      state: `LOADING`, `AVAILABLE`, `UNLOADING` (its last calls are running) or `END` (unloaded, or failed to load).
      code: `Code.OK`, or why it failed to load.
      message: str. The reason in words, empty when all is well.
    """

    version: int
    state: str
    code: Code = Code.OK
    message: str = ""


def load_failed(version: int, error: Exception) -> VersionStatus:
    """The status of a version that could not be loaded; clients read it, so it holds no Python stack."""
    if isinstance(error, ServingError):
        code, message = error.code, error.message
    elif isinstance(error, tf.errors.OpError):
        code, message = Code(error.error_code), kernel_text(error)
    else:
        code, message = Code.NOT_FOUND if isinstance(error, OSError) else Code.UNKNOWN, str(error)
    return VersionStatus(version, "END", code, message or type(error).__name__)
