"""When the loop validates and saves, and which checkpoint folders count; whole runs are in tests/e2e."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentalign import config
from sentalign.engine import checkpoint, loop
from sentalign.engine.checkpoint import Progress
from sentalign.engine.loop import _due
from sharding.contract import UserError


class Engine:
    """Writes and reads a folder as DeepSpeed's engine does; no weights."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def save_checkpoint(self, folder: str, tag: str, save_latest: bool) -> None:
        assert not save_latest
        (Path(folder) / tag).mkdir(parents=True)
        (Path(folder) / tag / "part").write_text("x")

    def load_checkpoint(self, folder: str, tag: str) -> None:
        assert (Path(folder) / tag / "part").is_file()
        self.loaded.append(Path(folder).name)


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


def save(run, pairs, keep=2):
    return checkpoint.save(run, Engine(), Progress(pairs, {"epoch": 0}, best=1.5, best_pairs=5, validated=pairs), keep)


def test_the_newest_are_kept_in_the_order_of_pairs(tmp_path):
    for pairs in (90, 1000, 20000):
        save(tmp_path, pairs)
    assert [p.name for p in checkpoint.complete(tmp_path)] == ["pairs-000000001000", "pairs-000000020000"]
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["pairs-000000001000", "pairs-000000020000"]


def test_half_a_checkpoint_never_counts(tmp_path):
    save(tmp_path, 10)
    (tmp_path / "checkpoints/pairs-000000000030.part/engine").mkdir(parents=True)
    (tmp_path / "checkpoints/pairs-000000000030.part/state.json").write_text("{}")
    (tmp_path / "checkpoints/pairs-000000000040").mkdir()
    assert [p.name for p in checkpoint.complete(tmp_path)] == ["pairs-000000000010"]
    # A half one of the same number is replaced, as is a whole one.
    assert [p.name for p in (save(tmp_path, 30, 9), save(tmp_path, 10, 9))] == [
        "pairs-000000000030",
        "pairs-000000000010",
    ]
    assert len(checkpoint.complete(tmp_path)) == 2


def test_a_folder_without_checkpoints(tmp_path):
    assert checkpoint.complete(tmp_path) == []
    assert checkpoint.restore(tmp_path, Engine()) is None


def test_restore_takes_the_newest_and_all_of_its_progress(tmp_path):
    save(tmp_path, 10)
    save(tmp_path, 20)
    engine = Engine()
    assert checkpoint.restore(tmp_path, engine) == Progress(20, {"epoch": 0}, 1.5, 5, 20)
    assert engine.loaded == ["pairs-000000000020"]


def test_another_number_of_ranks_is_the_users_mistake(tmp_path):
    state = save(tmp_path, 10) / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"ranks": 4}))
    with pytest.raises(UserError, match="4 ranks, this is 1; start it with 4 ranks"):
        checkpoint.restore(tmp_path, Engine())


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
    monkeypatch.setattr(checkpoint, "whole_state", note("keep", {}))
    monkeypatch.setattr(checkpoint, "save", note("save"))
    monkeypatch.setattr(checkpoint, "restore", lambda *_: None)
    monkeypatch.setattr(loop.dual, "save", lambda *_: None)
    tell = SimpleNamespace(**dict.fromkeys(("start", "step", "validation", "best", "saved"), lambda *_: None))
    settings = config.check({"run": "r", "data": {"shards": "s", "batch": 2}, "train": {"epochs": 1}})
    loop.run(tmp_path, engine, stream, stream, settings, tell)
    assert seen == [("step", False), ("step", False), ("validate", True), ("keep", True), ("save", False)]
