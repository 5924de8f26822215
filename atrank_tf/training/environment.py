"""Versions and git revision that a training or an evaluation ran on."""

import platform
import subprocess
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from atrank_tf.version import __version__

_SECONDS = 10
"""Longest time that git may take: on a slow disk nobody waits for a note."""


def environment() -> dict[str, Any]:
    """Returns versions and the git revision, as JSON types.

    `git` is of the repository that the working directory lies in, null if it lies in none, or there is no git:
    `revision`, and `changed`, whether files that it keeps differ from that revision.
    """
    return {
        "python": platform.python_version(),
        "packages": {
            "atrank_tf": __version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "tensorflow": tf.__version__,
        },
        "git": _git_state(),
    }


def _git_state() -> dict[str, Any] | None:
    try:
        revision = _git("rev-parse", "--verify", "HEAD").strip()
        changed = bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None
    return {"revision": revision, "changed": changed}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=_SECONDS)
    return done.stdout
