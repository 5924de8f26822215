"""Small logs with everything in them: two groups, shared tables, several values, impressions, profile and context."""

import fcntl
import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl
import pytest
from fake_stores import FakeStore, missing

SCHEMA = """
[tables]
product = { dim = 8, min_count = 2 }
category = { dim = 4 }
coupon = { dim = 8 }
age = { dim = 2 }
channel = { dim = 2 }
offer = { dim = 0 }

[entities.product]
id = { column = "product_id", table = "product" }
features = { category = "category", coupons = { table = "offer", max_values = 3 } }
dense = ["price"]

[entities.coupon]
id = { column = "coupon_id", table = "coupon" }
features = { category = { table = "category", max_values = 3 }, offer = { table = "offer", column = "coupon_id" } }

[groups.purchase]
entity = "product"
actions = ["regular", "discounted"]
max_length = 10

[groups.redemption]
entity = "coupon"
actions = ["redeem"]
max_length = 5
width = 6

[tasks.next_purchase]
group = "purchase"
negatives = { uniform = 3, popularity = 1 }

[tasks.next_redemption]
group = "redemption"
candidates = "impressions"
[tasks.next_redemption.context]
features = { channel = "channel" }
dense = ["position"]

[user]
features = { age = "age" }
dense = ["income"]

[split]
kind = "by_time"
validation_from = 1970-03-01
test_from = 1970-03-15
"""

DAY = 86_400
USERS, PRODUCTS, COUPONS, CATEGORIES = 60, 40, 12, 5
USER_IDS = [f"u{user}" if user != 7 else "usuária 7" for user in range(USERS)]


def write_logs(folder: Path, seed: int = 0) -> None:
    """Writes logs in which every user keeps to one or two categories, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    for part in ("behaviors", "catalog", "impressions"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    category = rng.integers(0, CATEGORIES, PRODUCTS)
    taste = rng.integers(0, CATEGORIES, USERS)
    purchases = []
    for user in range(USERS):
        liked = np.flatnonzero(category == taste[user])
        for _ in range(int(rng.integers(4, 25))):
            product = rng.choice(liked) if len(liked) and rng.random() < 0.8 else rng.integers(0, PRODUCTS)
            moment = int(rng.integers(1, 90)) * DAY + int(rng.integers(0, 3)) * 3600
            action = "discounted" if rng.random() < 0.3 else "regular"
            purchases.append((USER_IDS[user], f"p{product}", action, moment))
    names = ["user_id", "product_id", "action", "timestamp"]
    pl.DataFrame(purchases, schema=names, orient="row").write_csv(folder / "behaviors/purchase.csv")
    requests, redemptions = [], []
    for user in range(USERS):
        for number in range(3):
            moment = int(rng.integers(5, 90)) * DAY
            for position, coupon in enumerate(rng.choice(COUPONS, size=int(rng.integers(2, 7)), replace=False)):
                used = int(coupon % CATEGORIES == taste[user] and rng.random() < 0.8)
                channel = ["mail", "app"][number % 2]
                requests.append(
                    (f"r{user}-{number}", USER_IDS[user], moment, int(coupon), used, channel, float(position))
                )
                if used:
                    redemptions.append((USER_IDS[user], int(coupon), "redeem", moment + 3600))
    columns = ["request_id", "user_id", "timestamp", "coupon_id", "label", "channel", "position"]
    pl.DataFrame(requests, schema=columns, orient="row").write_parquet(folder / "impressions/next_redemption.parquet")
    names = ["user_id", "coupon_id", "action", "timestamp"]
    pl.DataFrame(redemptions, schema=names, orient="row").write_parquet(folder / "behaviors/redemption.parquet")
    pl.DataFrame(
        {
            "product_id": [f"p{product}" for product in range(PRODUCTS)],
            "category": [f"c{c}" for c in category],
            "price": rng.gamma(2.0, 3.0, PRODUCTS),
            "coupons": [" ".join(map(str, range(c, COUPONS, CATEGORIES))) for c in category],
        }
    ).write_csv(folder / "catalog/product.csv")
    pl.DataFrame(
        {
            "coupon_id": list(range(COUPONS)),
            "category": [[f"c{coupon % CATEGORIES}", "c0"][: 1 + coupon % 2] for coupon in range(COUPONS)],
        }
    ).write_parquet(folder / "catalog/coupon.parquet")
    pl.DataFrame(
        {
            "user_id": USER_IDS,
            "age": [["young", "old", None][user % 3] for user in range(USERS)],
            "income": [None if user % 4 == 0 else 10.0 * user for user in range(USERS)],
        }
    ).write_parquet(folder / "catalog/user.parquet")


def pytest_configure(config: pytest.Config) -> None:
    """To prepare oneDNN takes a ninth of the time of tests, but of the slow ones, which train longer."""
    if config.option.markexpr == "not slow":
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # TensorFlow is not imported yet.


def pytest_collection_finish() -> None:
    """Garbage is looked for seldom, and not among imports: that took a twentieth of the tests' time, or more."""
    gc.freeze()
    gc.set_threshold(500_000, 50, 100)
    os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)  # Commands run as users run them.
    if "tensorflow" in sys.modules:  # To rewrite graphs so small takes longer than it gains. Commands have Grappler.
        sys.modules["tensorflow"].config.optimizer.set_experimental_options({"min_graph_nodes": 10**6})
        sys.modules["tensorflow"].debugging.disable_traceback_filtering()  # A twelfth of all time.
    if "atrank_tf.optimizers.sparse_adam" in sys.modules:  # Among the tables of tests, too, only the largest defers.
        sys.modules["atrank_tf.optimizers.sparse_adam"].WHOLE_UP_TO = 200


COUNTED = ("popularity_", "point_in_time_", "calendar/shares")
"""How the paths of weights begin that `Ranker.load_counts` fills."""
LONGEST = (
    # Makes the export that others have, too: whoever needs it at the same time would wait.
    "test_signatures",
    *("test_commands", "test_fit", "test_models", "test_cpp_loader", "test_warm_start", "test_request_batching"),
    *("test_timeline_batching", "test_timeline_atrank", "test_task_model", "test_workers", "test_experiments"),
    *("test_kills", "test_worker_shares"),
)
"""Test files that take longest: they go first, so that no worker is left with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A logs folder."""
    folder = tmp_path_factory.mktemp("logs")
    write_logs(folder)
    return folder


@pytest.fixture(scope="session")
def schema_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The schema of `logs`."""
    path = tmp_path_factory.mktemp("schema") / "schema.toml"
    path.write_text(SCHEMA)
    return path


@pytest.fixture(scope="session")
def records(logs: Path, schema_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Records of `logs`."""
    from atrank_tf.preparation import prepare
    from atrank_tf.schema import load_schema

    return prepare(str(logs), load_schema(str(schema_file)), str(tmp_path_factory.mktemp("records") / "records"))


@pytest.fixture(scope="session")
def hashed_records(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Records of `logs` with tables that values share."""
    from atrank_tf.preparation import prepare
    from atrank_tf.schema import load_schema

    folder = tmp_path_factory.mktemp("hashed")
    shared = {"product": (11, 2), "category": (3, 3), "coupon": (5, 1), "age": (7, 1), "channel": (2, 5)}
    text = SCHEMA
    for name, (rows, hashes) in shared.items():
        text = text.replace(f"{name} = {{ dim = ", f"{name} = {{ hash = {rows}, hashes = {hashes}, dim = ")
    (folder / "schema.toml").write_text(text.replace(", min_count = 2", ""))
    return prepare(str(logs), load_schema(str(folder / "schema.toml")), str(folder / "records"))


@pytest.fixture(scope="session")
def hotels(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Records of a small simulated hotel search: lists as they were shown."""
    from atrank_tf.datasets import write_hotel_lists
    from atrank_tf.preparation import prepare
    from atrank_tf.schema import load_schema

    folder = tmp_path_factory.mktemp("hotels")
    write_hotel_lists(str(folder / "logs"), users=400, seed=1)
    schema = load_schema(str(Path(__file__).parents[1] / "atrank_tf/datasets/hotel_lists.schema.toml"))
    return prepare(str(folder / "logs"), schema, str(folder / "records"))


@pytest.fixture(scope="session")
def make_model(records: Any) -> Callable[..., Any]:
    """Builds a small model of `records`; keyword arguments change its config."""
    from atrank_tf.models import ATRank

    def make(**changes: Any) -> Any:
        config = {"hidden_dim": 12, "num_spaces": 3, "intermediate_dim": 10, "hidden_units": [9], **changes}
        return ATRank(records.schema, catalogs=records.catalogs, **config)

    return make


@pytest.fixture(scope="session")
def chosen_popularity() -> Callable[..., Any]:
    """Counts how often each object was a positive of a task; keyword arguments are those of `popularity`."""
    from atrank_tf.data import chosen, popularity

    def count(records: Any, task: str, **options: Any) -> Any:
        entity = records.schema.entity_of(task)
        return popularity(records, [(entity, partial(chosen, task=task))], **options)[0]

    return count


@pytest.fixture
def row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has optimizers defer steps of every table, however small."""
    monkeypatch.setattr("atrank_tf.optimizers.sparse_adam.WHOLE_UP_TO", 0)


@pytest.fixture(scope="session")
def load_counts(records: Any, make_model: Callable[..., Any]) -> Callable[[Any], None]:
    """Does what `model.load_counts(records)` does, with what was counted once for all models."""
    known = make_model()
    known.load_counts(records)
    values = {weight.path: weight for weight in known.non_trainable_weights if weight.path.startswith(COUNTED)}

    def load_counts(model: Any) -> None:
        for weight in model.non_trainable_weights:
            if weight.path.startswith(COUNTED):
                weight.assign(values[weight.path])

    return load_counts


@pytest.fixture(scope="session")
def timeline_model(records: Any) -> Any:
    """A timeline model of the task next_purchase; the same weights in every process."""
    import keras

    from atrank_tf.models import TimelineATRank

    keras.utils.set_random_seed(5)
    config = {
        "tasks": ["next_purchase"],
        "hidden_dim": 12,
        "num_spaces": 3,
        "num_blocks": 2,
        "intermediate_dim": 10,
        "hidden_units": [9],
    }
    model = TimelineATRank(records.schema, catalogs=records.catalogs, **config)
    for weight in model.trainable_weights:
        weight.assign(weight + np.random.default_rng(5).normal(scale=0.2, size=weight.shape))
    return model


@pytest.fixture(scope="session")
def shop_model(make_model: Callable[..., Any], load_counts: Callable[[Any], None]) -> Any:
    """A model of all tasks; the same weights in every process. Not to be changed."""
    import keras

    keras.utils.set_random_seed(5)
    model, rng = make_model(), np.random.default_rng(5)
    load_counts(model)
    for weight in model.trainable_weights:
        weight.assign(weight + rng.normal(scale=0.2, size=weight.shape))
    return model


@pytest.fixture(scope="session")
def export_once(
    request: pytest.FixtureRequest, records: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """Exports the model of a fixture, which explains, once for all processes of pytest-xdist. Not to be written to."""
    from atrank_tf.data import IdMaps
    from atrank_tf.saved_model import export_model

    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def export(model: str) -> str:
        folder = base / f"export_of_{model}"
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / "1").exists():
                return str(folder / "1")
            return export_model(request.getfixturevalue(model), IdMaps.of(records), str(folder), explain=True)

    return export


@pytest.fixture(scope="session")
def timeline_export(export_once: Callable[[str], str]) -> str:
    """The only version of `timeline_model`."""
    return export_once("timeline_model")


@pytest.fixture(scope="session")
def shop_export(export_once: Callable[[str], str]) -> str:
    """The only version of `shop_model`."""
    return export_once("shop_model")


@pytest.fixture(scope="session")
def run_command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs `python ARGUMENTS...` from the root of the repository, without the seconds of TensorFlow's start.

    Keyword arguments are added to the environment; for what TensorFlow reads when it is imported they come too late.
    """
    root, folder = Path(__file__).parents[1], tmp_path_factory.mktemp("commands")
    process = subprocess.Popen(
        [sys.executable, str(root / "tests/command_process.py")],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        given = [f"{folder}/out", f"{folder}/err", environment, *map(str, arguments)]
        process.stdin.write(json.dumps(given) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        out, err = (Path(path).read_text() for path in given[:2])
        return subprocess.CompletedProcess(arguments, code, out, err)

    yield run
    process.communicate()


@pytest.fixture(scope="session")
def start_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], FakeStore]]:
    """Starts a store of a scheme, or skips the test where its packages are not installed."""
    started = []

    def start(scheme: str) -> FakeStore:
        if lacks := missing(scheme):
            pytest.skip(f"needs {lacks} (extra dev)")
        started.append(FakeStore(scheme, tmp_path_factory.mktemp("store")))
        return started[-1]

    yield start
    for store in started:
        store.kill()


@pytest.fixture(scope="session")
def stores(start_store: Callable[[str], FakeStore]) -> Callable[[str], FakeStore]:
    """Returns the store of a scheme that all tests share."""
    return cache(start_store)


@pytest.fixture
def make_bucket(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeStore], str]:
    """Makes a new bucket in a store, which this process and its children find from then on; returns its URL."""
    from atrank_tf import stores

    def make(store: FakeStore) -> str:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        url = f"{store.scheme}://bucket-{uuid4().hex}"
        system = stores._system(url)
        system.clear_instance_cache()  # They would go to the store of another test.
        stores._system(url).mkdir(url.partition("://")[2])
        return url

    return make


@pytest.fixture(params=["s3", "gs"])
def bucket(
    request: pytest.FixtureRequest, stores: Callable[[str], FakeStore], make_bucket: Callable[[FakeStore], str]
) -> str:
    """URL of a new bucket, in each kind of store."""
    return make_bucket(stores(request.param))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, headless."""
    api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright (extra dev)")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
