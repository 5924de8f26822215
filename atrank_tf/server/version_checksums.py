"""Checksums of the files in a version folder: an export writes them, the embedded server compares before it loads.

`<version>/assets.extra/checksums.json`: relative path -> SHA-256 of every other file. TensorFlow Serving reads nothing
in `assets.extra` but the warm-up requests. TensorFlow's own `fingerprint.pb` is about the graph and the index of the
variables, and no loader compares it; the variables have checksums that are compared, the graph's constants have none.
"""

from collections.abc import Mapping
from pathlib import Path

from atrank_tf.files import file_checksum, load_json, write_json

_FILE = "assets.extra/checksums.json"
_ADVICE = "Export again, or bring back a copy of the file."


def write_checksums(saved_model_dir: str) -> None:
    """Writes the checksums of all files in a version folder; the last thing that an export does."""
    folder = Path(saved_model_dir)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = {path.relative_to(folder).as_posix(): file_checksum(str(path)) for path in files}
    (folder / _FILE).parent.mkdir(exist_ok=True)
    _write(folder, sums)


def renew_checksum(saved_model_dir: str, name: str) -> None:
    """Renews the checksum of one file in a version folder; a folder without checksums stays without.

    Args:
        saved_model_dir: a version folder.
        name: of a file that was replaced on purpose, relative to the folder.

    Raises:
        ValueError: the checksums are damaged.
    """
    folder = Path(saved_model_dir)
    if (folder / _FILE).is_file():
        sums = load_json(folder / _FILE, _ADVICE).get("files", {})
        _write(folder, {**sums, name: file_checksum(str(folder / name))})


def compare_checksums(saved_model_dir: str, *, required: bool = False) -> None:
    """Compares the files of a version folder with its checksums.

    A folder without any, as other programs write them, is taken as it is, unless they are required.

    Raises:
        ValueError: a file is missing or damaged, or, where checksums are required, it or its folder has none; names it.
    """
    folder = Path(saved_model_dir)
    if not (folder / _FILE).is_file():
        if required:
            raise ValueError(f"Expected {_FILE} in {folder} (--require_checksums). Found none. {_ADVICE}")
        return
    files = load_json(folder / _FILE, _ADVICE).get("files", {})
    if required:
        present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        unlisted = sorted(present - files.keys() - {_FILE})
        if unlisted:
            raise ValueError(f"Expected every file of {folder} in {_FILE} (--require_checksums). Found: {unlisted}.")
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"Expected {name} in {folder}, as {_FILE} has it. Found none. {_ADVICE}")
        found = file_checksum(str(path))
        if found != expected:
            raise ValueError(
                f"{path} is damaged, or of another version. Expected the SHA-256 {expected} that {_FILE} names. "
                f"Found {found}. {_ADVICE}"
            )


def _write(folder: Path, sums: Mapping[str, str]) -> None:
    write_json(folder / _FILE, {"files": sums})
