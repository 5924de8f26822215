"""Memory of requests that are worked on at once: who finds too little waits, and not for ever."""

import threading
import time

import pytest
from fake_models import PATIENCE_S

from atrank_tf.server.errors import Code, ServingError
from atrank_tf.server.work_budget import Turns, WorkBudget, give_memory_back


def test_what_fits_runs_at_once_and_what_does_not_waits():
    budget, took, let_go = WorkBudget(10), threading.Event(), threading.Event()

    def work():
        with budget.take(5, float("inf")):
            took.set()
            let_go.wait(PATIENCE_S)

    thread = threading.Thread(target=work)
    with budget.take(6, float("inf")), budget.take(4, float("inf")):
        thread.start()
        assert not took.wait(0.05)
    assert took.wait(PATIENCE_S)
    with budget.take(5, 0.0):
        pass
    with pytest.raises(ServingError, match="did not get its turn within its time limit") as caught, budget.take(6, 0.0):
        pass
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    let_go.set()
    thread.join()


def test_a_request_that_fails_gives_back_what_it_took():
    budget = WorkBudget(10)
    with pytest.raises(KeyError), budget.take(10, float("inf")):
        raise KeyError
    with budget.take(10, time.monotonic()):
        pass


def test_while_a_version_is_loaded_no_more_requests_run_than_there_are_processors():
    turns, took, forever = Turns(2), threading.Event(), float("inf")

    def work():
        with turns.turn(forever):
            took.set()

    thread = threading.Thread(target=work)
    with turns.turn(forever), turns.turn(forever), turns.turn(0.0), turns.loading():
        with pytest.raises(ServingError, match="did not get its turn"), turns.turn(time.monotonic()):
            pass
        thread.start()
        assert not took.wait(0.05)
    assert took.wait(PATIENCE_S)
    thread.join()
    with turns.loading(), turns.turn(0.0), turns.turn(0.0):
        pass


def test_a_load_that_hangs_holds_up_nobody(monkeypatch):
    turns, now = Turns(1), time.monotonic()
    with turns.loading(), turns.turn(0.0):
        with pytest.raises(ServingError, match="did not get its turn"), turns.turn(0.0):
            pass
        monkeypatch.setattr("time.monotonic", lambda: now + 200)
        with turns.turn(0.0):
            pass


def test_memory_is_given_back_where_the_c_library_can(monkeypatch):
    give_memory_back()
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    give_memory_back()
