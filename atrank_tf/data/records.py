"""The records folder, which prepare writes and everything after it reads.

schema.toml                             the schema with its sizes filled in
manifest.json                           format, counts, checksums and fingerprints
catalog/<entity>.npz                    `Catalog`
vocabulary/<table>.npz                  `values`: texts [rows - 2]
report.json, report.html                how good the data is, as `atrank_tf.report` measures it
state/                                  what `atrank_tf.preparation.standing` reads to append to the records
timelines-00000-of-000NN.tfrecord       one `tf.train.Example` per user, as `atrank_tf.preparation.timelines` says
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf

from atrank_tf.data.catalog import Catalog
from atrank_tf.files import (
    arrays_checksum,
    file_checksum,
    load_arrays,
    load_json,
)
from atrank_tf.schema import Group, Schema, load_schema, select_groups

FORMAT = 2
"""Version of the layout, of the Examples and of what keys of the schema mean; other versions are refused."""
DUPLICATE = "exact duplicate"
"""Why rows of a file were dropped, in the manifest: same user, object, action and timestamp."""
MANIFEST, SCHEMA = "manifest.json", "schema.toml"
_MAKE = "Make records with python -m atrank_tf.prepare."
_MAKE_AGAIN = "Make the records again with python -m atrank_tf.prepare --overwrite, or bring back a copy of the file."


class Records:
    """A records folder, opened for reading: schema, manifest, catalogs, vocabularies and timelines.

    What is read here (the schema, the catalogs, the vocabularies) is compared with the checksums of the manifest; the
    timelines are when `verify` is called, as `train` does.

    Args:
        path: the folder.

    Attributes:
        path: the folder.
        schema: the schema, prepared.
        all_groups: the groups of the schema, also those that `select` has left out.
        manifest: what was read and dropped, and the `fingerprint` of what is in the folder.
        catalogs: entity -> `Catalog`.
        vocabularies: table -> texts (`atrank_tf.files.text_array`) [rows - 2], the values of the rows from 2 on.
        files: paths of the TFRecord files, sorted.
        share: (index, number): the share of the users that is read, of so many shares; all of them is (0, 1).

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder is no complete records folder, or of another format, or a file is damaged.
    """

    path: str
    schema: Schema
    all_groups: Mapping[str, Group]
    manifest: Mapping[str, Any]
    catalogs: Mapping[str, Catalog]
    vocabularies: Mapping[str, np.ndarray]
    files: list[str]
    share: tuple[int, int] = (0, 1)

    def __init__(self, path: str) -> None:
        self.path = path
        self.manifest = read_manifest(path)
        self._compare(SCHEMA, file_checksum(_complete(path, SCHEMA)))
        self.schema = load_schema(f"{path}/{SCHEMA}")
        if not self.schema.prepared:
            raise ValueError(f"Expected a prepared schema in {path}/{SCHEMA}. Some sizes are missing. {_MAKE}")
        self.all_groups = self.schema.groups
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
        """Reads the timelines once and compares them with the checksums of the manifest.

        Each Example has a checksum of its own, which TensorFlow compares whenever it is read; but a file that was cut
        between two Examples, or belongs to other records, would pass. Of several workers each reads the files that it
        trains on, and together they read all.

        Raises:
            ValueError: a file is damaged; names it.
        """
        index, shares = self.share
        for path in self.files[index::shares]:
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

    def select(self, groups: Sequence[str], *, affinity: bool = True) -> Self:
        """Returns a view of these records with only some groups; nothing is copied or written.

        Args:
            groups: names of groups; empty for all.
            affinity: whether batches have the affinity of candidates.

        Raises:
            ValueError: the schema has no such group.
        """
        if not groups and affinity:
            return self
        chosen = copy.copy(self)
        chosen.schema = select_groups(self.schema, groups, affinity=affinity)
        chosen.catalogs = {name: self.catalogs[name] for name in chosen.schema.entities}
        chosen.vocabularies = {name: self.vocabularies[name] for name in chosen.schema.tables}
        return chosen

    def of_worker(self, index: int, number: int) -> Self:
        """Returns a view of these records for one of several workers; nothing is copied or written.

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
    manifest = load_json(_complete(path, MANIFEST), _MAKE_AGAIN)
    found = manifest.get("format")
    if found != FORMAT:
        raise ValueError(f"Expected records of format {FORMAT} in {path}. Found format {found}. {_MAKE}")
    missing = {"inputs", "shards", "fingerprint", "checksums"} - manifest.keys()
    if missing:
        raise ValueError(f"Expected the manifest of records in {path}/{MANIFEST}. Missing: {sorted(missing)}. {_MAKE}")
    return manifest


def read_catalog(path: str, entity: str) -> Catalog:
    """Reads a catalog of a records folder.

    Raises:
        ValueError: it is not there, or damaged.
    """
    return Catalog.load(_complete(path, f"catalog/{entity}.npz"), _MAKE_AGAIN)


def read_vocabulary(path: str, table: str) -> np.ndarray:
    """Reads a vocabulary of a records folder: texts [rows - 2].

    Raises:
        ValueError: it is not there, or damaged.
    """
    file_path = _complete(path, f"vocabulary/{table}.npz")
    arrays = load_arrays(file_path, _MAKE_AGAIN)
    if set(arrays) != {"values"}:
        raise ValueError(f"Expected one array, values, in {file_path}. Found: {sorted(arrays)}. {_MAKE_AGAIN}")
    return arrays["values"]


def _complete(path: str, name: str) -> str:
    if not tf.io.gfile.exists(f"{path}/{name}"):
        raise ValueError(f"Expected {name} in {path}: the records are incomplete, or no records. {_MAKE}")
    return f"{path}/{name}"
