"""What of prepare touches every row; an engine does it, on this machine or on many.

Everything between these steps is small: what the schema says, the vocabularies and the catalogs. What is done to a part
of a file and to a shard are functions that all engines call (`RawLog.facts` and `clean`, `count_shard`, `ShardWriter`),
so records do not depend on the engine.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from atrank_tf.preparation.cleaning import CleanLog
from atrank_tf.preparation.column_checks import Facts
from atrank_tf.preparation.counting import Counts
from atrank_tf.preparation.log_reader import RawLog
from atrank_tf.preparation.staging import Staging
from atrank_tf.preparation.totals import Totals
from atrank_tf.schema import Schema


class Engine(Protocol):
    """Does the three readings of prepare."""

    def facts(self, logs: Mapping[str, RawLog], work: Path) -> dict[str, Facts]:
        """Reads the files, and answers what is asked about each.

        Args:
            logs: label -> file.
            work: a folder for what the engine needs.
        """

    def count(self, logs: Mapping[str, CleanLog], staging: Staging, schema: Schema, work: Path) -> Counts:
        """Divides clean rows by user into shards without duplicates, and counts.

        Args:
            logs: label -> file, of those whose rows are of users.
            staging: where the shards go.
            schema: the schema.
            work: a folder for what the engine needs.
        """

    def write(self, staging: Staging, folder: Path, schema: Schema, work: Path) -> Totals:
        """Writes all shards of the timelines.

        Args:
            staging: what `count` left.
            folder: the records folder; the catalogs and the vocabularies are there already.
            schema: the schema, prepared.
            work: a folder for what the engine needs.
        """
