"""Settings of a server: address, threads, limits, polling, pages."""

import dataclasses
import os

_POSITIVE = (
    "num_threads",
    "timeout_ms",
    "max_body_bytes",
    "max_candidates",
    "max_memory_reads",
    "max_output_values",
)
_NOT_NEGATIVE = ("poll_seconds", "config_poll_seconds")


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """Settings of a server.

    Attributes:
        host: str. Address to bind. There is no access control, so opening it up is a decision.
        port: int. TCP port; 0 takes a free one.
        num_threads: int. Requests that are worked on at once; more wait. Defaults to 4 for each processor.
        timeout_ms: int. From a request's headers to its answer; longer ones get 504.
        max_body_bytes: int. Longest request body; longer ones get 413. A compressed body that is longer when inflated
            counts as empty, as in TensorFlow Serving, whose limit is 100 MB. Also the most bytes that the context of a
            classify or regress call may take in all its examples together; more get 400.
        max_candidates: int. Most candidates in a request, of all its users together; more get 400.
        max_memory_reads: int. Most candidates times behaviors of a memory that comes with them; more get 400.
        max_output_values: int. Most values in an answer, of all outputs together; more get 400.
        poll_seconds: float. Between two looks for new versions; 0 looks once, at the start.
        config_poll_seconds: float. Between two readings of the model config file; 0 reads it once, at the start.
        metrics_path: str, or None for no metrics page.
        cors: bool. Whether pages of any origin may call.

    Raises:
        ValueError: for a number that is out of range.
    """

    host: str = "127.0.0.1"
    port: int = 8501
    num_threads: int = 4 * (os.cpu_count() or 1)
    timeout_ms: int = 30_000
    # Nearly twice the body of 100,000 candidates with three context columns: other threads wait while one is parsed.
    # TensorFlow Serving inflates 100 MB: 35 million empty lists, which come as 100 kB.
    max_body_bytes: int = 8 * 1024 * 1024
    max_candidates: int = 100_000
    # 100,000 candidates may read 200 behaviors, 20,000 may read 1,000.
    max_memory_reads: int = 20_000_000
    # Ten times as many as a request may have candidates: 13 MB of JSON, half a second's work.
    max_output_values: int = 1_000_000
    poll_seconds: float = 1.0
    config_poll_seconds: float = 0.0
    metrics_path: str | None = None
    cors: bool = False

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive. Received: {name}={getattr(self, name)}.")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative. Received: {name}={getattr(self, name)}.")
