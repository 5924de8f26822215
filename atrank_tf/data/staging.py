"""Temporary storage between the logs and the records: rows, divided by user, so that one part fits in memory."""

import zlib
from pathlib import Path

import polars as pl


def shard_of(user_id: str, shards: int) -> int:
    """Returns the shard of a user: the same on every machine and in every release."""
    return zlib.crc32(user_id.encode()) % shards


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
        shards = self.shards

        def hashed(users: pl.Series) -> pl.Series:
            # A log holds a user many times; hashing is Python, so do it once per user of a batch.
            distinct = users.unique()
            numbers = pl.Series([shard_of(user, shards) for user in distinct], dtype=pl.Int32)
            return users.replace_strict(distinct, numbers, return_dtype=pl.Int32)

        shard = pl.col("user").map_batches(hashed, return_dtype=pl.Int32, is_elementwise=True)
        parts = pl.PartitionBy(self.folder / source, key="shard", include_key=False)
        frame.with_columns(shard=shard).sink_parquet(parts, compression="lz4", mkdir=True, maintain_order=False)

    def read(self, source: str, shard: int) -> pl.DataFrame | None:
        """Returns the rows of one shard in no particular order, or None if there are none."""
        files = sorted((self.folder / source / f"shard={shard}").glob("*.parquet"))
        return pl.concat([pl.read_parquet(file, glob=False) for file in files]) if files else None

    def replace(self, source: str, shard: int, frame: pl.DataFrame) -> None:
        """Puts other rows in place of those of one shard."""
        folder = self.folder / source / f"shard={shard}"
        for file in folder.glob("*.parquet"):
            file.unlink()
        frame.write_parquet(folder / "0.parquet", compression="lz4")
