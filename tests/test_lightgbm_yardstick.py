"""The yardstick beats chance, on the requests that `evaluate` scores."""

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from atrank_tf.data import Records
from atrank_tf.training import load_experiment, train

TASK = "next_redemption"
SCRIPT = "experiments/lightgbm_yardstick.py"
EXPERIMENT = """
[model]
name = "bpr_mf"
hidden_dim = 4
tasks = ["next_redemption"]

[batching]
targets_per_user = 8
evaluation_targets_per_user = 2

[training]
epochs = 1
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.toml"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture
def run_script(records: Records, config: Path, run_command: Callable[..., CompletedProcess[str]]) -> Callable[..., str]:
    """Runs the script with more flags; returns what it printed."""

    def run(*more: str) -> str:
        done = run_command(SCRIPT, f"--records={records.path}", f"--config={config}", *more, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def _rows(printed: str, title: str) -> dict[str, list[str]]:
    """Returns the rows of one table, name -> cells."""
    (table,) = [block for block in printed.split("\n\n") if block.startswith(title)]
    return {line[:32].strip(): re.split(r"\s{2,}", line[32:].strip()) for line in table.splitlines()}


@pytest.mark.slow
def test_it_beats_chance_on_the_requests_of_a_trained_model(
    records: Records,
    config: Path,
    run_script: Callable[..., str],
    run_command: Callable[..., CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    pytest.importorskip("lightgbm", reason="needs the package lightgbm (extra experiments)")
    train(records, load_experiment(str(config)), str(tmp_path / "model"))
    printed = run_script(f"--scores={tmp_path}/lightgbm")
    assert re.match(rf"{TASK}: \d+ trees of [\d,]+ candidates with \d+ numbers; by most gain ", printed)
    for part in ("validation", "test"):
        own = _rows(printed, f"{TASK}, {part}")
        flags = (f"--records={records.path}", f"--model_dir={tmp_path}/model", f"--split={part}")
        done = run_command("-m", "atrank_tf.evaluate", *flags, f"--against={tmp_path}/lightgbm_{part}.parquet")
        assert done.returncode == 0, done.stderr
        rows = _rows(done.stdout, f"{TASK}, {part}")
        # A difference is one of scores of the same users, candidates and labels, or an error.
        assert [*rows][1:3] == ["bpr_mf", "against"] and "difference" in rows
        assert rows["against"] == own["LightGBM"]
        auc = rows[f"{TASK}, {part}"].index("user_auc")
        assert float(rows["against"][auc].split(" ")[0]) > 0.65


def test_without_lightgbm_it_says_what_to_install(
    records: Records, config: Path, run_command: Callable[..., CompletedProcess[str]]
) -> None:
    code = f"import runpy, sys; sys.modules['lightgbm'] = None; sys.argv[0] = {SCRIPT!r}; " + (
        f"runpy.run_path({SCRIPT!r}, run_name='__main__')"
    )
    done = run_command("-c", code, f"--records={records.path}", f"--config={config}")
    assert done.returncode == 1
    assert done.stderr.endswith(
        "lightgbm_yardstick: The yardstick needs lightgbm: pip install 'atrank-tf[experiments]'\n"
    )
