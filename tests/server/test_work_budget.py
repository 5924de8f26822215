"""Memory of requests that are worked on at once: who finds too little waits, and not for ever."""

import contextlib
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


def test_who_came_first_is_served_first_and_what_fits_does_not_wait_for_what_does_not(wait_until):
    budget, served, threads = WorkBudget(10), [], []

    def work(number, size):
        with budget.take(size, float("inf")):
            served.append(number)

    with budget.take(8, float("inf")):
        for number, size in enumerate([10, 5, 4, 3]):
            threads.append(threading.Thread(target=work, args=(number, size)))
            threads[-1].start()
            wait_until(lambda: len(budget._waiting) == len(threads))
        with budget.take(2, 0.0):
            pass
        assert served == []
    for thread in threads:
        thread.join()
    # Threads that are let in together may run in any order; the one that takes all came first.
    assert served[0] == 0


def test_a_request_that_comes_again_and_again_does_not_overtake_one_that_waits(wait_until):
    turns, served = Turns(1), threading.Event()

    def wait():
        with turns.take(1, float("inf")):
            served.set()

    thread = threading.Thread(target=wait)
    with turns.loading():
        with turns.take(1, float("inf")):
            thread.start()
            wait_until(lambda: turns._waiting)
        # It is the turn of the thread, whether that runs by now or not.
        with turns.take(1, float("inf")):
            assert served.is_set()
    thread.join()


@pytest.mark.parametrize(("processors", "turns_while_loading"), [(1, 1), (2, 1), (4, 3)])
def test_while_a_version_is_loaded_one_processor_is_left_to_it(processors, turns_while_loading):
    turns, took, forever = Turns(processors), threading.Event(), float("inf")

    def work():
        with turns.take(1, forever):
            took.set()

    def take(number):
        running = contextlib.ExitStack()
        for _ in range(number):
            running.enter_context(turns.take(1, 0.0))
        return running

    thread = threading.Thread(target=work)
    with take(turns_while_loading + 3):
        with turns.loading():
            with pytest.raises(ServingError, match="did not get its turn"), turns.take(1, time.monotonic()):
                pass
            thread.start()
            assert not took.wait(0.05)
        assert took.wait(PATIENCE_S)
    thread.join()
    full = pytest.raises(ServingError, match="did not get its turn")
    with turns.loading(), take(turns_while_loading), full, turns.take(1, 0.0):
        pass


def test_a_load_that_hangs_holds_up_nobody(monkeypatch):
    turns, now = Turns(1), time.monotonic()
    with turns.loading(), turns.take(1, 0.0):
        with pytest.raises(ServingError, match="did not get its turn"), turns.take(1, 0.0):
            pass
        monkeypatch.setattr("time.monotonic", lambda: now + 200)
        with turns.take(1, 0.0):
            pass


def test_memory_is_given_back_where_the_c_library_can(monkeypatch):
    give_memory_back()
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    give_memory_back()
