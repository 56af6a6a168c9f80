"""When the loop validates, saves and stops; whole runs are in tests/e2e."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sentalign.engine import loop
from sentalign.engine.loop import _due, _Wishes


def test_due_by_hand():
    # Batches of 10, every 25 pairs, 60 in all: after the steps that cross 25, 50 and at the end.
    assert [pairs for pairs in range(0, 61, 10) if _due(pairs, 10, 25, 60)] == [30, 50, 60]
    assert [pairs for pairs in range(0, 41, 10) if _due(pairs, 10, 20, 40)] == [20, 40]
    assert [pairs for pairs in range(0, 31, 10) if _due(pairs, 10, 1, 30)] == [10, 20, 30]
    assert [pairs for pairs in range(0, 31, 10) if _due(pairs, 10, 1000, 30)] == [30]


@given(st.integers(1, 50), st.integers(1, 200), st.integers(1, 40))
def test_due_as_often_as_multiples_are_crossed(batch, every, steps):
    total = batch * steps
    times = sum(_due(pairs, batch, every, total) for pairs in range(0, total + 1, batch))
    crossed = {-(-multiple // batch) for multiple in range(every, total + 1, every)}
    assert times == len(crossed | {steps})


def test_wishes_of_any_rank_reach_all_and_a_save_ends_the_wish_for_one(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: clock[0])
    wishes = _Wishes(0.5, 16)
    assert (wishes.saved_at, wishes.of_this_rank(False), wishes.of_this_rank(True)) == (
        16,
        (False, False),
        (True, False),
    )
    clock[0] = 30
    assert wishes.of_this_rank(False) == (False, True)
    wishes.heard([[0.0, 1.0], [0.0, 0.0]])
    assert (wishes.stop, wishes.save) == (False, True)
    wishes.saved(32)
    assert (wishes.saved_at, wishes.save, wishes.of_this_rank(False)) == (32, False, (False, False))
    wishes.heard([[0.0, 0.0], [1.0, 0.0]])
    assert (wishes.stop, wishes.save) == (True, False)


def test_of_the_clocks_the_first_rank_s_alone_counts(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: clock[0])
    late, never = _Wishes(1, 0), _Wishes(0, 0)
    clock[0] = 1e6
    assert never.of_this_rank(False) == (False, False)
    monkeypatch.setattr(loop.dist, "rank", lambda: 1)
    assert late.of_this_rank(False) == (False, False)
