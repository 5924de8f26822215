"""Amazon reviews until July 2014, one category of products at a time.

| file | content |
|---|---|
| `behaviors/review` | who reviewed what, and when: `user_id`, `item_id`, `action` ("review"), `timestamp` |
| `catalog/item` | the reviewed products: `item_id`, `category_id`, `attribute_ids` |

`category_id` is the last element of the product's last category path. `attribute_ids` is a list: the brand if there is
one, then all category paths, one after the other. Timestamps are days: many reviews of a user have the same one, and
keep the order of the raw file.
"""

import ast
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from atrank_tf.datasets.source import RawFiles, Source
from atrank_tf.preparation.open_log import as_error

CATEGORIES = (
    "Amazon_Instant_Video",
    "Apps_for_Android",
    "Automotive",
    "Baby",
    "Beauty",
    "Books",
    "CDs_and_Vinyl",
    "Cell_Phones_and_Accessories",
    "Clothing_Shoes_and_Jewelry",
    "Digital_Music",
    "Electronics",
    "Grocery_and_Gourmet_Food",
    "Health_and_Personal_Care",
    "Home_and_Kitchen",
    "Kindle_Store",
    "Movies_and_TV",
    "Musical_Instruments",
    "Office_Products",
    "Patio_Lawn_and_Garden",
    "Pet_Supplies",
    "Sports_and_Outdoors",
    "Tools_and_Home_Improvement",
    "Toys_and_Games",
    "Video_Games",
)
"""The categories, as the raw files name them."""
_ITEM: dict[str, pl.DataType] = {
    "item_id": pl.String(),
    "category_id": pl.String(),
    "attribute_ids": pl.List(pl.String()),
}
_ASIN_FIRST = re.compile(r"\{'asin': '([^'\\]*)'")


def amazon_reviews(category: str) -> Source:
    """Returns the `Source` of one of `CATEGORIES`."""
    reviews, meta = f"reviews_{category}_5.json.gz", f"meta_{category}.json.gz"

    def logs(raw: RawFiles) -> dict[str, pl.LazyFrame]:
        return amazon_reviews_logs(raw[reviews], raw[meta])

    return Source(
        about=f"Amazon reviews until July 2014, category {category.replace('_', ' ')}: users and products with five "
        "reviews at least (5-core), categories and brands. Published for research; no licence is stated.",
        page="https://jmcauley.ucsd.edu/data/amazon/links.html",
        citation=_CITATION,
        schema=str(Path(__file__).with_name("amazon_reviews_2014.schema.toml")),
        logs=logs,
        files=(reviews, meta),
        url="http://snap.stanford.edu/data/amazon/productGraph/categoryFiles/",
    )


def amazon_reviews_logs(reviews: Path, meta: Path) -> dict[str, pl.LazyFrame]:
    """Returns the logs of a category: `<kind>/<name>` -> rows.

    Args:
        reviews: `reviews_<category>_5.json.gz`: one JSON object a line.
        meta: `meta_<category>.json.gz`: one literal of a Python dict a line, of all products, reviewed or not.

    Raises:
        ValueError: a line of `meta` is no dict with an asin; names the file and the line. Or a file is damaged.
    """
    columns = {"reviewerID": pl.String, "asin": pl.String, "unixReviewTime": pl.Int64}
    rows = pl.scan_ndjson(reviews, schema=columns)
    with as_error(reviews):
        reviewed = rows.select(pl.col("asin").unique()).collect(engine="streaming")["asin"]
    items = pl.LazyFrame(_items(meta, set(reviewed)), schema=_ITEM, orient="row")
    behaviors = rows.select(user_id="reviewerID", item_id="asin", action=pl.lit("review"), timestamp="unixReviewTime")
    return {"behaviors/review": behaviors, "catalog/item": items}


def _items(meta: Path, reviewed: set[str]) -> Iterator[tuple[str, str | None, list[str]]]:
    for number, line in enumerate(_lines(meta), start=1):
        # Few products have five reviews, and a line with all that was bought along takes a while to evaluate.
        begin = _ASIN_FIRST.match(line)
        if begin and begin[1] not in reviewed:
            continue
        product = _evaluated(line, meta, number)
        if product["asin"] in reviewed:
            path = [element for path in product.get("categories") or () for element in path]
            brand = [product["brand"]] if product.get("brand") else []
            yield product["asin"], path[-1] if path else None, brand + path


def _lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from lines
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(
            f"Expected a whole gzip file of UTF-8 text at {path}. Received: {error}. Get it anew."
        ) from error


def _evaluated(line: str, meta: Path, number: int) -> Any:
    try:
        product = ast.literal_eval(line)
    except (ValueError, SyntaxError):
        product = None
    if not isinstance(product, dict) or "asin" not in product:
        raise ValueError(f"Expected a dict with an asin in {meta}, line {number}. Received: {line[:80]!r}.")
    return product


_CITATION = """@inproceedings{mcauley2015image,
  title={Image-based Recommendations on Styles and Substitutes},
  author={McAuley, Julian and Targett, Christopher and Shi, Qinfeng and van den Hengel, Anton},
  booktitle={SIGIR},
  year={2015}
}"""
