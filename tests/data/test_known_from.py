"""Since when ids are known, against the behaviors and shown candidates one by one."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from atrank_tf.data import Part, Records, known_from
from atrank_tf.data.chunk_reading import read_chunks
from atrank_tf.data.known_from import NEVER
from atrank_tf.data.targets import parse
from atrank_tf.schema import UNKNOWN, SplitKind


def _uses(records: Records, entity: str) -> dict[int, dict[str, list[int]]]:
    """Object -> "done" or the task whose candidate it was -> the moments before validation, ascending."""
    found: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for _, serialized in read_chunks(records, Part.VALIDATION, tf.constant([0, 0], tf.int64)):
        chunk = parse(serialized, records.schema)
        for group, rows in chunk.groups.items():
            if records.schema.groups[group].entity == entity:
                for id_, moment in zip(rows.id.numpy(), rows.timestamp.numpy(), strict=True):
                    found[int(id_)]["done"].append(int(moment))
        for task, rows in chunk.requests.items():
            if records.schema.entity_of(task) == entity:
                moments = np.repeat(rows.timestamp.numpy(), (rows.ends - rows.starts).numpy())
                for id_, moment in zip(rows.id.numpy(), moments, strict=True):
                    found[int(id_)][task].append(int(moment))
    until = records.schema.split.validation_from
    return {
        id_: {kind: sorted(m for m in moments if m < until) for kind, moments in kinds.items()}
        for id_, kinds in found.items()
    }


@pytest.mark.parametrize("entity", ["product", "coupon"])
@pytest.mark.parametrize("min_count", [1, 3])
def test_4_an_id_is_known_after_it_was_used_often_enough(records: Records, entity: str, min_count: int) -> None:
    other = Records(records.path)
    table = records.schema.entities[entity].id.table
    spec = replace(records.schema.tables[table], min_count=min_count)
    other.schema = replace(records.schema, tables={**records.schema.tables, table: spec})
    uses, known = _uses(other, entity), known_from(other, [entity])[entity]
    rows = records.catalogs[entity].table_rows
    later = 0
    for id_, since in enumerate(known):
        enough = [each[min_count - 1] for each in uses.get(id_, {}).values() if len(each) >= min_count]
        if rows[id_] == UNKNOWN:
            assert since == NEVER
        elif not enough:
            assert since == 0
        else:
            assert since == min(enough)
            later += 1
    assert later > 5


def test_where_no_moment_divides_the_split_every_id_of_the_table_is_known(records: Records) -> None:
    other = Records(records.path)
    other.schema = replace(records.schema, split=replace(records.schema.split, kind=SplitKind.LEAVE_LAST_OUT))
    rows = records.catalogs["product"].table_rows
    np.testing.assert_array_equal(known_from(other, ["product"])["product"], np.where(rows == UNKNOWN, NEVER, 0))


def test_uses_that_workers_saw_are_added_up(records: Records) -> None:
    """As if another worker had seen the same: the first use is the second of all."""
    other = Records(records.path)
    table = records.schema.tables["product"]
    rows = records.catalogs["product"].table_rows != UNKNOWN
    found = []
    for min_count, workers in ((1, 1), (2, 2)):
        other.schema = replace(
            records.schema, tables={**records.schema.tables, "product": replace(table, min_count=min_count)}
        )
        known = known_from(other, ["product"], total=lambda seen, workers=workers: seen * workers)
        found.append(known["product"][rows])
    np.testing.assert_array_equal(*found)
    assert (found[0] > 0).any()
