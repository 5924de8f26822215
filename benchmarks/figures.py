"""Writes what a benchmark measured."""

import json
from pathlib import Path
from typing import Any


def write_figures(path: str, figures: Any) -> None:
    """Writes figures as JSON, into a folder that need not be there."""
    out = Path(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=1) + "\n")
