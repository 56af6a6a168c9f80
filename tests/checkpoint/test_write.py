"""What a checkpoint folder holds, which are kept, and what becomes of a disk that is full."""

from __future__ import annotations

import json
import logging
import threading

import pytest
import torch
from safetensors.torch import load_file

from sentalign.checkpoint import index, write
from sentalign.checkpoint.write import BUSY, DONE, FAILED, WRITTEN, Checkpoints, Progress
from sharding.contract import UserError
from tests.engine.fake import Engine


def progress(pairs):
    return Progress(pairs, {"epoch": 0}, best=1.5, best_pairs=5, validated=pairs)


def saved(run, *pairs, keep=2, value=1.0):
    """Checkpoints of the given pairs, one after the other; what was told of them."""
    told = []
    saves = Checkpoints(run, Engine(value), keep, told.append)
    for place in pairs:
        saves.save(progress(place))
        saves.finish()
    return told


def names(run):
    return sorted(p.name for p in (run / "checkpoints").iterdir())


def test_a_folder_and_its_index(tmp_path):
    assert saved(tmp_path, 10, value=7) == [10]
    folder = tmp_path / "checkpoints/pairs-000000000010"
    listed = json.loads((folder / "index.json").read_text())
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert there == {*listed, "index.json"}
    assert set(listed) == {"engine/weights-0.pt", "model.safetensors", "towers.json", "state.json"}
    assert index.looks_whole(folder)
    assert all(index.complaint(folder, name, said) is None for name, said in listed.items())
    assert load_file(folder / "model.safetensors")["statistics"].tolist() == [7, 7]
    assert json.loads((folder / "state.json").read_text())["pairs"] == 10


def test_the_newest_are_kept_in_the_order_of_pairs(tmp_path):
    assert saved(tmp_path, 90, 1000, 20000) == [90, 1000, 20000]
    assert names(tmp_path) == ["pairs-000000001000", "pairs-000000020000"]


def test_what_is_not_whole_takes_no_place_of_what_is(tmp_path):
    saved(tmp_path, 10, 20, 30, 40, keep=9)
    folder = tmp_path / "checkpoints"
    (folder / "pairs-000000000030/engine/weights-0.pt").write_bytes(b"torn")
    for left in ("pairs-000000000099.part", "pairs-000000000050-12345678.universal", "pairs-000000000020.gone"):
        (folder / left / "engine").mkdir(parents=True)
    saved(tmp_path, 35, keep=2)
    # 40 was passed over when the run went on from before it: else nothing of 35 pairs would be written.
    assert names(tmp_path) == ["pairs-000000000020", "pairs-000000000035"]


def test_the_weights_of_the_moment_are_saved_whatever_training_does_next(tmp_path, monkeypatch):
    go = threading.Event()
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda *words: (go.wait(30), save(*words)))
    engine, told = Engine(1.0), []
    saves = Checkpoints(tmp_path, engine, 2, told.append)
    saves.save(progress(10))
    assert saves.phase == BUSY
    with torch.no_grad():
        for tensor in engine.module.state_dict().values():
            tensor.fill_(99)
    go.set()
    saves.finish()
    assert told == [10]
    folder = tmp_path / "checkpoints/pairs-000000000010"
    assert torch.load(folder / "engine/weights-0.pt")["weight"].tolist() == [1, 1, 1]
    assert all((value == 1).all() for value in load_file(folder / "model.safetensors").values())


def test_steps_carry_a_checkpoint_to_its_end(tmp_path):
    told = []
    saves = Checkpoints(tmp_path, Engine(), 2, told.append)
    saves.save(progress(10))
    saves._work.join()
    assert saves.phase == WRITTEN
    assert write.complete(tmp_path) == [], "no name before all ranks have written"
    saves.heard([WRITTEN, BUSY])
    assert (saves.phase, told) == (WRITTEN, [])
    saves.heard([WRITTEN])
    saves._work.join()
    assert saves.phase == DONE
    assert told == [], "told when all ranks know"
    saves.heard([DONE])
    assert told == [10]
    assert saves.phase == write.IDLE


def full_disk(monkeypatch):
    def save(value, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(torch, "save", save)


def test_one_failure_is_a_warning_and_the_next_save_mends_it(tmp_path, monkeypatch, caplog):
    told = []
    saves = Checkpoints(tmp_path, Engine(), 2, told.append)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        full_disk(patch)
        saves.save(progress(10))
        saves.wait()
    assert len(caplog.records) == 1
    line = caplog.records[0].getMessage()
    assert "checkpoint of 10 pairs was not written: OSError: [Errno 28] No space left" in line
    assert "\n" not in line
    assert names(tmp_path) == [], "the room of half a checkpoint is given back"
    saves.save(progress(20))
    saves.finish()
    assert told == [20]


def test_two_failures_in_a_row_end_the_run(tmp_path, monkeypatch):
    saved(tmp_path, 5)
    full_disk(monkeypatch)
    saves = Checkpoints(tmp_path, Engine(), 1, pytest.fail)
    saves.save(progress(10))
    saves.save(progress(20))
    with pytest.raises(UserError, match=r"checkpoint of 20 pairs was not written: .*No space left"):
        saves.wait()
    assert names(tmp_path) == ["pairs-000000000005"], "the last sound one stays"


def test_a_failure_of_the_last_save_is_an_error(tmp_path, monkeypatch):
    full_disk(monkeypatch)
    saves = Checkpoints(tmp_path, Engine(), 1, pytest.fail)
    saves.save(progress(10))
    with pytest.raises(UserError, match="the same command goes on"):
        saves.finish()


def test_a_folder_that_cannot_be_made_is_a_failure_like_any_other(tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    saves = Checkpoints(tmp_path, Engine(), 1, pytest.fail)
    saves.save(progress(10))
    with pytest.raises(UserError, match=r"FileExistsError|NotADirectoryError"):
        saves.finish()


def test_the_failure_of_another_rank_counts(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(write.dist, "broadcast_object", lambda value, source=0: asked.append(source) or value)
    saves = Checkpoints(tmp_path, Engine(), 1, pytest.fail)
    saves.save(progress(10))
    saves._work.join()
    saves.heard([WRITTEN, WRITTEN, FAILED])
    assert asked[-1] == 2
    with pytest.raises(UserError, match="not written"):
        saves.finish()
