"""Tables that values share: no vocabulary, a size known before anything is read, and codes instead of rows."""

import numpy as np
import polars as pl
import tensorflow as tf

from atrank_tf.data.codes import Codes
from atrank_tf.preparation import summary
from atrank_tf.schema import FIRST_ROW


def codes_of(values):
    return Codes(0).lookup(pl.Series([str(value) for value in values])).tolist()


def test_nothing_is_counted_of_a_table_that_values_share(hashed_records):
    rows = {name: table.rows - FIRST_ROW for name, table in hashed_records.schema.tables.items()}
    assert rows == {"product": 11, "category": 3, "coupon": 5, "age": 7, "channel": 2, "offer": 0}
    assert {len(values) for values in hashed_records.vocabularies.values()} == {0}
    counts = pl.read_parquet(f"{hashed_records.path}/state/counts-000000.parquet")["table"]
    assert set(counts) == {"objects/product", "objects/coupon"}


def test_catalogs_hold_codes_of_rare_objects_too(hashed_records, records):
    for name, catalog in hashed_records.catalogs.items():
        assert catalog.table_rows[FIRST_ROW:].tolist() == codes_of(catalog.ids)
        assert catalog.counts.tolist() == records.catalogs[name].counts.tolist()
    assert hashed_records.manifest["unknown_rate"] == {"purchase": 0.0, "redemption": 0.0}
    names = np.array(["", "?", *records.vocabularies["category"].tolist()])
    expected = records.catalogs["product"].features["category"][FIRST_ROW:, 0]
    found = hashed_records.catalogs["product"].features["category"][FIRST_ROW:, 0]
    assert found.tolist() == codes_of(names[expected])


def test_a_link_is_a_code_on_both_sides(records):
    """Of what has no embedding."""
    products = records.catalogs["product"].features["coupons"][FIRST_ROW:]
    coupons = records.catalogs["coupon"].features["offer"][FIRST_ROW:, 0]
    assert coupons.tolist() == codes_of(records.catalogs["coupon"].ids)
    linked = dict(zip(coupons.tolist(), records.catalogs["coupon"].ids.tolist(), strict=True))
    categories = records.vocabularies["category"]
    for row, of_product in enumerate(products, FIRST_ROW):
        category = int(categories[records.catalogs["product"].features["category"][row, 0] - FIRST_ROW][1:])
        assert [linked[code] for code in of_product if code] == list(range(category, 12, 5))
    assert (records.schema.tables["offer"].rows, len(records.vocabularies["offer"])) == (FIRST_ROW, 0)
    assert "offer" not in summary(records)


def test_timelines_hold_codes(hashed_records):
    found = {"user/age": set(), "next_redemption/channel": set()}
    for serialized in tf.data.TFRecordDataset(hashed_records.files).as_numpy_iterator():
        example = tf.train.Example.FromString(serialized)
        for key, values in found.items():
            values |= set(example.features.feature[key].int64_list.value)
    assert found["user/age"] == {1, *codes_of(["young", "old"])}  # A missing value is unknown.
    assert found["next_redemption/channel"] == set(codes_of(["mail", "app"]))


def test_the_summary_says_what_tables_take(hashed_records):
    numbers = 13 * 8 + 5 * 4 + 7 * 8 + 9 * 2 + 4 * 2
    assert "product 13 rows x 8, category 5 rows x 4" in summary(hashed_records)
    assert f"channel 4 rows x 2: {numbers * 4 / 2**20:.1f} MiB" in summary(hashed_records)
