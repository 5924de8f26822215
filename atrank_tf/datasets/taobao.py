"""Taobao UserBehavior: what about a million shoppers did in nine days of 2017, in four kinds of actions.

| file | content |
|---|---|
| `behaviors/interaction` | `user_id`, `item_id`, `action` ("pv", "cart", "fav", "buy"), `timestamp` |
| `catalog/item` | the `category_id` of each item; the smallest, should an item have two |

The raw file has rows of impossible dates. Those before 2017-11-25 or after 2017-12-03 in Beijing are left out.
"""

import datetime
from pathlib import Path

import polars as pl

from atrank_tf.datasets.source import RawFiles, Source

FILE = "UserBehavior.csv"
_BEIJING = datetime.timezone(datetime.timedelta(hours=8))
FIRST = int(datetime.datetime(2017, 11, 25, tzinfo=_BEIJING).timestamp())
"""The first second that is kept."""
END = int(datetime.datetime(2017, 12, 4, tzinfo=_BEIJING).timestamp())
"""The first second after those that are kept."""
_COLUMNS = {
    "user_id": pl.Int64,
    "item_id": pl.Int64,
    "category_id": pl.Int64,
    "action": pl.String,
    "timestamp": pl.Int64,
}


def taobao_user_behavior_logs(raw: RawFiles) -> dict[str, pl.LazyFrame]:
    """Returns the logs of the data set: `<kind>/<name>` -> rows.

    Args:
        raw: has `FILE`, a CSV file without header: user, item, category, action and Unix seconds.
    """
    rows = pl.scan_csv(raw[FILE], has_header=False, schema=_COLUMNS, glob=False)
    rows = rows.filter(pl.col("timestamp").is_between(FIRST, END, closed="left"))
    return {
        "behaviors/interaction": rows.select("user_id", "item_id", "action", "timestamp"),
        "catalog/item": rows.group_by("item_id").agg(pl.col("category_id").min()),
    }


TAOBAO_USER_BEHAVIOR = Source(
    about="Taobao UserBehavior: page views, cart additions, favorites and purchases of about a million users from "
    "2017-11-25 to 2017-12-03. Published by Alibaba for research; an account is needed to download it.",
    page="https://tianchi.aliyun.com/dataset/649",
    citation="""@inproceedings{zhu2018learning,
  title={Learning Tree-based Deep Model for Recommender Systems},
  author={Zhu, Han and Li, Xiang and Zhang, Pengye and Li, Guozheng and He, Jie and Li, Han and Gai, Kun},
  booktitle={KDD},
  year={2018}
}""",
    schema=str(Path(__file__).with_name("taobao_user_behavior.schema.toml")),
    logs=taobao_user_behavior_logs,
    files=(FILE,),
)
