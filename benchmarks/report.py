"""`make bench`: runs the benchmarks, prints their figures beside the targets, and writes build/bench.json.

Each benchmark is a program of its own that writes its figures; this one puts them together.
"""

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from atrank_tf import command
from figures import write_figures
from workload import LOGS

_LOGS = flags.DEFINE_string("logs", LOGS, "Logs folder of Amazon Sports; generated logs are taken where it is none.")
_OUT = flags.DEFINE_string("out", "build/bench.json", "Where all figures are written.")

PARTS = ("fit", "tasks", "scaling", "memory", "tables")
"""Programs of this folder; each writes build/bench_<part>.json."""
NEED_LOGS = ("fit", "memory")
TARGETS = {"atrank": 35.0, "timeline_atrank": 200.0}
"""Rows per second of a model, as times the yardstick's."""
SHARE_OF_PEAK = 0.5
PIPELINE_OVER_FIT = 5.0
ALL_TASKS = 1.5
"""Most seconds of an epoch of all tasks, as times those of the largest task alone."""
AFFINITY = 1.25
"""Most seconds of a step with affinity, as times those of one without."""
TABLE_GROWTH = 1.3
"""Most milliseconds per step with the largest table, as times those with the smallest."""
OVER_DENSE = 20.0
"""Steps per second with 4 million rows, as times those of Keras' Embedding with Adam."""

LONGEST = "at most 2 x"
"""A step of the longest histories beside one of histories of 256, of as many behaviors in all."""

Line = tuple[str, str, str, str]
"""What is measured, the figure, what it is beside the yardstick or the smallest of its series, the target."""


def main() -> None:
    figures: dict[str, Any] = {"about": _about()}
    for part in PARTS:
        program = Path(__file__).with_name(f"{part}.py")
        sys.stderr.write(f"== {program.name}\n")
        arguments = [f"--logs={_LOGS.value}"] if part in NEED_LOGS else []
        subprocess.run([sys.executable, str(program), *arguments], check=True, stdout=subprocess.DEVNULL)
        figures[part] = json.loads(Path(f"build/bench_{part}.json").read_text())
    write_figures(_OUT.value, figures)
    print("\n".join(f"{key}: {value}" for key, value in figures["about"].items()))
    header: Line = ("measured", "figure", "beside", "target")
    lines = {"fit": _fit, "tasks": _tasks, "scaling": _scaling, "memory": _memory, "tables": _tables}
    for line in (header, *(line for part in PARTS for line in lines[part](figures[part]))):
        print("{:69}{:>12}{:>20}  {}".format(*line).rstrip())


def _about() -> dict[str, Any]:
    import tensorflow as tf

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{len(os.sched_getaffinity(0))} CPU cores, {memory:.0f} GB",
        "tensorflow": tf.__version__,
        "data": "Amazon Sports" if Path(_LOGS.value).is_dir() else "generated logs of the shape of Amazon Sports",
    }


def _fit(figures: dict[str, Any]) -> Iterator[Line]:
    yardstick = figures["yardstick"]
    peaks = [found["matmul_peak_gflops"] for found in figures.values()]
    yield "float32 matrix product, 2048 x 2048: GFLOP/s", f"{np.median(peaks):,.0f}", "", ""
    for name, found in figures.items():
        yield (
            f"{name}: rows per second",
            f"{found['rows_per_second']:,.0f}",
            f"{found['times_yardstick']:,.1f} x",
            f"at least {TARGETS[name]:.0f} x" if name in TARGETS else "",
        )
        of_yardstick = found["targets_per_second"] / yardstick["targets_per_second"]
        yield f"{name}: targets per second", f"{found['targets_per_second']:,.0f}", f"{of_yardstick:,.1f} x", ""
        yield f"{name}: milliseconds per step", f"{found['milliseconds_per_step']:,.1f}", "", ""
        yield (
            f"{name}: share of the matrix-product peak",
            f"{found['share_of_matmul_peak']:.0%}" if "share_of_matmul_peak" in found else "not counted",
            "",
            f"at least {SHARE_OF_PEAK:.0%}" if name in TARGETS else "",
        )
        memory = found["peak_memory_mib"]
        yield f"{name}: peak memory, MiB", f"{memory:,.0f}", f"{memory / yardstick['peak_memory_mib']:.2f} x", ""
        yield (
            f"{name}: tf.data alone, rows per second",
            f"{found['pipeline_rows_per_second']:,.0f}",
            f"{found['pipeline_over_fit']:,.1f} x its fit",
            f"at least {PIPELINE_OVER_FIT:.0f} x" if name in TARGETS else "",
        )


def _tasks(figures: dict[str, Any]) -> Iterator[Line]:
    for name, found in figures.items():
        yield (
            f"market, {name}: seconds of an epoch",
            f"{found['seconds_per_epoch']:,.1f}",
            f"{found['times_largest_task']:.2f} x largest task",
            f"at most {ALL_TASKS} x" if name == "all2all" else "",
        )
    times = figures["all2all"]["times_no_affinity"]
    yield "market, all2all: a step with affinity", "", f"{times:.2f} x one without", f"at most {AFFINITY} x"


def _scaling(figures: dict[str, Any]) -> Iterator[Line]:
    for name, series in figures.items():
        for along, points in series.items():
            for point in points:
                what = f"{name}: {along} {point[along]:,}, {point['requests']} requests a step: ms per step"
                base = next(one for one in points if one["times_base"] == 1)[along]
                beside = f"{point['times_base']:,.2f} x {along} {base}"
                target = LONGEST if (name, along, point) == ("timeline_atrank", "length", points[-1]) else ""
                yield what, f"{point['milliseconds_per_step']:,.1f}", beside, target


def _memory(figures: dict[str, Any]) -> Iterator[Line]:
    start = figures["start"]["peak_memory_mib"]
    yield "TensorFlow started: peak memory, MiB", f"{start:,.0f}", "", ""
    smallest = {step: figures["5000_users"][step]["peak_memory_mib"] for step in ("prepare", "read")}
    for name, found in figures.items():
        for step in ("prepare", "read") if name != "start" else ():
            what = f"{name.replace('_', ' ')}: {step}: peak memory, MiB"
            memory = found[step]["peak_memory_mib"]
            beside, target = "", ""
            if name == "50000_users":
                beside, target = f"{memory / smallest[step]:.2f} x 5000 users", "about 1 x" if step == "read" else ""
            yield what, f"{memory:,.0f}", beside, target
        if name == "amazon_sports":
            yield "amazon sports: prepare: seconds", f"{found['prepare']['seconds']:,.1f}", "", ""


def _tables(figures: list[dict[str, Any]]) -> Iterator[Line]:
    largest = max(found["rows"] for found in figures)
    for found in figures:
        what = f"{found['case']}: {found['rows']:,} rows: ms per step"
        growth, faster = found["relative to the smallest table"], found.get("times faster than Embedding with Adam")
        sparse = not found["case"].startswith("Embedding")
        target = ""
        if sparse and found["rows"] == largest:
            target = f"at most {TABLE_GROWTH} x"
        yield what, f"{found['milliseconds']:,.1f}", f"{growth:,.2f} x smallest", target
        if sparse and faster is not None:
            target = f"at least {OVER_DENSE:.0f} x" if found["rows"] == 4_000_000 else ""
            yield f"{found['case']}: {found['rows']:,} rows: steps per second", "", f"{faster:,.1f} x dense", target


if __name__ == "__main__":
    command.run(main)
