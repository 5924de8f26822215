"""Measures the speed and memory of prepare on 1 to 50 million behaviors. Writes build/bench_prepare.json.

The logs are generated: clicks on products, searches and uses of coupons in the order of time, so that a user's
behaviors are all over the files; objects by Zipf's law, a few users much more active than most. Each size is prepared
by the local engine in a process of its own, which launches others if `--processes` says so. Processor seconds tell what
the launching process does by itself: it is what a cluster cannot share. Logs and records are removed afterwards.
"""

import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from absl import flags

from atrank_tf import command
from atrank_tf.preparation import prepare
from atrank_tf.preparation.local_engine import local_engine
from atrank_tf.schema import load_schema
from figures import write_figures
from measure import answer_questions, ask_once
from process_memory import peak_memory
from workload import BUILD

_SIZES = flags.DEFINE_list("behaviors", ["1000000", "10000000", "50000000"], "Sizes of the logs, in behaviors.")
_PROCESSES = flags.DEFINE_list("processes", ["1"], "Numbers of processes, one after the other.")
_PRODUCTS = flags.DEFINE_integer("products", 200_000, "Products in the catalog.")
_PER_USER = flags.DEFINE_integer("per_user", 50, "Behaviors of a user, on average.", lower_bound=1)
_WORK = flags.DEFINE_string("work", "", "Used by the benchmark itself: the folder that this process works on.")
_OUT = flags.DEFINE_string("out", "build/bench_prepare.json", "Where the figures are written.")

PER_SECOND, GIB = 300_000, 4.0
"""Targets: behaviors per second at least, peak memory at most."""
GROUPS = {
    "click": (0.7, "product", ("view", "cart", "buy")),
    "search": (0.2, "query", ("search",)),
    "use": (0.1, "coupon", ("use",)),
}
"""Group -> its share of the behaviors, its entity, its actions."""
SCHEMA = """
[tables]
product = { dim = 8, min_count = 5 }
query = { dim = 8, min_count = 5 }
coupon = { dim = 8 }
category = { dim = 8 }

[entities]
product = { id = { column = "product_id", table = "product" }, features = { category = "category" } }
query = { id = { column = "query", table = "query" } }
coupon = { id = { column = "coupon_id", table = "coupon" } }

[groups]
click = { entity = "product", actions = ["view", "cart", "buy"] }
search = { entity = "query", actions = ["search"] }
use = { entity = "coupon", actions = ["use"] }

[tasks]
next_click = { group = "click", negatives = { uniform = 4 } }
"""
_ROWS_PER_PART = 1_000_000
_FIRST_MOMENT, _DAYS = 1_600_000_000, 120


def main() -> None:
    if _WORK.value:
        answer_questions({"start": lambda: {"peak_memory_mib": peak_memory()}, "prepare": _prepare})
        return
    figures: dict[str, Any] = {"start": ask_once("start", __file__, "--work=nothing"), "prepare": []}
    for behaviors in map(int, _SIZES.value):
        work = BUILD / f"prepare_{behaviors}"
        shutil.rmtree(work, ignore_errors=True)
        write_logs(work / "logs", behaviors)
        for processes in _PROCESSES.value:
            found = {
                "written": behaviors,
                **ask_once("prepare", __file__, f"--work={work}", f"--processes={processes}"),
            }
            figures["prepare"].append(found)
            print(
                f"{found['written']:>12,} behaviors, {processes} processes: {found['per_second']:>9,.0f} per second "
                f"(target {PER_SECOND:,}), peak memory {found['peak_memory_mib'] / 1024:.2f} GiB (target {GIB}); "
                f"processor seconds {found['launcher_seconds']:.1f} launching, {found['other_seconds']:.1f} others",
                flush=True,
            )
        shutil.rmtree(work)
    write_figures(_OUT.value, figures)


def _prepare() -> dict[str, float]:
    work, (processes,) = Path(_WORK.value), map(int, _PROCESSES.value)
    schema = load_schema(str(work / "logs/schema.toml"))
    shutil.rmtree(work / "records", ignore_errors=True)
    started, own = time.perf_counter(), time.process_time()
    with local_engine(processes) as engine:
        records = prepare(str(work / "logs"), schema, str(work / "records"), engine=engine)
    seconds, own = time.perf_counter() - started, time.process_time() - own
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    kept = sum(records.manifest["behaviors"].values())
    read = sum(records.manifest["files"][f"behaviors/{name}"]["read"] for name in GROUPS)
    return {
        "processes": processes,
        "seconds": seconds,
        "launcher_seconds": own,
        "other_seconds": others.ru_utime + others.ru_stime,
        "kept": kept,
        "per_second": read / seconds,
        "users": records.manifest["users"],
        "shards": records.manifest["shards"],
        "peak_memory_mib": peak_memory(),
    }


def write_logs(folder: Path, behaviors: int) -> None:
    """Writes logs with a schema beside them; memory does not grow with the number of behaviors."""
    objects = {"product": _PRODUCTS.value, "query": 100_000, "coupon": 2_000}
    for name, (share, entity, actions) in GROUPS.items():
        parts = folder / "parts" / name
        parts.mkdir(parents=True)
        column = "query" if entity == "query" else f"{entity}_id"
        rows = _behaviors(int(behaviors * share), max(1, behaviors // _PER_USER.value), objects[entity], actions)
        for number, frame in enumerate(rows):
            ids = pl.format("words {}", "object") if entity == "query" else pl.col("object")
            frame.select("user_id", ids.alias(column), "action", "timestamp").write_parquet(
                parts / f"{number:06}.parquet"
            )
        joined = pl.scan_parquet(parts / "*.parquet")
        joined.sink_parquet(folder / f"behaviors/{name}.parquet", mkdir=True)
    shutil.rmtree(folder / "parts")
    random = np.random.default_rng(0)
    products = objects["product"]
    catalog = {"product_id": np.arange(products), "category": random.integers(0, 1_000, products)}
    (folder / "catalog").mkdir()
    pl.DataFrame(catalog).write_parquet(folder / "catalog/product.parquet")
    (folder / "schema.toml").write_text(SCHEMA)


def _behaviors(rows: int, users: int, objects: int, actions: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    """Yields `user_id`, `object`, `action` and `timestamp`, in the order of time."""
    random = np.random.default_rng([rows, objects])
    popularity = np.cumsum(1.0 / np.arange(1, objects + 1))
    popularity /= popularity[-1]
    shuffled = random.permutation(objects)
    for start in range(0, rows, _ROWS_PER_PART):
        count = min(_ROWS_PER_PART, rows - start)
        moments = (start + np.arange(count)) / rows * _DAYS * 86_400
        yield pl.DataFrame(
            {
                "user_id": (users * random.random(count) ** 1.5).astype(np.int64),
                "object": shuffled[np.searchsorted(popularity, random.random(count))],
                "action": pl.Series(np.array(actions)[random.integers(0, len(actions), count)]),
                "timestamp": _FIRST_MOMENT + moments.astype(np.int64),
            }
        )


if __name__ == "__main__":
    command.run(main)
