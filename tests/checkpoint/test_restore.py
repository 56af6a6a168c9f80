"""Which checkpoint a run resumes from when some are torn, corrupt or incomplete."""

from __future__ import annotations

import json
import logging
import pickle

import pytest
import torch

from sentalign.checkpoint import checksums, restore
from sentalign.checkpoint.write import Progress
from sharding.contract import UserError
from tests.checkpoint.test_write import progress, save_once, saved
from tests.engine.fake import Engine


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


def reindex(folder, name):
    """Updates a file's entry of the index."""
    sums = json.loads((folder / "index.json").read_text())
    sums[name] = {"bytes": (folder / name).stat().st_size, "sha256": checksums._sha256(folder / name)}
    (folder / "index.json").write_text(json.dumps(sums))


def other_state(folder, text):
    (folder / "state.json").write_text(text)
    reindex(folder, "state.json")


DAMAGE = {
    "missing": (lambda f: (f / "optimizer/00000.safetensors").unlink(), "optimizer/00000.safetensors is missing"),
    "cut": (
        lambda f: (f / "optimizer/00000.safetensors").write_bytes(b"PK"),
        "optimizer/00000.safetensors has 2 bytes instead of",
    ),
    "bit": (lambda f: flip(f / "optimizer/00000.safetensors", -30), "optimizer/00000.safetensors has another checksum"),
    "weights": (lambda f: flip(f / "model.safetensors", -1), "model.safetensors has another checksum"),
    "state bit": (lambda f: flip(f / "state.json", 20), "state.json has another checksum"),
    "state": (lambda f: other_state(f, "{"), "state.json cannot be read"),
    "state of nothing": (lambda f: other_state(f, "[]"), "state.json cannot be read"),
    "state of others": (
        lambda f: other_state(f, '{"format": 2, "progress": {"pairs": 20}}'),
        "state.json cannot be read",
    ),
    "no index": (lambda f: (f / "index.json").unlink(), "it has no index.json"),
    "half an index": (lambda f: (f / "index.json").write_text('{"state.json": {"by'), "index.json cannot be read"),
    "empty index": (lambda f: (f / "index.json").write_text("{}"), "index.json is not the index"),
    "index of numbers": (lambda f: (f / "index.json").write_text("[1, 2]"), "index.json cannot be read"),
    "index without sums": (lambda f: (f / "index.json").write_text('{"a": {}}'), "index.json is not the index"),
    "empty folder": (lambda f: [p.unlink() for p in f.rglob("*") if p.is_file()], "it has no index.json"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_one_is_skipped_with_one_line(tmp_path, caplog, kind):
    saved(tmp_path, 10, value=1)
    saved(tmp_path, 20, value=2)
    damage, message = DAMAGE[kind]
    damage(tmp_path / "checkpoints/pairs-000000000020")
    engine = Engine()
    with caplog.at_level(logging.WARNING):
        assert restore.restore(tmp_path, engine) == progress(10)
    assert (engine.module.weight == 1).all()
    assert len(caplog.records) == 1
    line = caplog.records[0].getMessage()
    assert message in line
    assert "pairs-000000000020 is skipped" in line
    assert "\n" not in line


def test_the_newest_with_all_of_its_progress_and_state(tmp_path, caplog):
    saved(tmp_path, 10, value=1)
    first = Engine(2.0, steps=3)
    first.skipped_steps = 4
    save_once(tmp_path, first, 20)
    engine = Engine(steps=0)
    assert restore.restore(tmp_path, engine) == Progress(20, {"epoch": 0}, 1.5, 20, 3)
    assert engine.skipped_steps == 4
    assert all((value == 2).all() for value in engine.module.state_dict().values())
    one, other = (e.optimizer.state[e.module.weight] for e in (first, engine))
    assert one.keys() == other.keys() == {"step", "exp_avg", "exp_avg_sq"}
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert other["step"] == 3
    assert not caplog.records


def test_a_run_that_has_skipped_every_step_so_far(tmp_path):
    save_once(tmp_path, Engine(2.0, steps=0), 20)
    engine = Engine(steps=0)
    assert restore.restore(tmp_path, engine) == progress(20)
    assert (engine.module.weight == 2).all()
    assert not engine.optimizer.state


def test_nothing_there(tmp_path):
    assert restore.restore(tmp_path, Engine()) is None
    (tmp_path / "checkpoints/pairs-000000000030.part/optimizer").mkdir(parents=True)
    (tmp_path / "checkpoints/pairs-000000000030.part/index.json").write_text("{}")
    (tmp_path / "checkpoints/pairs-000000000020.gone").mkdir()
    assert restore.restore(tmp_path, Engine()) is None


def test_none_sound_is_never_a_new_start(tmp_path):
    saved(tmp_path, 10, 20)
    for name in ("pairs-000000000010", "pairs-000000000020"):
        (tmp_path / "checkpoints" / name / "model.safetensors").unlink()
    with pytest.raises(
        UserError, match=r"no checkpoint of .* is sound \(pairs-000000000020: model.safetensors is missing"
    ):
        restore.restore(tmp_path, Engine())


def test_a_checkpoint_of_an_older_format_is_refused(tmp_path):
    saved(tmp_path, 10)
    folder = tmp_path / "checkpoints/pairs-000000000010"
    other_state(folder, json.dumps({"pairs": 10, "stream": {}, "ranks": 1, "zero_stage": 1}))
    with pytest.raises(UserError, match=r"000010 was written by another version of sentalign; .* another run=$"):
        restore.restore(tmp_path, Engine())


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    saved(tmp_path, 10)
    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, pytest.fail)
    assert restore.restore(tmp_path, Engine()) == progress(10)
