"""Counters and histograms under TensorFlow Serving's names, and the page on which Prometheus reads them."""

import bisect
import itertools
import threading
from collections.abc import Mapping, Sequence

# TensorFlow Serving's buckets: 10 microseconds to about 20 minutes, each 80 % wider; and 1 to 16,384 by doubling.
_MICROSECONDS = [10 * 1.8**i for i in range(33)]
_EXAMPLES = [float(2**i) for i in range(15)]

# TensorFlow Serving has no metric of this.
_VERSION = ":atrank:serving:model_version"


class Counter:
    """Number that only grows, for each combination of label values. Threads may use an object together.

    Args:
        name: of the metric.
        labels: their names.
    """

    def __init__(self, name: str, *labels: str) -> None:
        self._name = name
        self._labels = labels
        self._lock = threading.Lock()
        self._values: dict[tuple[str, ...], int] = {}

    def add(self, *labels: str, by: int = 1) -> None:
        """Adds `by` to the count of these label values."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + by

    def lines(self) -> list[str]:
        """Returns the metric in Prometheus' text format."""
        with self._lock:
            values = list(self._values.items())
        return [
            f"# TYPE {self._name} counter",
            *(f"{self._name}{{{_text(self._labels, labels)}}} {value}" for labels, value in values),
        ]


class Histogram:
    """Counts of values by bucket, for each combination of label values. Threads may use an object together.

    Args:
        name: of the metric.
        labels: their names.
        limits: the largest value of each bucket but the last, which has no limit; in ascending order.
    """

    def __init__(self, name: str, *labels: str, limits: Sequence[float]) -> None:
        self._name = name
        self._labels = labels
        self._limits = limits
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def add(self, value: float, *labels: str) -> None:
        """Counts a value under these label values."""
        bucket = bisect.bisect_left(self._limits, value)
        with self._lock:
            self._buckets.setdefault(labels, [0] * (len(self._limits) + 1))[bucket] += 1
            self._sums[labels] = self._sums.get(labels, 0.0) + value

    def lines(self) -> list[str]:
        """Returns the metric in Prometheus' text format."""
        with self._lock:
            found = [(labels, list(buckets), self._sums[labels]) for labels, buckets in self._buckets.items()]
        lines = [f"# TYPE {self._name} histogram"]
        limits = [*(f"{limit:g}" for limit in self._limits), "+Inf"]
        for labels, buckets, total in found:
            text = _text(self._labels, labels)
            for limit, count in zip(limits, itertools.accumulate(buckets), strict=True):
                lines.append(f'{self._name}_bucket{{{text},le="{limit}"}} {count}')
            lines += [f"{self._name}_sum{{{text}}} {total}", f"{self._name}_count{{{text}}} {sum(buckets)}"]
        return lines


class Metrics:
    """Metrics of a server.

    Attributes:
        request_count: by model and status code (`OK`, `INVALID_ARGUMENT`, ...).
        request_latency: of answered requests, in microseconds, by model, API (`predict`, ...) and `REST`.
        runtime_latency: of the model alone, in microseconds, by model, API (`Predict`, ...) and `TF1`, a `Session`.
        request_example_counts, request_example_count_total: examples of classify and regress calls, by model.
        model_warmup_latency: in microseconds, by version folder and status code.
        load_attempt_count: of versions, by folder and `success` or `fail`.
        load_latency: sum of microseconds that the successful ones took, by folder.
    """

    def __init__(self) -> None:
        prefix = ":tensorflow:serving:"
        self.model_warmup_latency = Histogram(
            f"{prefix}model_warmup_latency", "model_path", "status", limits=_MICROSECONDS
        )
        self.load_attempt_count = Counter(":tensorflow:cc:saved_model:load_attempt_count", "model_path", "status")
        self.load_latency = Counter(":tensorflow:cc:saved_model:load_latency", "model_path")
        self.request_count = Counter(f"{prefix}request_count", "model_name", "status")
        self.request_example_count_total = Counter(f"{prefix}request_example_count_total", "model")
        self.request_example_counts = Histogram(f"{prefix}request_example_counts", "model", limits=_EXAMPLES)
        self.request_latency = Histogram(
            f"{prefix}request_latency", "model_name", "API", "entrypoint", limits=_MICROSECONDS
        )
        self.runtime_latency = Histogram(
            f"{prefix}runtime_latency", "model_name", "API", "runtime", limits=_MICROSECONDS
        )

    def page(self, versions: Mapping[str, int | None]) -> bytes:
        """Returns all of it in Prometheus' text format, and the version of each model; 0 where there is none."""
        lines = [line for _, metric in sorted(vars(self).items()) for line in metric.lines()]
        lines.append(f"# TYPE {_VERSION} gauge")
        lines += [f"{_VERSION}{{{_text(['model_name'], [name])}}} {number or 0}" for name, number in versions.items()]
        return ("\n".join(lines) + "\n").encode()


def _text(names: Sequence[str], values: Sequence[str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
