"""From four files of a shop to a served ranker: `python examples/own_logs.py --work=FOLDER` (docs/your_logs.md).

To be read from top to bottom; each `# %%` is a cell, for editors that run them. The files are made here, by a simulated
market, under the names that a shop might give them. With your own, begin at the second cell: `--logs=FOLDER`.
"""

# %% Four files, as a shop exports them: what was done, what was searched, what was shown, and the products.
import argparse
import json
from pathlib import Path

import polars as pl

import atrank_tf
from atrank_tf.datasets import write_market
from atrank_tf.description import describe, write_description
from atrank_tf.experiment import load_experiment
from atrank_tf.preparation import prepare
from atrank_tf.report import load_report
from atrank_tf.server import RestApi, ServedModel
from atrank_tf.training import train

flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
flags.add_argument("--logs", help="Folder of your own files. Default: some are made.")
flags.add_argument("--users", type=int, default=2_000, help="Users of the files that are made.")
flags.add_argument("--work", required=True, help="Folder for all that is written.")
given = flags.parse_args()
work = Path(given.work)
logs = given.logs or f"{work}/logs"


def make_logs(folder: str, users: int) -> None:
    """Writes the products and queries of a simulated market as four files."""
    write_market(f"{work}/market", users=users, seed=1)
    when = pl.from_epoch("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    read = {name: pl.read_parquet(f"{work}/market/{name}.parquet") for name in ("behaviors/product", "behaviors/query")}
    shown = pl.read_parquet(f"{work}/market/impressions/next_product.parquet")
    products = pl.read_parquet(f"{work}/market/catalog/product.parquet")
    Path(folder).mkdir(parents=True)
    events = read["behaviors/product"].select(when.alias("time"), customer="user_id", event="action", sku="product_id")
    events.write_csv(f"{folder}/clickstream.csv")
    searches = read["behaviors/query"].select(when.alias("time"), customer="user_id", query="query_id")
    searches.write_csv(f"{folder}/searches.csv")
    pages = shown.select(when.alias("time"), page="request_id", customer="user_id", sku="product_id", clicked="label")
    pages.write_csv(f"{folder}/pages.csv")
    title = pl.format("{}, no. {}", "brand", "product_id").alias("title")
    products.select(title, "category", "brand", sku="product_id").write_csv(f"{folder}/products.csv")


if not given.logs:
    make_logs(logs, given.users)
for path in sorted(Path(logs).iterdir()):
    print(f"{path.name:<18}", *pl.scan_csv(path).collect_schema().names())

# %% What is in them? Two files say it: schema.toml and experiment.toml. Read their comments, and answer the questions.
found = describe(logs)
write_description(found, str(work))
for file, what in found.files.items():
    print(f"{file:<18} {what}")
for question in found.questions:
    print("?", question)

# %% Records: what training reads. The report is a page for the browser; red lines are what to look at.
schema = atrank_tf.load_schema(f"{work}/schema.toml")
records = prepare(logs, schema, f"{work}/records")
print(f"{records.manifest['users']:,} users. To look at in {work}/records/report.html:")
for check in load_report(records.path)["checks"]:
    if check["look"]:
        print(f"  {check['about']}: {check['found']:,} of {check['of']:,} {check['says']}")

# %% Train, and compare with rules that need no training.
train(records, load_experiment(f"{work}/experiment.toml"), f"{work}/model")
model = atrank_tf.load(f"{work}/model")
from atrank_tf.evaluation import evaluate, metrics_table, score_baselines, score_model  # noqa: E402

settings = load_experiment(f"{work}/experiment.toml").batching
scored = {model.name: score_model(model, records, "test", settings)}
scored |= score_baselines(records, "test", model.tasks, settings)
for task in model.tasks:
    rows = {name: evaluate(tasks[task]) for name, tasks in scored.items() if task in tasks}
    print(metrics_table(f"{task}, test", rows, {}))

# %% Export, and ask it as a server would be asked: raw ids in, scores out. The largest is the best.
from atrank_tf.data import IdMaps  # noqa: E402
from atrank_tf.saved_model import export_model  # noqa: E402

version = export_model(model, IdMaps.load(f"{work}/model/values.npz"), f"{work}/export/shop")
served = ServedModel("shop", f"{work}/export/shop")
served.start()
task = model.tasks[0]
group = schema.tasks[task].group
some = records.catalogs[schema.groups[group].entity].ids[:5].tolist()
request = {f"{name}__{part}": [] for name in schema.groups for part in ("id", "action", "timestamp")} | {
    "now": 1_713_000_000,
    f"{group}__id": some[:1],
    f"{group}__action": [schema.groups[group].actions[0]],
    f"{group}__timestamp": [1_712_990_000],
    f"{task}__candidates": some,
}
body = json.dumps({"signature_name": f"score__{task}", "instances": [request]})
answer = RestApi(served).answer("POST", "/v1/models/shop:predict", body.encode())
served.close()
print(version, "answers", answer.body.decode().strip())
