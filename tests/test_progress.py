"""How far work is: by a clock of this test, and in every command that takes long."""

import io
import re
import sys
from pathlib import Path

import pytest

from atrank_tf import progress as room
from atrank_tf.data import Records
from atrank_tf.evaluation import score_baselines
from atrank_tf.experiment import experiment_from_dict
from atrank_tf.preparation import prepare
from atrank_tf.progress import Lines, progress, tracked
from atrank_tf.schema import load_schema
from atrank_tf.training import train


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_every_ten_seconds_and_none_before(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with Lines("counting", "shards", 1_200, clock) as lines:
        for now in (101, 109.9, 110, 111, 119, 125.5, 400):
            clock.now = now
            lines.update(100, lambda: ", loss 0.5")
    assert capsys.readouterr().err.splitlines() == [
        "counting: 300 of 1,200 shards in 00:10, about 00:30 to go, loss 0.5",
        "counting: 600 of 1,200 shards in 00:25, about 00:25 to go, loss 0.5",
        "counting: 700 of 1,200 shards in 05:00, about 03:34 to go, loss 0.5",
    ]


def test_where_the_end_is_not_known_nothing_is_said_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines("validation", "steps", clock=clock)
    clock.now = 4_000
    lines.update(3)
    assert capsys.readouterr().err == "validation: 3 steps in 1:05:00\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_which_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(tracked([1, 2], "reading", "files")) == [1, 2]
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "reading:" in shown and " files/s" in shown and "\n" not in shown


def test_a_file_has_lines() -> None:
    assert isinstance(progress("reading", "files"), Lines)


def test_prepare_train_and_evaluate_say_how_far_they_are(
    logs: Path,
    schema_file: Path,
    tmp_path: Path,
    records: Records,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(room, "SECONDS", 0)
    prepare(str(logs), load_schema(str(schema_file)), str(tmp_path / "records"))
    said = capsys.readouterr().err
    for title in ("checking: 6 of 6 pieces", "dividing by user: 4 of 4", "counting: 8 of 8 shards", "writing: 8 of 8"):
        assert title in said
    experiment = experiment_from_dict(
        {"model": {"name": "bpr_mf", "hidden_dim": 4, "tasks": ["next_purchase"]}, "training": {"epochs": 1}}
    )
    train(records, experiment, str(tmp_path / "model"))
    said = capsys.readouterr().err
    assert re.search(r"^epoch 1 of 1: 2 of \d+ steps in .*, loss \d\.\d{4}$", said, re.MULTILINE), said
    assert re.search(r"^validation: \d+ steps in \d\d:\d\d$", said, re.MULTILINE), said
    score_baselines(records, "test", ["next_purchase"])
    assert re.search(r"^test popularity, .*: \d+ of 147 requests in ", capsys.readouterr().err, re.MULTILINE)
