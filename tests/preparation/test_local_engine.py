"""Processes of this machine: results in order, one that is lost is replaced, and what they say comes here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from worker_functions import die, die_once, process_id

from atrank_tf.preparation import local_engine as module
from atrank_tf.preparation.local_engine import local_engine

HERE = Path()


def test_results_come_in_order_from_other_processes():
    with local_engine(2) as engine:
        assert list(engine(str, range(50), HERE)) == [str(number) for number in range(50)]
        first, again = set(engine(process_id, range(20), HERE)), set(engine(process_id, range(20), HERE))
    assert os.getpid() not in first | again
    assert len(first | again) <= 2


def test_behind_the_block_no_process_is_left():
    with local_engine(2) as engine:
        [number] = set(engine(process_id, [0], HERE))
        os.kill(number, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_one_process_is_this_one():
    with local_engine() as engine:
        assert set(engine(process_id, range(20), HERE)) == {os.getpid()}


def test_there_is_a_process():
    with pytest.raises(ValueError, match=r"processes must be positive\. Received: processes=0\."), local_engine(0):
        pass


def test_a_killed_process_costs_time_and_not_the_result(tmp_path):
    with local_engine(2) as engine:
        found = list(engine(die_once, [tmp_path / "a", tmp_path / "b", tmp_path / "c"], HERE))
    assert len(found) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c"}


def test_work_that_kills_every_process_ends():
    with (
        pytest.raises(ChildProcessError, match=r"lost 3 times at the same work, the last with exit code -9\. "),
        local_engine(2) as engine,
    ):
        list(engine(die, [0], HERE))


def test_a_bug_keeps_its_traceback():
    with (
        pytest.raises(RuntimeError, match=r"(?s)has failed:\nTraceback.*ZeroDivisionError"),
        local_engine(2) as engine,
    ):
        list(engine((1).__truediv__, [1, 0], HERE))


def test_who_stops_asking_waits_for_nothing():
    with local_engine(2) as engine:
        results = engine(process_id, range(100), HERE)
        number = next(results)
        results.close()
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


SCRIPT = """
from pathlib import Path
from atrank_tf.preparation.local_engine import local_engine
print("once")
with local_engine(2) as engine:
    assert list(engine(str, range(9), Path())) == [str(number) for number in range(9)]
"""


def test_a_script_without_a_main_is_not_run_again(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    own = os.environ | {"PYTHONPATH": str(Path(module.__file__).parents[2])}
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=own, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n", "")
