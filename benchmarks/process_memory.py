"""Resident memory of this process, from /proc/self/status."""

from pathlib import Path


def peak_memory() -> float:
    """Returns the most MiB that were resident since this program started.

    `ru_maxrss` would not do: on Linux it begins with the peak of the process that started this one.
    """
    return _status("VmHWM")


def memory_now() -> float:
    """Returns the MiB that are resident."""
    return _status("VmRSS")


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    [value] = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return int(value) / 1024
