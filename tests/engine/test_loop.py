"""When the loop validates, saves and stops; whole runs are in tests/e2e."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from sentalign import config
from sentalign.checkpoint import read, write
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


def test_replaced_samples_are_counted_over_all_ranks(tmp_path, monkeypatch):
    state, borne = SimpleNamespace(as_dict=dict), []
    stream = SimpleNamespace(
        epoch_batches=3,
        start=lambda: state,
        batches=lambda _: iter([(SimpleNamespace(replaced=n), state) for n in (1, 0, 1)]),
        bear=lambda replaced, _: borne.append(replaced),
    )
    saves = SimpleNamespace(save=lambda *_: None, finish=list, phase=0, heard=lambda *_: None)
    monkeypatch.setattr(loop, "StreamState", SimpleNamespace(from_dict=dict))
    monkeypatch.setattr(loop, "train_step", lambda *_: {"loss": 1.0})
    monkeypatch.setattr(loop.dist, "of_all_ranks", lambda mine: [mine, [0.0, 2 * mine[1], *mine[2:]]])
    monkeypatch.setattr(loop, "_validated", lambda *said: said[-1])
    monkeypatch.setattr(write, "Checkpoints", lambda *_: saves)
    monkeypatch.setattr(read, "restore", lambda *_: write.Progress(0, {}, validated=6))
    told = []
    tell = SimpleNamespace(**dict.fromkeys(("start", "saved"), lambda *_: None))
    tell.step = lambda _, numbers: told.append(numbers["replaced"])
    settings = config.check({"run": "r", "data": {"shards": "s", "batch": 2}, "train": {"epochs": 1}})
    loop.run(tmp_path, SimpleNamespace(average=None), stream, None, settings, tell)
    assert (told, borne) == ([3, 0, 3], [3, 6])


def test_weights_that_cannot_be_written_are_one_line(tmp_path):
    engine = SimpleNamespace(module=SimpleNamespace(describe=dict))
    (tmp_path / "file").write_text("in the way")
    said = loop._kept(tmp_path / "file", engine, {})
    assert said.startswith(f"cannot write the weights to {tmp_path / 'file'} (")
    (tmp_path / "run" / "model.safetensors.part").mkdir(parents=True)  # of safetensors an error of its own
    assert "mend that, and run the same command to go on" in loop._kept(tmp_path / "run", engine, {})


def test_the_averaged_weights_are_validated_and_kept_but_not_trained_or_saved(tmp_path, monkeypatch):
    seen = []

    class Average:
        there = False

        def exchange(self):
            self.there = not self.there

    engine = SimpleNamespace(average=Average(), module=SimpleNamespace(describe=dict))

    def note(name, value=None):
        return lambda *_: (seen.append((name, engine.average.there)), value)[1]

    state = SimpleNamespace(as_dict=dict)
    stream = SimpleNamespace(
        epoch_batches=2,
        start=lambda: state,
        batches=lambda _: iter([(SimpleNamespace(replaced=0), state)] * 2),
        validation_batches=list,
    )
    monkeypatch.setattr(loop, "StreamState", SimpleNamespace(from_dict=dict))
    monkeypatch.setattr(loop, "train_step", note("step", {"loss": 1.0}))
    monkeypatch.setattr(loop, "validate", note("validate", {"loss": 1.0}))
    monkeypatch.setattr(write, "whole_state", note("keep", {}))
    saves = SimpleNamespace(save=note("save"), finish=note("finish"), phase=0, heard=lambda *_: None)
    monkeypatch.setattr(write, "Checkpoints", lambda *_: saves)
    monkeypatch.setattr(read, "restore", lambda *_: None)
    monkeypatch.setattr(loop.dual, "save", lambda *_: None)
    tell = SimpleNamespace(**dict.fromkeys(("start", "step", "validation", "best", "saved"), lambda *_: None))
    settings = config.check({"run": "r", "data": {"shards": "s", "batch": 2}, "train": {"epochs": 1}})
    loop.run(tmp_path, engine, stream, stream, settings, tell)
    assert seen == [
        ("step", False),
        ("step", False),
        ("validate", True),
        ("keep", True),
        ("save", False),
        ("finish", False),
    ]
