"""Temporary storage of rows between logs and records, divided by user so that one part fits in memory."""

import shutil
import zlib
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import polars as pl

from atrank_tf.files import whole_file


def shard_of(value: str, shards: int) -> int:
    """Returns the shard of a user, or of any text: the same on every machine and in every release."""
    return zlib.crc32(value.encode()) % shards


def shard_column(column: str, shards: int) -> pl.Expr:
    """Returns `shard`, int32: the shard of each value of a text column."""

    def hashed(values: pl.Series) -> pl.Series:
        # A log holds a user many times; hashing is Python, so do it once per user of a batch.
        if values.is_empty():  # Polars would take the replaced values' type from them.
            return pl.Series(dtype=pl.Int32)
        distinct = values.unique()
        numbers = pl.Series([shard_of(value, shards) for value in distinct], dtype=pl.Int32)
        return values.replace_strict(distinct, numbers, return_dtype=pl.Int32)

    return pl.col(column).map_batches(hashed, return_dtype=pl.Int32, is_elementwise=True).alias("shard")


class Files(NamedTuple):
    """Files that are read or written: those below a folder whose names there match a pattern of `fnmatch`.

    Without a pattern `path` is the one file.
    """

    path: Path
    pattern: str = ""


class Staging:
    """Rows of several sources, divided by a hash of the user id.

    Pieces of a source are divided and shards are put in order wherever a worker is, maybe twice at a time. So each
    writes what is its own, whole or not at all, and what a shard was made of goes only by `forget`.

    Args:
        folder: where to write; made if missing.
        shards: number of parts.
    """

    def __init__(self, folder: Path, shards: int) -> None:
        self.folder, self.shards = folder, shards

    def divide(self, source: str, piece: int, frame: pl.LazyFrame) -> None:
        """Divides a piece of a source, which has a text column `user`; the frame is streamed, never held whole."""
        folder = self._divided(source) / f"{piece:06}"
        if folder.exists():  # By a worker whose answer was lost.
            return
        partial = folder.with_name(f"partial-{uuid4().hex}")
        partial.mkdir(parents=True)
        parts = pl.PartitionBy(partial, key="shard", include_key=False)
        frame.with_columns(shard_column("user", self.shards)).sink_parquet(
            parts, compression="lz4", mkdir=True, maintain_order=False
        )
        try:
            partial.rename(folder)
        except OSError:  # Another worker was faster.
            if not folder.exists():
                raise
            shutil.rmtree(partial)

    def divided(self, source: str, shard: int) -> pl.DataFrame | None:
        """Returns the rows of one shard as they were divided, in no particular order, or None if there are none."""
        files = sorted(self._divided(source).glob(f"[0-9]*/shard={shard}/*.parquet"))
        return pl.concat([pl.read_parquet(file, glob=False) for file in files]) if files else None

    def divided_files(self, source: str, piece: int) -> Files:
        """Returns the files that a piece was divided into."""
        return Files(self._divided(source) / f"{piece:06}", "*")

    def divided_files_of(self, shard: int) -> Files:
        """Returns the files of one shard, as they were divided."""
        return Files(self.folder / "divided", f"*/shard={shard}/*")

    def kept_files(self, shard: int) -> Files:
        """Returns the files of one shard that were kept."""
        return Files(self.folder / "kept", f"*/{shard:06}.parquet")

    def forget(self, source: str, shard: int) -> None:
        """Removes the rows of one shard as they were divided."""
        for folder in self._divided(source).glob(f"[0-9]*/shard={shard}"):
            shutil.rmtree(folder)

    def keep(self, source: str, shard: int, frame: pl.DataFrame) -> None:
        """Writes the rows of one shard that `read` returns."""
        path = self._kept(source, shard)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, concurrent=True) as partial:
            frame.write_parquet(partial, compression="lz4")

    def read(self, source: str, shard: int) -> pl.DataFrame | None:
        """Returns the rows of one shard that were kept, or None if there are none."""
        path = self._kept(source, shard)
        return pl.read_parquet(path, glob=False) if path.exists() else None

    def _divided(self, source: str) -> Path:
        return self.folder / "divided" / source

    def _kept(self, source: str, shard: int) -> Path:
        return self.folder / "kept" / source / f"{shard:06}.parquet"
