"""A part of the data without a target is refused, and the error says what would be right."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atrank_tf.data import Part, Records
from atrank_tf.experiment import experiment_from_dict
from atrank_tf.preparation import prepare
from atrank_tf.report import PARTS, check_parts, load_report
from atrank_tf.schema import Candidates, Negatives, SplitKind, load_schema, schema_from_dict
from atrank_tf.training import train

DAY = 86_400
Run = Callable[..., subprocess.CompletedProcess[str]]


def _schema(**split: Any) -> Any:
    return schema_from_dict(
        {
            "tables": {"item": {"dim": 2}},
            "entities": {"item": {"id": {"column": "item_id", "table": "item"}}},
            "groups": {"click": {"entity": "item", "actions": ["view"]}},
            "tasks": {"next": {"group": "click", "negatives": {"uniform": 1}}},
            "split": split,
        }
    )


def _logs(folder: Path, days: list[int]) -> str:
    (folder / "behaviors").mkdir(parents=True)
    rows = [f"u{n % 2},i{n},view,{day * DAY + 7}" for n, day in enumerate(days)]
    (folder / "behaviors/click.csv").write_text("\n".join(["user_id,item_id,action,timestamp", *rows]) + "\n")
    return str(folder)


def _by_time(begin: int, end: int) -> Any:
    return _schema(kind="by_time", validation_from=begin * DAY, test_from=end * DAY)


def test_a_split_outside_the_data_is_refused_with_one_within_it(tmp_path: Path) -> None:
    logs = _logs(tmp_path / "logs", list(range(1, 12)))
    expected = (
        r'Expected targets of task "next" in training and validation and test, for .*/records\. Found 11 in training, '
        r"0 in validation, 0 in test\. The targets are of 1970-01-02 to 1970-01-12; \[split\] of the schema has "
        r"validation_from = 1970-02-10 and test_from = 1970-02-20\. "
        r"Try validation_from = 1970-01-10 and test_from = 1970-01-11\."
    )
    with pytest.raises(ValueError, match=expected):
        prepare(logs, _by_time(40, 50), str(tmp_path / "records"))
    assert not (tmp_path / "records").exists()
    prepare(logs, _by_time(9, 10), str(tmp_path / "records"))


def test_days_in_place_of_seconds(tmp_path: Path) -> None:
    logs = _logs(tmp_path / "logs", [0] * 9)
    with pytest.raises(
        ValueError, match=r"All targets are of 1970, 1970-01-01 to 1970-01-01\. Are timestamps days\? T"
    ):
        prepare(logs, _by_time(19_000, 19_100), str(tmp_path / "records"))


def test_two_days_have_no_split_to_propose(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"of 1970-01-02 to 1970-01-03; \[split\].* test_from = 1970-02-20\.$"):
        prepare(_logs(tmp_path / "logs", [1, 2]), _by_time(40, 50), str(tmp_path / "records"))


def test_last_targets_out_of_users_who_have_no_others(tmp_path: Path) -> None:
    logs = _logs(tmp_path / "logs", [1, 2, 3, 4])
    with pytest.raises(
        ValueError, match=r"Found 0 in training, 2 in validation, 2 in test\. Under kind = \"leave_last"
    ):
        prepare(logs, _schema(kind=str(SplitKind.LEAVE_LAST_OUT)), str(tmp_path / "records"))


def test_a_task_whose_action_never_happens(tmp_path: Path) -> None:
    schema = load_schema(str(_written(tmp_path / "schema.toml")))
    with pytest.raises(ValueError, match=r"Found 0 in training, .*Are the actions of \[tasks.next\] in the log"):
        prepare(_logs(tmp_path / "logs", [1, 2, 3, 4]), schema, str(tmp_path / "records"))


def _written(path: Path) -> Path:
    path.write_text(
        '[tables]\nitem = { dim = 2 }\n[entities.item]\nid = { column = "item_id", table = "item" }\n[groups.click]\n'
        'entity = "item"\nactions = ["view", "buy"]\n[tasks.next]\ngroup = "click"\nactions = ["buy"]\n'
        "negatives = { uniform = 1 }\n"
    )
    return path


def test_impressions_of_which_nothing_was_chosen(tmp_path: Path) -> None:
    logs = Path(_logs(tmp_path / "logs", [1]))
    (logs / "impressions").mkdir()
    shown = [f"r{day},u0,{day * DAY},i0,{int(day == 2)}" for day in (2, 3, 4)]
    lines = ["request_id,user_id,timestamp,item_id,label", *shown]
    (logs / "impressions/next.csv").write_text("\n".join(lines) + "\n")
    schema = _by_time(3, 4)
    tasks = {"next": replace(schema.tasks["next"], candidates=Candidates.IMPRESSIONS, negatives=Negatives())}
    expected = (
        r'Expected impressions of task "next" that were chosen in training and validation and test, for .*\. '
        r"Found 1 in training, 0 in validation, 0 in test\. Is label 1, or true, where something was chosen\?"
    )
    with pytest.raises(ValueError, match=expected):
        prepare(str(logs), replace(schema, tasks=tasks), str(tmp_path / "records"))
    records = prepare(str(logs), replace(schema, tasks=tasks), str(tmp_path / "records"), empty_parts=True)
    with pytest.raises(ValueError, match=r"chosen in validation, for .* Found 1 in training, 0 in valid"):
        train(records, experiment_from_dict(EXPERIMENT), str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


@pytest.fixture(scope="module")
def all_training(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Records of which everything is training, as somebody has asked for."""
    folder = tmp_path_factory.mktemp("all_training")
    logs = _logs(folder / "logs", list(range(1, 12)))
    return prepare(logs, _by_time(40, 50), str(folder / "records"), empty_parts=True)


EXPERIMENT = {"model": {"name": "average_pooling", "hidden_dim": 2}, "training": {"epochs": 1}}


def test_train_wants_something_to_choose_by(all_training: Records, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r'Expected targets of task "next" in validation, .* Found 11 in training, 0 in'
    ):
        train(all_training, experiment_from_dict(EXPERIMENT), str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_evaluate_and_explain_want_something_to_score(all_training: Records, run_command: Run, tmp_path: Path) -> None:
    training = {"training": {"epochs": 1, "include_validation": True}}
    assert train(all_training, experiment_from_dict(EXPERIMENT | training), str(tmp_path / "model"))
    given = (f"--records={all_training.path}", f"--model_dir={tmp_path}/model", "--split=test")
    for command in (("evaluate",), ("evaluate", "--candidates=catalog"), ("explain", f"--out={tmp_path}/out")):
        done = run_command("-m", f"atrank_tf.{command[0]}", *given, *command[1:])
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith(
            f'{command[0]}: Expected targets of task "next" in test, for {all_training.path}. Found '
        )


def test_the_command_has_a_flag_for_who_means_it(run_command: Run, tmp_path: Path) -> None:
    schema = _written(tmp_path / "schema.toml")
    flags = [f"--logs={_logs(tmp_path / 'logs', [1, 2])}", f"--schema={schema}", f"--records={tmp_path}/records"]
    done = run_command("-m", "atrank_tf.prepare", *flags)
    assert done.returncode == 1 and 'prepare: Expected targets of task "next" in training and' in done.stderr
    done = run_command("-m", "atrank_tf.prepare", *flags, "--empty_parts")
    assert done.returncode == 0, done.stderr


def test_parts_that_nobody_needs_may_be_empty(all_training: Records) -> None:
    report = load_report(all_training.path)
    check_parts(report, all_training.schema, ["next"], [Part.TRAINING], all_training.path)
    assert [report["tasks"]["next"]["parts"][part]["targets"] for part in PARTS] == [11, 0, 0]
    assert json.dumps(report["tasks"]["next"]["parts"]["training"]["by_day"]["last"]) == '"1970-01-12"'
