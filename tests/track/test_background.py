"""Tasks run beside the loop, and nothing that goes wrong there reaches it."""

from __future__ import annotations

import threading

import pytest

from sentalign.track.background import BackgroundTasks, Outcome


@pytest.fixture
def slow():
    """Tasks of two kinds that wait for `may_end`; `seen` has the weights and the thread of each call."""

    class Slow(BackgroundTasks):
        def __init__(self):
            self.begun, self.may_end, self.seen = threading.Event(), threading.Event(), []
            super().__init__({"one": self.work, "other": self.work})

        def work(self, weights):
            self.seen.append((weights, threading.current_thread()))
            self.begun.set()
            assert self.may_end.wait(60)
            return weights.upper()

    return Slow()


def test_the_loop_goes_on_while_a_task_runs_and_the_newest_weights_of_each_kind_wait(slow):
    slow.ask("one", "first", 8)
    assert slow.begun.wait(60)
    slow.ask("one", "second", 16)
    slow.ask("other", "second", 16)
    slow.ask("one", "third", 24)
    assert slow.finished() == []
    slow.may_end.set()
    assert slow.close(60) == [Outcome("one", 8, "FIRST"), Outcome("other", 16, "SECOND"), Outcome("one", 24, "THIRD")]
    assert [weights for weights, _ in slow.seen] == ["first", "second", "third"]
    assert threading.main_thread() not in {thread for _, thread in slow.seen}
    assert slow.close(0) == []


def test_an_exception_is_an_outcome_and_the_next_task_runs():
    tasks = BackgroundTasks({"bad": lambda weights: 1 / weights, "good": lambda weights: weights})
    tasks.ask("bad", 0, 8)
    tasks.ask("good", 7, 8)
    assert tasks.close(60) == [Outcome("bad", 8, failure="ZeroDivisionError: division by zero"), Outcome("good", 8, 7)]


def test_what_hangs_is_abandoned_with_what_waits_for_it(slow):
    slow.ask("one", "first", 16)
    slow.ask("other", "first", 8)
    late = {"failure": "not finished within 0.01 s"}
    assert slow.close(0.01) == [Outcome("one", 16, **late), Outcome("other", 8, **late)]
    slow.may_end.set()


def test_waiting_for_a_kind_ends_with_its_last_outcome_and_leaves_the_others_running(slow):
    slow.ask("other", "first", 8)
    slow.ask("one", "second", 16)
    assert slow.wait("one", 0.01) == [], "the time is over"
    slow.may_end.set()
    assert slow.wait("one", 60) == [Outcome("other", 8, "FIRST"), Outcome("one", 16, "SECOND")]
    assert slow.wait("one", 60) == []
    slow.may_end.clear()
    slow.begun.clear()
    slow.ask("one", "third", 24)
    slow.ask("other", "third", 24)
    assert slow.begun.wait(60)
    assert slow.wait("unheard of", 60) == []
    threading.Timer(0.05, slow.may_end.set).start()
    waited = slow.wait("one", 60)
    assert waited[0] == Outcome("one", 24, "THIRD")
    assert [*waited, *slow.close(60)] == [Outcome("one", 24, "THIRD"), Outcome("other", 24, "THIRD")]
