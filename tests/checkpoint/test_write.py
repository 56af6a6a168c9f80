"""What a checkpoint folder holds, which are kept, and what happens when the disk is full."""

from __future__ import annotations

import json
import logging
import threading

import pytest
import torch
from safetensors.torch import load_file, save_file

from sentalign.checkpoint import checksums, folders, write
from sentalign.checkpoint.write import BUSY, DONE, FAILED, IDLE, WRITTEN, Checkpoints, Progress
from sharding.contract import UserError
from tests.engine.fake import Engine

OPTIMIZER = "optimizer/00000.safetensors"


def progress(pairs):
    return Progress(pairs, {"epoch": 0}, best=1.5, validated=pairs, replaced=3)


def save_weights(folder, weights):
    save_file(weights, folder / "model.safetensors")
    (folder / "towers.json").write_text("{}")


def new(run, engine=None, keep=2, saved=lambda pairs: None):
    return Checkpoints(run, engine or Engine(), keep, saved, save_weights)


def save_once(run, engine, pairs):
    """A complete checkpoint; collective."""
    saves = new(run, engine, 9)
    saves.save(progress(pairs))
    saves.finish()


def saved(run, *pairs, keep=2, value=1.0):
    """Checkpoints of the given pairs, one after the other; those that were reported as durable."""
    durable = []
    saves = new(run, Engine(value), keep, durable.append)
    for place in pairs:
        saves.save(progress(place))
        saves.finish()
    return durable


def names(run):
    return sorted(p.name for p in (run / "checkpoints").iterdir())


def test_a_folder_and_its_index(tmp_path):
    assert saved(tmp_path, 10, value=7) == [10]
    folder = tmp_path / "checkpoints/pairs-000000000010"
    listed = json.loads((folder / "index.json").read_text())
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files == {*listed, "index.json"}
    assert set(listed) == {OPTIMIZER, "model.safetensors", "towers.json", "state.json"}
    assert checksums.has_all_sizes(folder)
    assert all(checksums.mismatch(folder, *entry) is None for entry in listed.items())
    assert load_file(folder / "model.safetensors")["statistics"].tolist() == [7, 7]
    optimizer = load_file(folder / OPTIMIZER)
    assert set(optimizer) == {"weight/exp_avg", "weight/exp_avg_sq", "weight/step"}
    assert optimizer["weight/step"] == 1
    assert json.loads((folder / "state.json").read_text())["progress"]["pairs"] == 10


def test_the_newest_are_kept_in_the_order_of_pairs(tmp_path):
    assert saved(tmp_path, 90, 1000, 20000) == [90, 1000, 20000]
    assert names(tmp_path) == ["pairs-000000001000", "pairs-000000020000"]


def test_damaged_and_partial_ones_do_not_count_as_kept(tmp_path):
    saved(tmp_path, 10, 20, 30, 40, keep=9)
    folder = tmp_path / "checkpoints"
    (folder / "pairs-000000000030" / OPTIMIZER).write_bytes(b"torn")
    for left in ("pairs-000000000099.part", "pairs-000000000020.gone"):
        (folder / left / "optimizer").mkdir(parents=True)
    saved(tmp_path, 35, keep=2)
    # 40 was damaged, or the run would not have resumed from before it and written one of 35 pairs.
    assert names(tmp_path) == ["pairs-000000000020", "pairs-000000000035"]


def test_the_weights_of_the_moment_are_saved_whatever_training_does_next(tmp_path, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(write, "save_file", lambda *words: (go.wait(30), save_file(*words)))
    engine, durable = Engine(1.0), []
    moments = engine.optimizer.state[engine.module.weight]["exp_avg"].tolist()
    saves = new(tmp_path, engine, saved=durable.append)
    saves.save(progress(10))
    assert saves.phase == BUSY
    with torch.no_grad():
        for tensor in [*engine.module.state_dict().values(), *engine.optimizer.state[engine.module.weight].values()]:
            tensor.fill_(99)
    go.set()
    saves.finish()
    assert durable == [10]
    folder = tmp_path / "checkpoints/pairs-000000000010"
    optimizer = load_file(folder / OPTIMIZER)
    assert optimizer["weight/exp_avg"].tolist() == moments
    assert optimizer["weight/step"] == 1
    assert all((value == 1).all() for value in load_file(folder / "model.safetensors").values())


def test_a_checkpoint_is_published_when_all_ranks_have_written_it(tmp_path):
    durable = []
    saves = new(tmp_path, saved=durable.append)
    saves.save(progress(10))
    saves._task.join()
    assert saves.phase == WRITTEN
    assert folders.complete(tmp_path) == [], "published before all ranks had written"
    saves.advance([WRITTEN, BUSY])
    assert (saves.phase, durable) == (WRITTEN, [])
    saves.advance([WRITTEN])
    saves._task.join()
    assert saves.phase == DONE
    assert durable == [], "reported before all ranks knew"
    saves.advance([DONE])
    assert durable == [10]
    assert saves.phase == IDLE


def fill_disk(monkeypatch):
    def fail(value, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(write, "save_file", fail)


def test_one_failure_is_a_warning_and_the_next_save_succeeds(tmp_path, monkeypatch, caplog):
    durable = []
    saves = new(tmp_path, saved=durable.append)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        fill_disk(patch)
        saves.save(progress(10))
        saves.wait()
    assert len(caplog.records) == 1
    line = caplog.records[0].getMessage()
    assert "checkpoint of 10 pairs was not written: OSError: [Errno 28] No space left" in line
    assert "\n" not in line
    assert names(tmp_path) == [], "the partial checkpoint still takes space"
    saves.save(progress(20))
    saves.finish()
    assert durable == [20]


def test_two_failures_in_a_row_end_the_run(tmp_path, monkeypatch):
    saved(tmp_path, 5)
    fill_disk(monkeypatch)
    saves = new(tmp_path, keep=1, saved=pytest.fail)
    saves.save(progress(10))
    saves.save(progress(20))
    with pytest.raises(UserError, match=r"checkpoint of 20 pairs was not written: .*No space left"):
        saves.wait()
    assert names(tmp_path) == ["pairs-000000000005"], "the last sound one stays"


def test_two_failures_with_a_success_between_do_not_end_the_run(tmp_path, monkeypatch):
    durable = []
    saves = new(tmp_path, saved=durable.append)
    for pairs in (10, 20, 30, 40):
        with monkeypatch.context() as patch:
            if pairs in (10, 30):
                fill_disk(patch)
            saves.save(progress(pairs))
            saves.wait()
    assert durable == [20, 40]


def test_a_failure_of_the_last_save_is_an_error(tmp_path, monkeypatch):
    fill_disk(monkeypatch)
    saves = new(tmp_path, saved=pytest.fail)
    saves.save(progress(10))
    with pytest.raises(UserError, match="the same command resumes"):
        saves.finish()


def test_a_folder_that_cannot_be_made_is_a_failure_like_any_other(tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    saves = new(tmp_path, saved=pytest.fail)
    saves.save(progress(10))
    with pytest.raises(UserError, match=r"FileExistsError|NotADirectoryError"):
        saves.finish()


def test_the_failure_of_another_rank_counts(tmp_path, monkeypatch):
    sources = []
    monkeypatch.setattr(write.dist, "broadcast_object", lambda value, source=0: sources.append(source) or value)
    saves = new(tmp_path, saved=pytest.fail)
    saves.save(progress(10))
    saves._task.join()
    saves.advance([WRITTEN, WRITTEN, FAILED])
    assert sources[-1] == 2
    with pytest.raises(UserError, match="not written"):
        saves.finish()
