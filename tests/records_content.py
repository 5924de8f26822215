"""What is in a records folder, to compare engines."""

import hashlib
from pathlib import Path


def content_of(folder: str) -> dict[str, str]:
    """Returns relative path -> hash of each file but the manifest, which holds the time it took."""
    files = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
