"""Writes the records folder: whole, in place of older records only."""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from atrank_tf.data.catalog import Catalog
from atrank_tf.data.records import FORMAT, MANIFEST, SCHEMA, read_manifest
from atrank_tf.files import (
    arrays_checksum,
    file_checksum,
    save_arrays,
    whole_folder,
    write_json,
    write_text,
)
from atrank_tf.schema import Schema, dump_schema

_OWN = re.compile(
    r"manifest\.json|schema\.toml|report\.(json|html)|timelines-[-\w]+\.tfrecord"
    r"|(catalog|vocabulary)(/[^/]+\.npz)?|state"
    r"|dataset_info\.json|features\.json|\.DS_Store"
)
"""Names of what may be in a records folder; the last are of TensorFlow Datasets, and of macOS."""


def is_current(path: str, inputs: str) -> bool:
    """Returns whether a folder holds complete records of these inputs."""
    try:
        manifest = read_manifest(path)
    except (FileNotFoundError, ValueError):
        return False
    return bool(manifest["inputs"] == inputs) and all(
        tf.io.gfile.exists(f"{path}/{name}") for name in manifest["checksums"]
    )


def write_description(
    folder: Path, schema: Schema, catalogs: Mapping[str, Catalog], vocabularies: Mapping[str, np.ndarray]
) -> dict[str, str]:
    """Writes everything into a folder but the timelines and the manifest.

    Returns:
        Relative path -> SHA-256. The same contents are the same on every machine, whenever written: of arrays the
        values count, not how they are packed, since compression differs between versions of zlib.
    """
    checksums = {}
    (folder / "catalog").mkdir()
    for name, catalog in catalogs.items():
        catalog.save(str(folder / "catalog" / f"{name}.npz"))
        checksums[f"catalog/{name}.npz"] = arrays_checksum(catalog.arrays())
    (folder / "vocabulary").mkdir()
    for name, values in vocabularies.items():
        save_arrays(str(folder / "vocabulary" / f"{name}.npz"), {"values": values}, compress=True)
        checksums[f"vocabulary/{name}.npz"] = arrays_checksum({"values": values})
    write_text(folder / SCHEMA, dump_schema(schema))
    return checksums | {SCHEMA: file_checksum(str(folder / SCHEMA))}


def write_manifest(folder: Path, manifest: Mapping[str, Any], checksums: Mapping[str, str]) -> None:
    """Writes the manifest, which makes a folder with everything else in it complete.

    Args:
        folder: the folder.
        manifest: what it says beside format, checksums and fingerprint.
        checksums: relative path -> SHA-256 of every file that a training reads, by whoever wrote it.
    """
    found = dict(sorted(checksums.items()))
    content = {"format": FORMAT, "fingerprint": fingerprint(found), **manifest, "checksums": found}
    write_json(folder / MANIFEST, content)


def fingerprint(sums: Mapping[str, str]) -> str:
    """Returns one SHA-256 of all checksums of a folder."""
    return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


def shard_name(shard: int, shards: int) -> str:
    """Returns the file name of a shard, as TensorFlow Datasets names them."""
    return f"timelines-{shard:05d}-of-{shards:05d}.tfrecord"


def replacing(path: str) -> AbstractContextManager[Path]:
    """Gives a folder to write; it takes the place of the records at `path`, if there are any, as `whole_folder` says.

    Raises:
        ValueError: there is something at `path` that is no records folder, or holds something else beside records, or
            cannot change places: a mount point, or the current folder.
    """
    return whole_folder(path, lambda target: _check_replaceable(target, path))


def _check_replaceable(target: Path, path: str) -> None:
    """Raises an error unless a folder holds records, damaged ones too, and nothing else that would be lost."""
    if target.is_mount() or target.resolve() == Path.cwd():
        raise ValueError(
            f"Expected a folder that another one can take the place of, at {path}. Found a mount point, or the current "
            f"folder. Name a folder in it, as {path.rstrip('/')}/records."
        )
    if not target.exists():
        return
    if not target.is_dir() or (any(target.iterdir()) and not (target / MANIFEST).exists()):
        raise ValueError(f"Expected a records folder, or nothing, at {path}. Found something else; it is left alone.")
    files = [*target.iterdir(), *target.glob("catalog/*"), *target.glob("vocabulary/*")]
    names = (file.relative_to(target).as_posix() for file in files)
    others = sorted(name for name in names if not _OWN.fullmatch(name))
    if others:
        raise ValueError(
            f"Expected nothing but records in {path}, which are replaced as a whole. Found: {', '.join(others[:5])}. "
            "Move it elsewhere."
        )
