"""Records that stand, to which `prepare` appends: what it needs of them beside what a training reads.

state/counts-<bucket>.parquet       how often each object and value was counted: `table`, `value`, `count`, `shown`
state/catalog-<entity>.parquet      the clean rows of its catalog file
state/kept/<label>/<shard>.parquet  clean rows from `validation_from` on, which do not count yet
state/sums.npz                      the sums of the report, as `NonZero`

and `append` in the manifest: the checksums of these files (`state`), label -> newest timestamp (`newest`), and mean and
variance of users' and contexts' numbers (`dense`).
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tensorflow as tf

from atrank_tf.data.records import Records
from atrank_tf.files import file_checksum, load_arrays
from atrank_tf.paths import local_path
from atrank_tf.preparation.counting import Counts, MeanAndVariance
from atrank_tf.preparation.logs import CATALOG
from atrank_tf.preparation.records_folder import shard_name
from atrank_tf.preparation.staging import Files
from atrank_tf.report.measure import new_sums
from atrank_tf.report.sums import NonZero, Sums
from atrank_tf.schema import Schema, Split, first_difference
from atrank_tf.schema.difference import as_written

STATE, APPEND = "state", "append"
_BUFFER_BYTES = 1 << 20
_ANEW = "Make records of all logs with python -m atrank_tf.prepare, without --append."


@dataclass(frozen=True)
class Standing:
    """Records that stand; workers get it, so it holds no catalog and no vocabulary.

    Args:
        path: the folder, absolute.
        schema: its schema, prepared.
        manifest: its manifest.
        same_parts: whether each target stays in the part of the data in which it is.
    """

    path: str
    schema: Schema
    manifest: Mapping[str, Any]
    same_parts: bool

    @classmethod
    def of(cls, records: Records, schema: Schema) -> "Standing":
        """Returns the records as what is appended to them needs them.

        Args:
            records: the records.
            schema: what the new logs hold.

        Raises:
            ValueError: the schema is not that of the records, or its split goes back; or an earlier version of this
                package made the records.
        """
        # The sums of the report are kept without names: with other ones than today's they would be taken for others.
        if records.manifest.get(APPEND, {}).get("sums") != len(new_sums(records.schema)):
            raise ValueError(
                f"Expected records that can be appended to in {records.path}. Found those of an earlier version of "
                f"this package, which lack what that needs. {_ANEW}"
            )
        old, new = records.schema.split, schema.split
        one, other = (replace(as_written(each), split=Split(kind=each.split.kind)) for each in (records.schema, schema))
        if found := first_difference(one, other):
            raise ValueError(
                f"Expected the schema of {records.path}, but for the dates of [split]. There {found.place} is "
                f"{found.one!r}, in that of the new logs {found.other!r}. {_ANEW}"
            )
        if (new.validation_from, new.test_from) < (old.validation_from, old.test_from):
            there, here = (
                " and ".join(str(np.datetime64(each, "s")) for each in (split.validation_from, split.test_from))
                for split in (old, new)
            )
            raise ValueError(
                f"Expected a [split] that does not go back: what was counted in {records.path} stays counted. "
                f"validation_from and test_from are {there} there, and {here} in the schema of the new logs. {_ANEW}"
            )
        return cls(str(local_path(records.path)), records.schema, records.manifest, old == new)

    @property
    def shards(self) -> int:
        """The number of shards."""
        return int(self.manifest["shards"])

    @property
    def now(self) -> int:
        """When they were made, Unix seconds."""
        return int(self.manifest["now"])

    @property
    def newest(self) -> Mapping[str, int]:
        """Label of a file -> the latest timestamp of its rows."""
        found: Mapping[str, int] = self._append["newest"]
        return found

    def counts(self) -> Counts:
        """Returns what is counted beside objects and values."""
        found = Counts(newest=dict(self.newest))
        for owner, columns in self._append["dense"].items():
            found.dense[owner].update({column: MeanAndVariance(*measured) for column, measured in columns.items()})
        return found

    def bucket(self, bucket: int) -> str:
        """Returns the file of a bucket of counts."""
        return self._file(bucket_name(bucket))

    def catalog(self, entity: str) -> pl.DataFrame | None:
        """Returns the clean rows of an entity's catalog file, None if there was none."""
        return self._frame(catalog_name(entity))

    def later(self, shard: int) -> dict[str, pl.DataFrame]:
        """Returns label -> rows of a shard that do not count yet."""
        labels = [label for label in self.newest if not label.startswith(CATALOG)]
        frames = {label: self._frame(later_name(label, shard)) for label in labels}
        return {label: frame for label, frame in frames.items() if frame is not None}

    def sums(self, schema: Schema) -> Sums:
        """Returns the sums of the report, for a schema with as many objects or more."""
        own, sums = new_sums(self.schema), new_sums(schema)
        own.add_all(NonZero(**load_arrays(self._file(f"{STATE}/sums.npz"))))
        sums.add_shorter(own)
        return sums

    def timelines(self, shard: int) -> Iterator[bytes]:
        """Yields the Examples of a shard, by user."""
        path = self._file(shard_name(shard, self.shards))
        yield from tf.data.TFRecordDataset(path, buffer_size=_BUFFER_BYTES).as_numpy_iterator()

    def users(self, shard: int) -> pl.Series:
        """Returns the users of a shard."""
        return pl.Series("user", [user_of(each).decode() for each in self.timelines(shard)], pl.String)

    def files(self, shard: int) -> list[Files]:
        """Returns what is read of a shard."""
        folder = Path(self.path)
        return [Files(folder / shard_name(shard, self.shards)), Files(folder, later_name("*", shard))]

    def link(self, shard: int, folder: Path) -> str:
        """Puts a shard into another folder as it is, without reading it; returns its checksum."""
        name = shard_name(shard, self.shards)
        (folder / name).unlink(missing_ok=True)  # Of a worker whose answer was lost.
        try:
            os.link(f"{self.path}/{name}", folder / name)
        except OSError:  # Another disk, or one without links.
            shutil.copyfile(f"{self.path}/{name}", folder / name)
        return str(self.manifest["checksums"][name])

    @property
    def _append(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.manifest[APPEND]
        return found

    def _frame(self, name: str) -> pl.DataFrame | None:
        return pl.read_parquet(self._file(name), glob=False) if name in self._append[STATE] else None

    def _file(self, name: str) -> str:
        """Returns the path of a file once its checksum is compared."""
        path, expected = f"{self.path}/{name}", (self._append[STATE] | self.manifest["checksums"]).get(name)
        found = file_checksum(path) if Path(path).is_file() else "none"
        if found != expected:
            raise ValueError(
                f"{path} is damaged, or of other records. Expected the SHA-256 {expected} that the manifest names. "
                f"Found {found}. Bring back a copy of the file. Else: {_ANEW}"
            )
        return path


def bucket_name(bucket: int) -> str:
    """Returns the file of a bucket of counts, in the records folder."""
    return f"{STATE}/counts-{bucket:06}.parquet"


def catalog_name(entity: str) -> str:
    """Returns the file of the clean rows of an entity's catalog file."""
    return f"{STATE}/catalog-{entity}.parquet"


def later_name(label: str, shard: int) -> str:
    """Returns the file of the rows of a shard that do not count yet."""
    return f"{STATE}/kept/{label}/{shard:06}.parquet"


def user_of(timeline: bytes) -> bytes:
    """Returns the user of a serialized Example."""
    found: bytes = tf.train.Example.FromString(timeline).features.feature["user_id"].bytes_list.value[0]
    return found
