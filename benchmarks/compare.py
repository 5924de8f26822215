"""Tells which figures of two runs differ by more than their noise: `compare.py BEFORE.json AFTER.json`.

The files are those that the benchmarks write, as build/bench.json. A figure that was measured several times has its
repeats beside it; it has changed if no repeat of one run is within the range of the other's. With three repeats on each
side that happens by chance to one figure in ten, so measure what has changed once more. Most such figures are ratios
within a run, since the speed of machines differs; milliseconds say something on one machine only.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import app

LABELS = ("case", "rows", "length", "requests", "candidates", "history", "clients")
"""Figures that say what the others beside them are of."""


def main(arguments: list[str]) -> None:
    if len(arguments) != 3:
        raise app.UsageError(f"Expected two files, before and after. Received: {arguments[1:]}.")
    before, after = (dict(repeated(json.loads(Path(file).read_text()))) for file in arguments[1:])
    both = [name for name in before if name in after]
    lines = [line for name in both if (line := changed(name, before[name], after[name]))]
    print("\n".join(lines))
    missing = len(before) + len(after) - 2 * len(both)
    print(f"{len(lines)} of {len(both)} figures changed by more than their noise; {missing} are in one file alone.")


def repeated(found: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, list[float]]]:
    """Yields the name of each figure that was measured several times, and its repeats."""
    if isinstance(found, list):
        for item in found:
            if isinstance(item, dict):
                yield from repeated(item, (*place, *(f"{label} {item[label]}" for label in LABELS if label in item)))
    elif isinstance(found, dict):
        for name, repeats in found.get("repeats", {}).items():
            yield ", ".join((*place, name)), repeats
        for name, inner in found.items():
            if name != "repeats":
                yield from repeated(inner, (*place, name))


def changed(name: str, before: list[float], after: list[float]) -> str:
    """Returns a line about a figure that has changed, else an empty text."""
    if min(before) <= max(after) and min(after) <= max(before):
        return ""
    old, new = float(np.median(before)), float(np.median(after))
    ranges = [f"{np.median(one):,.3g} ({min(one):,.3g} to {max(one):,.3g})" for one in (before, after)]
    return f"{name}: {' -> '.join(ranges)}, {new / old - 1:+.0%}"


if __name__ == "__main__":
    app.run(main)
