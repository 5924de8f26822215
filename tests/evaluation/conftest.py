"""Logs of views and purchases of the same items, some in baskets, and a catalog with items that nobody chose."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from atrank_tf.data import Records
from atrank_tf.preparation import prepare
from atrank_tf.schema import load_schema

SCHEMA = """
[tables]
item = { dim = 6, min_count = 14 }
category = { dim = 4 }

[entities.item]
id = { column = "item_id", table = "item" }
features = { category = "category" }

[groups.view]
entity = "item"
actions = ["view"]
max_length = 5

[groups.buy]
entity = "item"
actions = ["buy"]
max_length = 3

[tasks.next_buy]
group = "buy"
negatives = { uniform = 2 }

[split]
kind = "by_time"
validation_from = 1970-02-10
test_from = 1970-02-20
"""
USERS, ITEMS, DAY = 17, 29, 86_400


@pytest.fixture(scope="session")
def two_groups(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Records of the logs."""
    folder, rng = tmp_path_factory.mktemp("two_groups"), np.random.default_rng(3)
    (folder / "behaviors").mkdir()
    (folder / "catalog").mkdir()
    rows: dict[str, list[tuple[str, int, str, int]]] = {"view": [], "buy": []}
    for user in range(USERS):
        for _ in range(20):
            day, item = int(rng.integers(1, 60)), int(rng.integers(0, ITEMS - 5))
            rows["view"].append((f"u{user}", item, "view", day * DAY))
            if rng.random() < 0.5:  # A basket of one to three items, some of them again and again.
                for bought in {item, *rng.integers(0, 6, rng.integers(0, 3)).tolist()}:
                    rows["buy"].append((f"u{user}", int(bought), "buy", day * DAY + 60))
    for group, behaviors in rows.items():
        names = ["user_id", "item_id", "action", "timestamp"]
        pl.DataFrame(behaviors, schema=names, orient="row").write_csv(folder / f"behaviors/{group}.csv")
    items = pl.DataFrame({"item_id": list(range(ITEMS)), "category": [f"c{item % 3}" for item in range(ITEMS)]})
    items.write_csv(folder / "catalog/item.csv")
    (folder / "schema.toml").write_text(SCHEMA)
    return prepare(str(folder), load_schema(str(Path(folder) / "schema.toml")), str(folder / "records"))
