"""A mistake in a flag or a file is told before anything heavy is imported: by what is imported, not by time."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atrank_tf.data import Records

HEAVY = [
    "tensorflow",
    "keras",
    "polars",
    "matplotlib",
    "pandas",
    "tensorflow_datasets",
    "apache_beam",
    "distributed",
    "pyspark",
    "ray",
    "aiohttp",
    "lightgbm",
]
PATH = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
RUN = f"""
import json, os, runpy, sys
from absl import app, flags, logging
for line in sys.stdin:
    folder, command, *given = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        for place, name in ((1, "../out"), (2, "../err")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), place)
        sys.argv = [command, *given]
        try:
            runpy.run_module(f"atrank_tf.{{command}}", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            print(end.code, [name for name in {HEAVY} if name in sys.modules], flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print(flush=True)
"""
"""Runs commands, each in a fork of a process that has imported what all of them begin with."""
COMMANDS = ("prepare", "train", "evaluate", "explain", "export", "serve", "simulate", "describe")
NO_FILE = [
    (
        "prepare",
        "--logs=nowhere --schema={schema} --records=r",
        "Expected a logs folder, or the name of ready logs, for",
    ),
    ("prepare", "--logs={logs} --schema=nowhere.toml --records=r", "Expected a TOML file at nowhere.toml. Found none."),
    ("prepare", "--logs={logs} --records=r", "Expected a schema file for --schema"),
    ("prepare", "--logs={logs} --schema={wrong} --records=r", 'Unknown key "entitis" in the top level. Did you mean'),
    ("prepare", "--logs={logs} --schema={broken} --records=r", "is not valid TOML"),
    ("prepare", "--logs={logs} --schema={experiment} --records=r", "This is an experiment file, which train takes"),
    (
        "prepare",
        "--logs={empty} --schema={schema} --records=r",
        "Expected catalog/product (.parquet, .csv, .csv.gz) in",
    ),
    ("prepare", "--logs={logs} --schema={schema} --records=r --raw=x", "--raw is for ready logs."),
    ("prepare", "--logs=complete_journey --schema=nowhere.toml --records=r", "Expected a TOML file at nowhere.toml."),
    ("train", "--records=r --config=nowhere.toml --model_dir=m", "Expected a TOML file at nowhere.toml. Found none."),
    ("train", "--records=r --config={schema} --model_dir=m", "This is a schema, which prepare takes;"),
    (
        "train",
        "--records=r --config={unnamed} --model_dir=m",
        'Expected [model] with name = "...", as name = "atrank".',
    ),
    (
        "train",
        "--records=r --config={misspelt} --model_dir=m",
        'Unknown key "epoch" in [training]. Did you mean "epochs"?',
    ),
    ("train", "--records=r --config={experiment} --model_dir=m", "Expected a records folder at r. Found none."),
    ("train", "--records={logs} --config={experiment} --model_dir=m --warm_start=w", "Expected a trained model at w/"),
    ("evaluate", "--records=r --model_dir=m", "Expected a records folder at r. Found none."),
    ("evaluate", "--records={logs} --model_dir=m", "Expected a trained model at m/model.keras. Found none"),
    ("evaluate", "--records={logs} --model_dir={model} --against=m", "Expected a trained model at m/model.keras."),
    (
        "evaluate",
        "--records={logs} --model_dir={model} --truth=t",
        "Expected a folder with the true probabilities at t",
    ),
    ("evaluate", "--records=r --model_dir=m --exclude_history", "--exclude_history is for --candidates=catalog"),
    ("explain", "--records=r --model_dir=m --out=o", "Expected a records folder at r. Found none."),
    ("explain", "--records={logs} --model_dir=m --out=o", "Expected a trained model at m/model.keras. Found none"),
    ("export", "--model_dir=m --export_dir=e", "Expected a trained model at m/model.keras. Found none"),
    ("serve", "", "Expected --model_base_path or --model_config_file. Received: neither."),
    ("serve", "--model_config_file=x", "Expected a file at x, for --model_config_file. Found none."),
    ("serve", "--model_base_path=e --playground=x", "Expected a file at x, for --playground. Found none."),
    ("serve", "--model_base_path=e --rest_api_port=x", "flag --rest_api_port=x"),
    ("simulate", "--logs={logs}", "Remove it, or choose another folder."),
    ("describe", "--logs=nowhere", "Expected a folder of logs at nowhere. Found none."),
    ("describe", "--logs={logs} --output={described}", "Expected no schema.toml in "),
    *((name, "--nosuchflag", "nosuchflag") for name in COMMANDS),
]


WRONG_EXPERIMENTS = {
    "a misspelt model": (
        '[model]\nname = "atrnak"',
        r"Unknown model 'atrnak' in \[model\]\. Did you mean \"atrank\"\?.*",
    ),
    "a misspelt key": (
        '[model]\nname = "atrank"\nhiden_dim = 8',
        r'Unknown key "hiden_dim" in \[model\]\. Did you mean "hidden_dim"\?.*',
    ),
    "a key of another model": (
        '[model]\nname = "atrank"\nwindow = 8',
        r'Unknown key "window" in \[model\]\. It is a key of the model "timeline_atrank"\.',
    ),
    "a wrong type": (
        '[model]\nname = "atrank"\ndropout = "a"',
        r"Expected a number for model\.dropout\. Received: 'a'\.",
    ),
    "a wrong value": (
        '[model]\nname = "atrank"\ndropout = 1.5',
        r"dropout must be at least 0 and below 1\. Received: dropout=1\.5 in \[model\]\.",
    ),
    "a wrong value of a batch": (
        '[model]\nname = "atrank"\n[batching]\nbatch_size = 0',
        r"batch_size must be positive\. Received: batch_size=0 in \[batching\]\.",
    ),
    "a loss that is none": (
        '[model]\nname = "atrank"\n[training]\nloss = "pairwize"',
        r"Unknown loss 'pairwize' in \[training\]\. Did you mean \"pairwise\"\?.*",
    ),
    "a key without effect": (
        '[model]\nname = "atrank"\nranking = ["dot"]\nhidden_units = [3]',
        r"hidden_units in \[model\] has no effect: .* Received: hidden_units=\[3\]\. Leave it out\.",
    ),
}


@pytest.fixture(scope="module")
def places(logs: Path, schema_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("places")
    texts = {
        "wrong": "[tables]\n[entitis]\n",
        "broken": "[tables\n",
        "experiment": '[model]\nname = "atrank"\n',
        "unnamed": "[model]\nhidden_dim = 3\n",
        "misspelt": '[model]\nname = "atrank"\n[training]\nepoch = 3\n',
    }
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)
    for name in ("empty", "model"):
        (folder / name).mkdir()
    (folder / "model/model.keras").touch()
    (folder / "described").mkdir()
    (folder / "described/schema.toml").touch()
    found = {name: folder / f"{name}.toml" for name in texts} | {"empty": folder / "empty", "model": folder / "model"}
    found["described"] = folder / "described"
    return {"logs": logs, "schema": schema_file, **found}


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., tuple[str, str]]]:
    """A function (folder to run in, command, flags) -> what the command printed, and its errors."""
    run = [sys.executable, "-c", RUN]
    process = subprocess.Popen(run, env=PATH, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None

    def start(folder: Path, *given: str) -> tuple[str, str]:
        process.stdin.write(json.dumps([str(folder), *given]) + "\n")
        process.stdin.flush()
        process.stdout.readline()
        return (folder.parent / "out").read_text(), (folder.parent / "err").read_text()

    yield start
    process.communicate()


@pytest.mark.parametrize(("command", "flags", "expected"), NO_FILE)
def test_a_mistake_is_told_before_anything_heavy_is_imported(
    start: Callable[..., tuple[str, str]],
    tmp_path: Path,
    places: dict[str, object],
    command: str,
    flags: str,
    expected: str,
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    out, err = start(folder, command, *flags.format(**places).split())
    assert err.startswith(f"{command}: ") and expected in err, err
    assert err.count("\n") == 1
    assert out == "1 []\n"
    assert not list(folder.iterdir())


@pytest.mark.parametrize("case", WRONG_EXPERIMENTS)
def test_any_mistake_in_an_experiment_file_is_told_at_once_with_the_name_of_the_file(
    start: Callable[..., tuple[str, str]], tmp_path: Path, case: str
) -> None:
    text, message = WRONG_EXPERIMENTS[case]
    folder = tmp_path / "here"
    folder.mkdir()
    (tmp_path / "experiment.toml").write_text(text)
    out, err = start(folder, "train", "--records=r", "--config=../experiment.toml", "--model_dir=m")
    assert re.fullmatch(rf"train: {message} \(in \.\./experiment\.toml\)\n", err), err
    assert out == "1 []\n"
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('tasks = ["next_purchas"]', r"Unknown task 'next_purchas' in \[model\]\. Did you mean \"next_purchase\"\? .*"),
        ('groups = ["purchases"]', r"Unknown group 'purchases'\. Did you mean \"purchase\"\? .*"),
        (
            'tasks = ["next_purchase"]\ngroups = ["redemption"]',
            r"Task 'next_purchase' ranks what group 'purchase' is .*",
        ),
        ('tasks = ["next_redemption"]\n[batching]\nnegatives = 3', r"negatives in \[batching\] has no effect: .*"),
    ],
)
def test_an_experiment_that_does_not_fit_the_records_is_told_at_once(
    start: Callable[..., tuple[str, str]], records: Records, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "experiment.toml").write_text(f'[model]\nname = "atrank"\n{text}\n')
    folder = tmp_path / "here"
    folder.mkdir()
    out, err = start(folder, "train", f"--records={records.path}", "--config=../experiment.toml", "--model_dir=m")
    assert re.fullmatch(rf"train: {message} \(in \.\./experiment\.toml\)\n", err), err
    assert out == "1 []\n"


def test_the_settings_of_a_server_and_the_logs_folder_need_nothing_heavy() -> None:
    code = (
        "import sys, json; from atrank_tf.server import ServerSettings; "
        "from atrank_tf.preparation.logs import find_logs; "
        f"from atrank_tf import load_schema; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=PATH, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_names_that_are_not_there() -> None:
    import atrank_tf.preparation
    import atrank_tf.server

    for module in (atrank_tf.preparation, atrank_tf.server):
        with pytest.raises(AttributeError, match=r"module 'atrank_tf\.\w+' has no attribute 'nothing'"):
            _ = module.nothing
    assert set(atrank_tf.server.__all__) <= set(dir(atrank_tf.server))
    assert all(getattr(atrank_tf.server, name) is not None for name in atrank_tf.server.__all__)
