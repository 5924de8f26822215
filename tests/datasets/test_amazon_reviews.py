"""Amazon reviews: raw files -> logs."""

import gzip

import numpy as np
import pytest

from atrank_tf.datasets import SOURCES, write_logs
from atrank_tf.datasets.amazon_reviews import amazon_reviews_logs
from atrank_tf.preparation import prepare
from atrank_tf.schema import load_schema

DAY = 86_400
SOURCE = SOURCES["amazon_reviews_2014/baby"]


def raw_files(folder):
    return {name: folder / name for name in SOURCE.files}


def with_meta(amazon_raw, folder, line):
    meta = folder / "meta.json.gz"
    with gzip.open(meta, "wt") as file:
        file.write("{'asin': 'B1'}\n" + line)
    return amazon_reviews_logs(amazon_raw / "reviews_Baby_5.json.gz", meta)


def test_reviews_in_the_order_of_the_file(amazon_raw):
    reviews = SOURCE.logs(raw_files(amazon_raw))["behaviors/review"].collect()
    assert reviews.columns == ["user_id", "item_id", "action", "timestamp"]
    assert reviews.rows()[:4] == [
        ("U1", "B1", "review", 10 * DAY),
        ("U2", "B1", "review", 9 * DAY),
        ("U1", "B3", "review", 12 * DAY),
        ("U1", "B2", "review", 12 * DAY),
    ]
    assert len(reviews) == 12


def test_reviewed_products_with_category_brand_and_all_paths(amazon_raw):
    items = SOURCE.logs(raw_files(amazon_raw))["catalog/item"].collect()
    assert items.columns == ["item_id", "category_id", "attribute_ids"]
    assert items.rows() == [
        ("B1", "Gifts", ["Acme", "Baby", "Toys", "Rattles", "Baby", "Gifts"]),
        ("B2", "Strollers", ["Baby", "Strollers"]),
        ("B3", "Baby", ["Baby"]),
        ("B4", None, ["Bolt"]),
    ]


def test_what_was_not_reviewed_is_not_even_evaluated(amazon_raw, tmp_path):
    items = with_meta(amazon_raw, tmp_path, "{'asin': 'B9', broken")["catalog/item"].collect()
    assert items["item_id"].to_list() == ["B1"]


@pytest.mark.parametrize("line", ["{'asin': 'B2', broken", "{'asin': __import__('os').name}", "['asin']", "{'a': 1}"])
def test_a_line_that_is_no_product(amazon_raw, tmp_path, line):
    with pytest.raises(ValueError, match=r"Expected a dict with an asin in .*meta\.json\.gz, line 2\. Received: "):
        with_meta(amazon_raw, tmp_path, line)


def test_a_review_that_is_no_json(amazon_raw, tmp_path):
    reviews = tmp_path / "reviews.json.gz"
    with gzip.open(reviews, "wt") as file:
        file.write('{"reviewerID": "U1", "asin": "B1", "unixReviewTime": 5}\n{broken\n')
    with pytest.raises(ValueError, match=r"reviews\.json\.gz cannot be read: "):
        amazon_reviews_logs(reviews, amazon_raw / "meta_Baby.json.gz")


def test_the_logs_fit_the_schema_and_ties_keep_the_order_of_the_file(amazon_raw, tmp_path):
    write_logs(SOURCE.logs(raw_files(amazon_raw)), str(tmp_path / "logs"))
    records = prepare(str(tmp_path / "logs"), load_schema(SOURCE.schema), str(tmp_path / "records"), shards=1)
    assert (records.manifest["users"], records.manifest["behaviors"]) == (4, {"review": 12})
    assert records.manifest["ignored"] == []
    items = records.catalogs["item"]
    assert sorted(items.ids) == ["B1", "B2", "B3", "B4", "B5"]
    row = 2 + items.ids.tolist().index("B1")
    attributes = records.vocabularies["attribute"][items.features["attribute_ids"][row] - 2]
    assert attributes.tolist() == ["Acme", "Baby", "Toys", "Rattles", "Baby", "Gifts"]
    example = next(iter(_examples(records)))
    assert example.feature["user_id"].bytes_list.value[0] == b"U1"
    reviewed = np.array(example.feature["review/id"].int64_list.value)
    assert items.ids[reviewed - 2].tolist() == ["B5", "B1", "B3", "B2", "B4"]


def _examples(records):
    import tensorflow as tf

    for serialized in tf.data.TFRecordDataset(records.files):
        yield tf.train.Example.FromString(serialized.numpy()).features


@pytest.mark.parametrize("damage", [lambda content: content[:-12], lambda content: b"no gzip"])
def test_a_catalog_file_that_is_cut_is_named(amazon_raw, tmp_path, damage):
    meta = tmp_path / "meta.json.gz"
    meta.write_bytes(damage((amazon_raw / "meta_Baby.json.gz").read_bytes()))
    with pytest.raises(ValueError, match=r"Expected a whole gzip file of UTF-8 text at .*meta\.json\.gz\. Received: "):
        amazon_reviews_logs(amazon_raw / "reviews_Baby_5.json.gz", meta)["catalog/item"].collect()
