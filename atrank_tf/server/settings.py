"""Settings of a server: address, threads, limits, polling, pages."""

import dataclasses
import os
import resource

_POSITIVE = (
    "num_threads",
    "timeout_ms",
    "max_body_bytes",
    "max_candidates",
    "max_memory_reads",
    "max_output_values",
    "max_lists",
    "max_values",
    "max_work_bytes",
    "max_bytes_in_flight",
    "max_connections",
    "keepalive_seconds",
    "drain_seconds",
)
_NOT_NEGATIVE = ("poll_seconds", "config_poll_seconds")


def most_connections() -> int:
    """Returns half of the files that this process may open, 1,000 at most: models and new connections need some too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1000 if soft == resource.RLIM_INFINITY else min(1000, soft // 2)


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
        max_lists: int. Most lists and objects in a JSON body; more get 400 before it is parsed.
        max_values: int. Most values in a JSON body, and of a feature in all tf.Examples of a request, padded to the
            longest; more get 400.
        max_work_bytes: int. Most bytes that the requests that models work on may take together, by an estimate of the
            export's own. One that may take more gets 400; others wait for their turn. The graph of an export has the
            default as its limit.
        max_output_values: int. Most values in an answer, of all outputs together; more get 400.
        max_bytes_in_flight: int. Most bytes of bodies that are on their way or wait for a thread, beyond the first 64
            KiB of each; more get 503.
        max_connections: int. Most connections at once; then idle ones are closed for new ones, or these get 503.
            Defaults to half of the files that the process may open, 1,000 at most.
        keepalive_seconds: float. A connection without a request is closed after so long.
        drain_seconds: float. From SIGTERM to the end: requests are answered first as far as the time suffices.
        allowed_hosts: names of the server that a request may have in its Host header, without port. Defaults to none:
            any, but for the pages beside the API of a server that listens on the loopback interface those of that.
        access_log: bool. Whether a line of JSON for each request is written to stdout.
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
    # As long as other threads wait while a body is parsed: 70 ms for either (2 cores).
    max_lists: int = 100_000
    max_values: int = 1_000_000
    # TensorFlow, models and this fit into 2 GiB, the limit in compose.yaml.
    max_work_bytes: int = 768 * 1024 * 1024
    # Eight bodies of the largest size.
    max_bytes_in_flight: int = 64 * 1024 * 1024
    max_connections: int = dataclasses.field(default_factory=most_connections)
    keepalive_seconds: float = 75.0
    # Container managers kill after 10 s (Docker) or 30 s (Kubernetes).
    drain_seconds: float = 8.0
    allowed_hosts: tuple[str, ...] = ()
    access_log: bool = False
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
