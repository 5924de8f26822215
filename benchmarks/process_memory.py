"""Resident memory of this process, from /proc/self/status."""

from pathlib import Path


def peak_memory() -> float:
    """Returns the most MiB that were resident since this program started.

    `ru_maxrss` would not do: on Linux it begins with the peak of the process that started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    [value] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(value) / 1024
