"""The whole way by hand: logs -> records -> model -> metrics -> SavedModel -> REST, each by its command."""

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from atrank_tf.preparation import prepare
from atrank_tf.schema import load_schema
from atrank_tf.training import load_training

ROOT = Path(__file__).parents[2]
RULES = ("popularity", "recent popularity", "repetition", "frequency", "recency")
EXPERIMENT = """
[model]
name = "average_pooling"
hidden_dim = 8
hidden_units = [8]

[batching]
batch_size = 64

[training]
epochs = 2
"""


Run = Callable[..., subprocess.CompletedProcess[str]]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(run_command: Run, logs: Path, schema_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with records, a trained model and its export."""
    folder = tmp_path_factory.mktemp("whole_way")
    (folder / "experiment.toml").write_text(EXPERIMENT)
    prepare = ("-m", "atrank_tf.prepare", f"--logs={logs}", f"--schema={schema_file}", f"--records={folder}/records")
    first = run_command(*prepare)
    assert first.returncode == 0, first.stderr
    train = ("-m", "atrank_tf.train", f"--records={folder}/records", f"--config={folder}/experiment.toml")
    first = run_command(*train, f"--model_dir={folder}/model")
    assert first.stdout.endswith("model trained\n"), first.stderr
    second = run_command(*train, f"--model_dir={folder}/model")
    assert second.stdout.endswith("model is current: same records, same experiment\n")
    export = run_command("export/export_savedmodel.py", f"--model_dir={folder}/model", f"--export_dir={folder}/export")
    assert export.returncode == 0, export.stderr
    assert export.stdout == f"{folder}/export/1\n"
    assert not re.search(r"^I\d{4} .*\.py:", export.stderr, re.MULTILINE), export.stderr
    return folder


@pytest.fixture(scope="module")
def other(run_command: Run, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of another trained model, which knows one task, whose candidates are impressions."""
    other = tmp_path_factory.mktemp("other")
    (other / "experiment.toml").write_text(
        '[model]\nname = "bpr_mf"\ngroups = ["redemption"]\nhidden_dim = 8\n[training]\nepochs = 1\n'
    )
    files = (f"--records={folder}/records", f"--config={other}/experiment.toml", f"--model_dir={other}/model")
    done = run_command("-m", "atrank_tf.train", *files)
    assert done.returncode == 0, done.stderr
    return other / "model"


@pytest.fixture(scope="module")
def evaluated(run_command: Run, logs: Path, folder: Path, other: Path) -> str:
    """What `evaluate` prints of the model beside the other one, where the truth is known of one task."""
    shown = pl.read_parquet(logs / "impressions/next_redemption.parquet")
    (folder / "truth").mkdir()
    shown.with_columns(probability=0.1 + 0.8 * pl.col("label")).write_parquet(folder / "truth/next_redemption.parquet")
    given = (f"--records={folder}/records", f"--model_dir={folder}/model", f"--truth={folder}/truth")
    done = run_command("-m", "atrank_tf.evaluate", *given, "--split=test", f"--against={other}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_evaluate_ends_with_one_json_object_of_all_tasks_and_metrics(evaluated: str, folder: Path) -> None:
    *table, page, last = evaluated.strip().split("\n")
    assert page == f"page: {folder}/model/evaluation.html"
    written = (folder / "model/evaluation.html").read_text()
    assert "Where it is good: next_redemption" in written and "Worst requests: next_purchase" in written
    metrics = json.loads(last)
    assert set(metrics) == {"next_purchase", "next_redemption"}
    written = json.loads((folder / "model/metrics_test.json").read_text())
    assert written["model"] == hashlib.sha256((folder / "model/model.keras").read_bytes()).hexdigest()
    for values in metrics.values():
        assert set(values) == {"user_auc", "auc", "log_loss", "ndcg@10", "mrr", "hit_rate@1", "hit_rate@10"}
        assert all(isinstance(value, float) for value in values.values())
    for name in ("average_pooling", *RULES):
        assert sum(line.strip().startswith(name) for line in table) == 2
    (reachable,) = (line.split() for line in table if line.strip().startswith("reachable"))
    assert reachable[1] == "1.0000"


def test_evaluate_compares_with_another_model_on_the_same_requests(evaluated: str, folder: Path, other: Path) -> None:
    names = [line.split("  ")[1] for line in evaluated.splitlines() if line.startswith("  ")]
    own = ["average_pooling", *RULES, "base rate", "users, candidates or requests"]
    own.append("log_loss: the model was trained with 4 negatives for each positive, as many as here.")
    of_both = [
        "average_pooling",
        "against",
        *RULES,
        "base rate",
        "reachable",
        "users, candidates or requests",
        "difference",
        "p",
    ]
    of_both.append("log_loss: the model was trained on what was shown, as it is scored here.")
    assert names == [*own, *of_both]
    written = json.loads((folder / "model/metrics_test.json").read_text())
    assert written["against"] == hashlib.sha256((other / "model.keras").read_bytes()).hexdigest()
    found = written["metrics"]
    assert set(found["difference"]) == {"next_redemption"}
    for metric, difference in found["difference"]["next_redemption"].items():
        ours, theirs = (found[name]["next_redemption"][metric]["value"] for name in ("average_pooling", "against"))
        assert difference["difference"] == pytest.approx(ours - theirs, abs=1e-9)
        assert ours != theirs or metric == "hit_rate@10"  # Of six candidates at most.
        assert f"{difference['difference']:+.4f} ±{difference['standard_error']:.4f}" in evaluated
        assert 0 < difference["p_value"] <= 1


@pytest.mark.slow
def test_evaluate_writes_scores_and_compares_with_a_file_of_them(
    run_command: Run, folder: Path, other: Path, tmp_path: Path
) -> None:
    """The other model's scores say the same from a file as from its folder; only the draws of the bootstrap differ."""
    records, scores = f"--records={folder}/records", tmp_path / "other.parquet"
    write = ("-m", "atrank_tf.evaluate", records, f"--model_dir={other}", "--split=test", f"--scores={scores}")
    assert run_command(*write, "--against=").returncode == 0
    compare = ("-m", "atrank_tf.evaluate", records, f"--model_dir={folder}/model", "--split=test")
    found = {}
    for path in (other, scores):
        done = run_command(*compare, f"--against={path}")
        assert done.returncode == 0, done.stderr
        found[path] = json.loads((folder / "model/metrics_test.json").read_text())
    assert found[scores]["against"] == hashlib.sha256(scores.read_bytes()).hexdigest()
    of_folder, of_file = (_flat(found[path]["metrics"]["against"]) for path in (other, scores))
    assert of_file == pytest.approx(of_folder, nan_ok=True)
    differences = [_flat(found[path]["metrics"]["difference"]) for path in (other, scores)]
    values = [{name: value for name, value in each.items() if name.endswith("/difference")} for each in differences]
    assert values[0] == pytest.approx(values[1]) and len(values[0]) == 6
    for flag, expected in (
        (f"--scores={tmp_path}/x.csv", "Expected a file whose name ends with .parquet for --scores. Received: "),
        (f"--against={tmp_path}/no.parquet", f"Expected a file of scores at {tmp_path}/no.parquet. Found none"),
    ):
        done = run_command(*compare, flag)
        assert done.returncode == 1
        assert done.stderr.strip().split("\n")[-1].startswith(f"evaluate: {expected}")


@pytest.mark.slow
def test_evaluate_compares_with_lightgbm_where_it_is_installed(
    run_command: Run, folder: Path, other: Path, tmp_path: Path
) -> None:
    pytest.importorskip("lightgbm", reason="needs the package lightgbm (extra experiments)")
    model = Path(shutil.copytree(other, tmp_path / "model"))
    given = (f"--records={folder}/records", f"--model_dir={model}")
    done = run_command("-m", "atrank_tf.evaluate", *given)
    assert done.returncode == 0, done.stderr
    found = json.loads((model / "metrics_validation.json").read_text())
    assert found["against"] == "lightgbm"
    assert list(found["metrics"])[:2] == ["bpr_mf", "LightGBM"] and "difference" in found["metrics"]
    assert re.search(r"^  LightGBM: \d+ trees, learned from .+ candidates with ", done.stdout, re.MULTILINE)
    page = (model / "evaluation.html").read_text()
    assert "difference to LightGBM" in page and "AUC, difference to LightGBM" in page
    assert "LightGBM" not in run_command("-m", "atrank_tf.evaluate", *given, "--against=").stdout


@pytest.mark.slow
def test_beside_a_last_training_lightgbm_learns_from_validation_too(
    run_command: Run, folder: Path, other: Path, tmp_path: Path
) -> None:
    pytest.importorskip("lightgbm", reason="needs the package lightgbm (extra experiments)")
    files = (f"--records={folder}/records", f"--config={other.parent}/experiment.toml", f"--model_dir={tmp_path}/last")
    done = run_command("-m", "atrank_tf.train", *files, "--include_validation")
    assert done.returncode == 0, done.stderr
    learned_from = []
    for model in (shutil.copytree(other, tmp_path / "model"), tmp_path / "last"):
        given = (f"--records={folder}/records", f"--model_dir={model}", "--split=test")
        printed = run_command("-m", "atrank_tf.evaluate", *given).stdout
        learned_from += re.findall(r"trees, learned from ([\d,]+) candidates", printed)
    few, more = (int(found.replace(",", "")) for found in learned_from)
    assert few < more


def test_without_lightgbm_who_asks_for_it_is_told_what_to_install(run_command: Run, folder: Path) -> None:
    code = "import runpy, sys; sys.modules['lightgbm'] = None; sys.argv[0] = 'evaluate'; " + (
        "runpy.run_module('atrank_tf.evaluate', run_name='__main__', alter_sys=True)"
    )
    given = (f"--records={folder}/records", f"--model_dir={folder}/model", "--against=lightgbm")
    done = run_command("-c", code, *given)
    assert done.returncode == 1
    assert "--against=lightgbm needs lightgbm: pip install 'atrank-tf[experiments]'" in done.stderr


@pytest.mark.slow
def test_evaluate_ranks_the_whole_catalog(run_command: Run, folder: Path) -> None:
    given = (f"--records={folder}/records", f"--model_dir={folder}/model", "--candidates=catalog")
    done = run_command("-m", "atrank_tf.evaluate", *given, f"--against={folder}/model", "--exclude_history")
    assert done.returncode == 0, done.stderr
    assert "next_redemption is left out: only what was shown has a label, not the whole catalog." in done.stderr
    *table, last = done.stdout.strip().split("\n")
    metrics = {"hit_rate@10", "ndcg@10", "hit_rate@50", "ndcg@50", "mrr", "mean_rank"}
    assert {task: set(values) for task, values in json.loads(last).items()} == {"next_purchase": metrics}
    names = [line.split("  ")[1] for line in table if line.startswith("  ")]
    assert names == ["average_pooling", "against", *RULES, "users, candidates or requests", "difference", "p"]
    found = json.loads((folder / "model/metrics_validation_catalog_new.json").read_text())["metrics"]
    assert set(found) == {"average_pooling", "against", *RULES, "difference"}
    (hits,) = {each["next_purchase"]["hit_rate@50"]["value"] for name, each in found.items() if name != "difference"}
    assert hits == 1.0  # Of fewer than 50 products.
    assert found["difference"]["next_purchase"]["mean_rank"]["difference"] == 0.0  # From itself.
    assert found["average_pooling"]["next_purchase"]["mrr"]["left_out"] > 0


def test_evaluate_says_what_does_not_go_with_the_catalog(
    run_command: Run, folder: Path, other: Path, tmp_path: Path
) -> None:
    records, shown = f"--records={folder}/records", f"--model_dir={other}"
    for flags, expected in (
        ([f"--model_dir={folder}/model", "--exclude_history"], "--exclude_history is for --candidates=catalog"),
        ([shown, "--candidates=catalog", f"--truth={tmp_path}"], "--truth has probabilities of impressions alone"),
        ([shown, "--candidates=catalog", "--against=lightgbm"], "LightGBM ranks the candidates of the task: it does"),
        ([shown, "--candidates=catalog", f"--scores={tmp_path}/x.parquet"], "A file of scores has the candidates of"),
        (
            [shown, "--candidates=catalog"],
            "--candidates=catalog needs a task with sampled negatives. The candidates of ",
        ),
    ):
        done = run_command("-m", "atrank_tf.evaluate", records, *flags)
        assert done.returncode == 1
        assert done.stderr.strip().split("\n")[-1].startswith(f"evaluate: {expected}")


@pytest.mark.slow
def test_elsewhere_and_with_other_threads_the_metrics_are_the_same(folder: Path, tmp_path: Path) -> None:
    _run(
        "-m",
        "atrank_tf.evaluate",
        f"--records={folder}/records",
        f"--model_dir={folder}/model",
        "--split=test",
        "--against=",
    )
    here = json.loads((folder / "model/metrics_test.json").read_text())
    for threads in (1, 3):
        copy = tmp_path / f"{threads}"
        shutil.copytree(folder / "records", copy / "records")
        shutil.copytree(folder / "model", copy / "model", ignore=shutil.ignore_patterns("metrics_*"))
        command = ("-m", "atrank_tf.evaluate", "--records=records", "--model_dir=model", "--split=test", "--against=")
        own = {"PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": str(threads)}
        done = subprocess.run(
            [sys.executable, *command], cwd=copy, env=os.environ | own, capture_output=True, check=True
        )
        assert b"trained on other records" not in done.stderr
        there = json.loads((copy / "model/metrics_test.json").read_text())
        assert (there["model"], there["records"]) == (here["model"], here["records"])
        assert there["environment"]["packages"] == here["environment"]["packages"]
        assert set(there["metrics"]) == {"average_pooling", *RULES, "base rate"}
        assert _flat(there["metrics"]) == pytest.approx(_flat(here["metrics"]), abs=1e-6)


def _flat(metrics: Any, place: str = "") -> dict[str, float]:
    if not isinstance(metrics, dict):
        return {place: metrics}
    return {key: value for name, part in metrics.items() for key, value in _flat(part, f"{place}/{name}").items()}


def test_evaluate_tells_of_other_records_of_an_unfinished_training_and_of_a_folder_that_takes_no_metrics(
    run_command: Run, logs: Path, schema_file: Path, other: Path, tmp_path: Path
) -> None:
    shutil.copytree(other, tmp_path / "model")
    (tmp_path / "model/metrics_validation.json").mkdir()
    unfinished = load_training(str(tmp_path / "model")) | {"finished": False}
    (tmp_path / "model/training.json").write_text(json.dumps(unfinished))
    prepare(str(logs), load_schema(str(schema_file)), str(tmp_path / "records"), shards=3)
    given = (f"--records={tmp_path}/records", f"--model_dir={tmp_path}/model", "--against=")
    done = run_command("-m", "atrank_tf.evaluate", *given)
    assert set(json.loads(done.stdout.splitlines()[-1])) == {"next_redemption"}
    assert "was trained on other records than" in done.stderr
    assert f"{tmp_path}/model holds an unfinished training" in done.stderr
    assert "metrics_validation.json is not written" in done.stderr


@pytest.fixture(scope="module")
def explained(run_command: Run, folder: Path) -> Path:
    """The folder of a model with attention, which was explained after each epoch."""
    (folder / "atrank.toml").write_text(
        '[model]\nname = "atrank"\nhidden_dim = 8\nnum_spaces = 2\n[training]\nepochs = 1\n'
    )
    files = (f"--records={folder}/records", f"--config={folder}/atrank.toml", f"--model_dir={folder}/atrank")
    done = run_command("-m", "atrank_tf.train", *files, "--explain")
    assert done.returncode == 0, done.stderr
    return folder / "atrank"


@pytest.mark.slow
def test_a_training_that_explains_leaves_images_and_tables_to_tensorboard(explained: Path) -> None:
    names = {path.name.split(".")[0] for path in (explained / "tensorboard/explanation").iterdir()}
    assert {"events", "projector_config", "product", "category"} <= names


@pytest.mark.slow
def test_explain_writes_a_report(run_command: Run, folder: Path, explained: Path) -> None:
    pytest.importorskip("matplotlib")
    model = (f"--records={folder}/records", f"--model_dir={explained}")
    done = run_command("-m", "atrank_tf.explain", *model, f"--out={folder}/report", "--users=1", "--measured_users=8")
    assert done.returncode == 0, done.stderr
    *table, about, path = done.stdout.strip().split("\n")
    assert path == f"{folder}/report/index.html"
    assert about.startswith("atrank, test: 2 requests. Mean rank agreement of attention and effect: ")
    assert sum(line.startswith("self-attention 1") for line in table) == 3  # Two spaces, and equal weights.
    assert {file.name for file in (folder / "report").iterdir()} == {
        "index.html",
        "spaces.csv",
        "spaces.png",
        *(f"0{n}_{name}.png" for n in (1, 2) for name in ("self_attention_1", "target_attention", "occlusion")),
    }


def test_the_server_answers_rows_columns_status_and_metadata(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1/models/shop"
    command = ("-m", "atrank_tf.serve", "--model_name=shop", f"--model_base_path={folder}/export")
    server = subprocess.Popen([sys.executable, *command, f"--rest_api_port={port}"], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        server.stdout.readline()  # One line when it is ready.
        user: dict[str, Any] = {
            "now": 8_000_000,
            "purchase__id": ["p1", "p2"],
            "purchase__action": ["regular", "regular"],
            "purchase__timestamp": [7_000_000, 7_500_000],
            "redemption__id": [],
            "redemption__action": [],
            "redemption__timestamp": [],
            "user__age": "young",
            "user__income": 10.0,
            "next_purchase__candidates": ["p1", "p3", "p9"],
        }
        rows = _post(f"{url}:predict", {"instances": [user]})["predictions"]
        columns = _post(f"{url}:predict", {"inputs": {name: [value] for name, value in user.items()}})["outputs"]
        assert rows == columns and len(rows[0]) == 3
        status = json.loads(urllib.request.urlopen(url).read())["model_version_status"]
        assert [(version["version"], version["state"]) for version in status] == [("1", "AVAILABLE")]
        metadata = json.loads(urllib.request.urlopen(f"{url}/metadata").read())
        signatures = metadata["metadata"]["signature_def"]["signature_def"]
        assert {"serving_default", "score__next_purchase", "score__next_redemption"} <= set(signatures)
    finally:
        server.terminate()
        server.communicate(timeout=30)


def _post(url: str, body: Any) -> Any:
    for _ in range(100):
        try:
            request = urllib.request.Request(url, json.dumps(body).encode())
            return json.loads(urllib.request.urlopen(request).read())
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise ConnectionRefusedError(url)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "atrank_tf.simulate", "--users=0", "--logs=x"], "users"),
        (["-m", "atrank_tf.train", "--rcords=x"], "rcords"),
        (["-m", "atrank_tf.train", "--records=x", "--config=nothing.toml", "--model_dir=y"], "nothing.toml"),
        (["-m", "atrank_tf.train", "--records=x", "--config=y", "--model_dir=z", "--seed=-1"], "seed"),
        (["-m", "atrank_tf.train", "--records=x", "--config=y"], "model_dir"),
        (["-m", "atrank_tf.train", "records"], "records"),
        (["-m", "atrank_tf.evaluate", "--records=x", "--model_dir=y", "--split=all"], "split"),
        (["-m", "atrank_tf.evaluate", "--records=nowhere", "--model_dir=y"], "nowhere"),
        (["-m", "atrank_tf.serve", "--model_base_path=x", "--playground_records=y"], "--playground_records is for"),
        (["-m", "atrank_tf.export", "--model_dir=nowhere", "--export_dir=y"], "nowhere"),
    ],
)
def test_a_wrong_flag_or_value_exits_with_1_and_one_clear_line(
    run_command: Run, arguments: list[str], message: str
) -> None:
    done = run_command(*arguments)
    assert done.returncode == 1
    lines = [line for line in done.stderr.strip().split("\n") if not line.startswith(("I0000", "WARNING: All log"))]
    assert len(lines) == 1 and message in lines[0], done.stderr
    assert done.stdout == ""


SHARD = "records/timelines-00003-of-00008.tfrecord"


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("train", SHARD),
        ("evaluate", SHARD),
        pytest.param("explain", SHARD, marks=pytest.mark.slow),
        pytest.param("evaluate", "records/catalog/product.npz", marks=pytest.mark.slow),
        ("evaluate", "model/model.keras"),
        ("evaluate", "model/training.json"),
        ("export", "model/values.npz"),
        ("serve", "export/1/saved_model.pb"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(
    run_command: Run, folder: Path, tmp_path: Path, operation: str, name: str
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 4
    (copy / name).write_bytes(content)
    records, model = f"--records={copy}/records", f"--model_dir={copy}/model"
    lines = {
        "train": ["-m", "atrank_tf.train", records, f"--config={copy}/experiment.toml", f"--model_dir={copy}/new"],
        "evaluate": ["-m", "atrank_tf.evaluate", records, model],
        "explain": ["-m", "atrank_tf.explain", records, model, f"--out={copy}/report"],
        "export": ["-m", "atrank_tf.export", model, f"--export_dir={copy}/export"],
        "serve": ["-m", "atrank_tf.serve", f"--model_base_path={copy}/export", "--rest_api_port=0"],
    }
    done = run_command(*lines[operation])
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().split("\n")[-1]
    assert f"{copy}/{name} is damaged" in last and " again" in last, done.stderr
    assert not (copy / "new").exists()


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("simulate", "--users:"),
        ("prepare", "--logs_cache:"),
        ("train", "--warm_start:"),
        ("evaluate", "--truth:"),
        ("explain", "--measured_users:"),
        ("export", "--export_dir:"),
        ("serve", "--model_config_file:"),
    ],
)
def test_help_lists_the_flags(run_command: Run, command: str, flag: str) -> None:
    done = run_command("-m", f"atrank_tf.{command}", "--help")
    assert flag in done.stdout and "Traceback" not in done.stderr


def test_the_script_of_a_checkout_lists_them_too(run_command: Run) -> None:
    done = run_command("export/export_savedmodel.py", "--help")
    assert "--export_dir:" in done.stdout and "Traceback" not in done.stderr
