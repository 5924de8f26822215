"""Temporary storage of rows between logs and records, divided by user so that one part fits in memory."""

import zlib
from pathlib import Path

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


class Staging:
    """Rows of several sources, divided by a hash of the user id.

    Args:
        folder: where to write; made if missing.
        shards: number of parts.
    """

    def __init__(self, folder: Path, shards: int) -> None:
        self.folder, self.shards = folder, shards

    def write(self, source: str, frame: pl.LazyFrame) -> None:
        """Divides a frame that has a text column `user`; the frame is streamed, never held whole."""
        parts = pl.PartitionBy(self.folder / source, key="shard", include_key=False)
        frame.with_columns(shard_column("user", self.shards)).sink_parquet(
            parts, compression="lz4", mkdir=True, maintain_order=False
        )

    def read(self, source: str, shard: int) -> pl.DataFrame | None:
        """Returns the rows of one shard in no particular order, or None if there are none."""
        files = sorted((self.folder / source / f"shard={shard}").glob("*.parquet"))
        return pl.concat([pl.read_parquet(file, glob=False) for file in files]) if files else None

    def replace(self, source: str, shard: int, frame: pl.DataFrame) -> None:
        """Puts other rows in place of those of one shard, if there are any."""
        folder = self.folder / source / f"shard={shard}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "0.parquet"
        with whole_file(path, concurrent=True) as partial:
            frame.write_parquet(partial, compression="lz4")
        for file in folder.glob("*.parquet"):
            if file != path:
                file.unlink()
