"""Data of the benchmarks: Amazon Sports, logs generated in its shape where it is missing, simulated markets."""

from pathlib import Path

import numpy as np
import polars as pl

from atrank_tf.data import Records
from atrank_tf.datasets import SOURCES, write_market
from atrank_tf.experiment import Experiment, load_experiment
from atrank_tf.files import whole_folder
from atrank_tf.preparation import prepare
from atrank_tf.schema import load_schema

LOGS = "../shared/data/amazon_sports"
BUILD = Path("build/bench")
USERS, ITEMS, CATEGORIES, ATTRIBUTES = 35_598, 18_357, 959, 2_235
"""Sizes of Amazon Sports."""
_TEN_YEARS = 315_000_000


def sports_logs(logs: str = LOGS) -> str:
    """Returns the logs folder of Amazon Sports, or of generated logs of its shape if `logs` is not a folder."""
    if Path(logs).is_dir():
        return logs
    return generated_logs("sports", sports_lengths(USERS))


def sports_records(logs: str = LOGS) -> Records:
    """Returns the records of `sports_logs`, prepared unless they are current."""
    logs = sports_logs(logs)
    return prepared(logs, BUILD / "records" / Path(logs).name)


def prepared(logs: str, records: Path, *, max_length: int | None = None, overwrite: bool = False) -> Records:
    """Returns records of logs under Amazon Sports' schema; `max_length` replaces the schema's."""
    text = Path(SOURCES["amazon_reviews_2014/sports_and_outdoors"].schema).read_text()
    if max_length is not None:
        text = text.replace("max_length = 100", f"max_length = {max_length}")
    schema_file = records.with_suffix(".schema.toml")
    schema_file.parent.mkdir(parents=True, exist_ok=True)
    if not schema_file.exists() or schema_file.read_text() != text:  # Others may be reading it.
        schema_file.write_text(text)
    return prepare(logs, load_schema(str(schema_file)), str(records), overwrite=overwrite)


def market_records(users: int) -> Records:
    """Returns the records of a simulated market, which are made if they are missing."""
    logs = BUILD / "logs" / f"market_{users}"
    if not logs.is_dir():
        write_market(str(logs), users=users, seed=1)
    schema = load_schema("atrank_tf/datasets/market.schema.toml")
    return prepare(str(logs), schema, str(BUILD / "records" / logs.name))


def experiments() -> dict[str, Experiment]:
    """Returns the shorter experiments on Amazon Sports, by the name of their model."""
    files = [file for file in sorted(Path("experiments").glob("amazon_sports*.toml")) if "_best" not in file.name]
    found = [load_experiment(str(file)) for file in files]
    return {experiment.name: experiment for experiment in found}


def sports_lengths(users: int) -> np.ndarray:
    """Returns numbers of behaviors per user: 5 at least, mean 8.3, 1 of 100 above 32, as in Amazon Sports."""
    return 5 + np.random.default_rng(0).lognormal(0.4, 1.25, users).astype(int)


def generated_logs(name: str, lengths: np.ndarray, items: int = ITEMS) -> str:
    """Returns a logs folder of one user for each of `lengths`, with random items at random times in ten years."""
    folder = BUILD / "logs" / name
    if folder.is_dir():
        return str(folder)
    random = np.random.default_rng(0)
    popularity = random.lognormal(0.0, 1.0, items)
    total = int(lengths.sum())
    rows = {
        "user_id": np.repeat(np.arange(lengths.size), lengths),
        "item_id": random.choice(items, total, p=popularity / popularity.sum()),
        "action": ["review"] * total,
        "timestamp": 1_050_000_000 + random.integers(0, _TEN_YEARS, total),
    }
    objects = {
        "item_id": np.arange(items),
        "category_id": random.integers(0, CATEGORIES, items),
        "attribute_ids": [random.integers(0, ATTRIBUTES, 6).tolist() for _ in range(items)],
    }
    with whole_folder(str(folder)) as partial:
        for name, columns in (("behaviors/review", rows), ("catalog/item", objects)):
            pl.DataFrame(columns).write_parquet(partial / f"{name}.parquet", mkdir=True)
    return str(folder)
