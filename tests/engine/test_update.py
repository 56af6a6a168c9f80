"""The loss scale by hand; steps of an engine are in tests/multiproc/test_nonfinite.py."""

from __future__ import annotations

from types import SimpleNamespace

from sentalign.engine.update import GROW_AFTER, START, LossScale


def test_halves_by_overflow_doubles_after_many_clean_steps_and_stops_at_one():
    told = []
    engine = SimpleNamespace(optimizer=SimpleNamespace(override_loss_scale=told.append))
    scale = LossScale()
    assert scale.after(engine, overflow=True)
    assert told == [START / 2]
    for _ in range(GROW_AFTER - 1):
        assert not scale.after(engine, overflow=False)
    assert told[-1] == START / 2
    scale.after(engine, overflow=True)  # the count begins anew
    for _ in range(GROW_AFTER):
        scale.after(engine, overflow=False)
    assert told[-2:] == [START / 4, START / 2]
    scale.value = 1.0
    assert not scale.after(engine, overflow=True)  # not the scale's doing: a gradient that is no number
    assert scale.value == 1.0
