"""The records folder: what prepare writes, and everything after it reads.

schema.toml                             the schema with its sizes filled in
manifest.json                           format, counts, checksums and fingerprints
catalog/<entity>.npz                    `Catalog`
vocabulary/<table>.npz                  `values`: unicode [rows - 2]
report.json, report.html                how good the data is, as `atrank_tf.report` measures it
timelines-00000-of-000NN.tfrecord       one `tf.train.Example` per user, as `atrank_tf.preparation.timelines` says
"""

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

import numpy as np
import tensorflow as tf

from atrank_tf.data.catalog import Catalog
from atrank_tf.files import (
    arrays_checksum,
    file_checksum,
    load_arrays,
    load_json,
    save_arrays,
    whole_folder,
    write_json,
    write_text,
)
from atrank_tf.schema import Schema, dump_schema, load_schema, select_groups

FORMAT = 1
"""Version of the layout and of the Examples; other versions are refused."""
DUPLICATE = "exact duplicate"
"""Why rows of a file were dropped, in the manifest: same user, object, action and timestamp."""
_MANIFEST, _SCHEMA = "manifest.json", "schema.toml"
_OWN = re.compile(
    r"manifest\.json|schema\.toml|report\.(json|html)|timelines-[-\w]+\.tfrecord"
    r"|(catalog|vocabulary)(/[^/]+\.npz)?"
    r"|dataset_info\.json|features\.json|\.DS_Store"
)
"""Names of what may be in a records folder; the last are of TensorFlow Datasets, and of macOS."""
_MAKE = "Make records with python -m atrank_tf.prepare."
_MAKE_AGAIN = "Make the records again with python -m atrank_tf.prepare --overwrite, or bring back a copy of the file."


class Records:
    """A complete records folder.

    What is read here (the schema, the catalogs, the vocabularies) is compared with the checksums of the manifest; the
    timelines are when `verify` is called, as `train` does.

    Args:
        path: the folder.

    Attributes:
        path: the folder.
        schema: the schema, prepared.
        manifest: what was read and dropped, and the `fingerprint` of what is in the folder.
        catalogs: entity -> `Catalog`.
        vocabularies: table -> unicode [rows - 2], the values of the rows from 2 on.
        files: paths of the TFRecord files, sorted.
        share: (index, number): the share of the users that is read, of so many shares; all of them is (0, 1).

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder is no complete records folder, or of another format, or a file is damaged.
    """

    path: str
    schema: Schema
    manifest: Mapping[str, Any]
    catalogs: Mapping[str, Catalog]
    vocabularies: Mapping[str, np.ndarray]
    files: list[str]
    share: tuple[int, int] = (0, 1)

    def __init__(self, path: str) -> None:
        self.path = path
        self.manifest = read_manifest(path)
        self._compare(_SCHEMA, file_checksum(_complete(path, _SCHEMA)))
        self.schema = load_schema(f"{path}/{_SCHEMA}")
        if not self.schema.prepared:
            raise ValueError(f"Expected a prepared schema in {path}/{_SCHEMA}. Some sizes are missing. {_MAKE}")
        self.catalogs = {}
        for name, entity in self.schema.entities.items():
            self.catalogs[name] = read_catalog(path, name)
            found = len(self.catalogs[name])
            if found != entity.rows:
                raise ValueError(f"Expected {entity.rows} rows in {path}/catalog/{name}.npz. Found {found}. {_MAKE}")
            self._compare(f"catalog/{name}.npz", arrays_checksum(self.catalogs[name].arrays()))
        self.vocabularies = {}
        for name in self.schema.tables:
            self.vocabularies[name] = read_vocabulary(path, name)
            self._compare(f"vocabulary/{name}.npz", arrays_checksum({"values": self.vocabularies[name]}))
        # Listed, not globbed: a folder may be called r_[v1].
        self.files = sorted(f"{path}/{name}" for name in tf.io.gfile.listdir(path) if ".tfrecord" in name)
        if len(self.files) != self.manifest["shards"]:
            raise ValueError(
                f"Expected {self.manifest['shards']} TFRecord files in {path}. Found {len(self.files)}. {_MAKE}"
            )

    def verify(self) -> None:
        """Reads all timelines once and compares them with the checksums of the manifest.

        Each Example has a checksum of its own, which TensorFlow compares whenever it is read; but a file that was cut
        between two Examples, or belongs to other records, would pass.

        Raises:
            ValueError: a file is damaged; names it.
        """
        for path in self.files:
            self._compare(path.rsplit("/", 1)[-1], file_checksum(path))

    def check_unchanged(self) -> None:
        """Compares the manifest with the one that was read: files are opened anew in every pass over the data.

        Raises:
            FileNotFoundError: the folder is gone.
            ValueError: other records have taken its place.
        """
        found = read_manifest(self.path)["fingerprint"]
        if found != self.manifest["fingerprint"]:
            raise ValueError(
                f"Expected the records that were opened, of fingerprint {self.manifest['fingerprint'][:12]}..., in "
                f"{self.path}. Found others, of {found[:12]}...: prepare has replaced them. Prepare new records in "
                "another folder while a training reads these."
            )

    def _compare(self, name: str, found: str) -> None:
        expected = self.manifest["checksums"].get(name, "none")
        if found != expected:
            raise ValueError(
                f"{self.path}/{name} is damaged, or of other records. Expected the SHA-256 {expected} that the "
                f"manifest names. Found {found}. {_MAKE_AGAIN}"
            )

    def select(self, groups: Sequence[str]) -> Self:
        """Returns these records as one sees them who reads only some groups; nothing is copied or written.

        Args:
            groups: names of groups; empty for all.

        Raises:
            ValueError: the schema has no such group.
        """
        chosen = copy.copy(self)
        chosen.schema = select_groups(self.schema, groups)
        chosen.catalogs = {name: self.catalogs[name] for name in chosen.schema.entities}
        chosen.vocabularies = {name: self.vocabularies[name] for name in chosen.schema.tables}
        return chosen

    def of_worker(self, index: int, number: int) -> Self:
        """Returns these records as one of several workers reads them; nothing is copied or written.

        In training a worker reads its share of the files, the others theirs. In evaluation it reads all files and takes
        its share of the chunks, so that the requests and negatives are those of one worker.

        Args:
            index: which worker, from 0.
            number: how many there are.

        Raises:
            ValueError: there are fewer files than workers.
        """
        if number > len(self.files):
            raise ValueError(
                f"Expected a TFRecord file for each worker at least. Found {len(self.files)} in {self.path} for "
                f"{number} workers: prepare with --shards={number}, or a multiple of it."
            )
        chosen = copy.copy(self)
        chosen.share = (index, number)
        return chosen


def read_manifest(path: str) -> dict[str, Any]:
    """Reads the manifest of a records folder.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder is no complete records folder, or of another format, or the manifest is damaged.
    """
    if not tf.io.gfile.isdir(path):
        raise FileNotFoundError(f"Expected a records folder at {path}. Found none. {_MAKE}")
    manifest = load_json(_complete(path, _MANIFEST), _MAKE_AGAIN)
    found = manifest.get("format")
    if found != FORMAT:
        raise ValueError(f"Expected records of format {FORMAT} in {path}. Found format {found}. {_MAKE}")
    missing = {"inputs", "shards", "fingerprint", "checksums"} - manifest.keys()
    if missing:
        raise ValueError(f"Expected the manifest of records in {path}/{_MANIFEST}. Missing: {sorted(missing)}. {_MAKE}")
    return manifest


def read_catalog(path: str, entity: str) -> Catalog:
    """Reads a catalog of a records folder.

    Raises:
        ValueError: it is not there, or damaged.
    """
    return Catalog.load(_complete(path, f"catalog/{entity}.npz"), _MAKE_AGAIN)


def read_vocabulary(path: str, table: str) -> np.ndarray:
    """Reads a vocabulary of a records folder: unicode [rows - 2].

    Raises:
        ValueError: it is not there, or damaged.
    """
    file_path = _complete(path, f"vocabulary/{table}.npz")
    arrays = load_arrays(file_path, _MAKE_AGAIN)
    if set(arrays) != {"values"}:
        raise ValueError(f"Expected one array, values, in {file_path}. Found: {sorted(arrays)}. {_MAKE_AGAIN}")
    return arrays["values"]


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
) -> None:
    """Writes everything into a folder but the timelines and the manifest."""
    (folder / "catalog").mkdir()
    for name, catalog in catalogs.items():
        catalog.save(str(folder / "catalog" / f"{name}.npz"))
    (folder / "vocabulary").mkdir()
    for name, values in vocabularies.items():
        save_arrays(str(folder / "vocabulary" / f"{name}.npz"), {"values": values}, compress=True)
    write_text(folder / _SCHEMA, dump_schema(schema))


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes the manifest, which makes a folder with everything else in it complete."""
    sums = checksums(folder)
    content = {"format": FORMAT, "fingerprint": fingerprint(sums), **manifest, "checksums": sums}
    write_json(folder / _MANIFEST, content)


def checksums(folder: Path) -> dict[str, str]:
    """Returns relative path -> SHA-256 of the schema, the catalogs, the vocabularies and the timelines in a folder.

    The same contents are the same on every machine, whenever written: of arrays the values count, not how they are
    packed, since compression differs between versions of zlib.
    """
    paths = [folder / _SCHEMA, *folder.glob("catalog/*.npz"), *folder.glob("vocabulary/*.npz")]
    paths += folder.glob("*.tfrecord")
    return {path.relative_to(folder).as_posix(): _checksum(str(path)) for path in sorted(paths)}


def _checksum(path: str) -> str:
    return arrays_checksum(load_arrays(path)) if path.endswith(".npz") else file_checksum(path)


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
    if not target.is_dir() or (any(target.iterdir()) and not (target / _MANIFEST).exists()):
        raise ValueError(f"Expected a records folder, or nothing, at {path}. Found something else; it is left alone.")
    files = [*target.iterdir(), *target.glob("catalog/*"), *target.glob("vocabulary/*")]
    names = (file.relative_to(target).as_posix() for file in files)
    others = sorted(name for name in names if not _OWN.fullmatch(name))
    if others:
        raise ValueError(
            f"Expected nothing but records in {path}, which are replaced as a whole. Found: {', '.join(others[:5])}. "
            "Move it elsewhere."
        )


def _complete(path: str, name: str) -> str:
    if not tf.io.gfile.exists(f"{path}/{name}"):
        raise ValueError(f"Expected {name} in {path}: the records are incomplete, or no records. {_MAKE}")
    return f"{path}/{name}"
