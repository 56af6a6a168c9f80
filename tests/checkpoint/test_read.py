"""Which checkpoint a run goes on from when some are torn, corrupt or missing parts."""

from __future__ import annotations

import json
import logging

import pytest

from sentalign.checkpoint import index, read
from sentalign.checkpoint.write import Progress
from sharding.contract import UserError
from tests.checkpoint.test_write import progress, saved
from tests.engine.fake import Engine


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


def reindex(folder, name):
    """The index says of a file what it now is."""
    sums = json.loads((folder / "index.json").read_text())
    sums[name] = {"bytes": (folder / name).stat().st_size, "sha256": index._sha256(folder / name)}
    (folder / "index.json").write_text(json.dumps(sums))


def other_state(folder, text):
    (folder / "state.json").write_text(text)
    reindex(folder, "state.json")


DAMAGE = {
    "missing": (lambda f: (f / "engine/weights-0.pt").unlink(), "engine/weights-0.pt is missing"),
    "cut": (lambda f: (f / "engine/weights-0.pt").write_bytes(b"PK"), "engine/weights-0.pt has 2 bytes instead of"),
    "bit": (lambda f: flip(f / "engine/weights-0.pt", -30), "engine/weights-0.pt has another checksum"),
    "weights": (lambda f: flip(f / "model.safetensors", -1), "model.safetensors has another checksum"),
    "state bit": (lambda f: flip(f / "state.json", 20), "state.json has another checksum"),
    "state": (lambda f: other_state(f, "{"), "state.json cannot be read"),
    "state of nothing": (lambda f: other_state(f, "[]"), "state.json cannot be read"),
    "state of others": (lambda f: other_state(f, '{"pairs": 20, "ranks": 1}'), "state.json cannot be read"),
    "no index": (lambda f: (f / "index.json").unlink(), "it has no index.json"),
    "half an index": (lambda f: (f / "index.json").write_text('{"state.json": {"by'), "index.json cannot be read"),
    "empty index": (lambda f: (f / "index.json").write_text("{}"), "index.json is not the index"),
    "index of numbers": (lambda f: (f / "index.json").write_text("[1, 2]"), "index.json cannot be read"),
    "index without sums": (lambda f: (f / "index.json").write_text('{"a": {}}'), "index.json is not the index"),
    "empty folder": (lambda f: [p.unlink() for p in f.rglob("*") if p.is_file()], "it has no index.json"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_one_is_passed_over_with_one_line(tmp_path, caplog, kind):
    saved(tmp_path, 10, value=1)
    saved(tmp_path, 20, value=2)
    damage, said = DAMAGE[kind]
    damage(tmp_path / "checkpoints/pairs-000000000020")
    engine = Engine()
    with caplog.at_level(logging.WARNING):
        assert read.restore(tmp_path, engine) == progress(10)
    assert engine.loaded == ["pairs-000000000010"]
    assert len(caplog.records) == 1
    line = caplog.records[0].getMessage()
    assert said in line
    assert "pairs-000000000020 is passed over" in line
    assert "\n" not in line


def test_the_newest_with_all_of_its_progress_weights_and_the_rest(tmp_path, caplog):
    saved(tmp_path, 10, value=1)
    saved(tmp_path, 20, value=2)
    engine = Engine()
    assert read.restore(tmp_path, engine) == Progress(20, {"epoch": 0}, 1.5, 5, 20)
    assert engine.loaded == ["pairs-000000000020"]
    # DeepSpeed's file of this engine has the weight alone.
    assert all((value == 2).all() for value in engine.module.state_dict().values())
    assert not caplog.records


def test_nothing_there(tmp_path):
    assert read.restore(tmp_path, Engine()) is None
    (tmp_path / "checkpoints/pairs-000000000030.part/engine").mkdir(parents=True)
    (tmp_path / "checkpoints/pairs-000000000030.part/index.json").write_text("{}")
    (tmp_path / "checkpoints/pairs-000000000020.gone").mkdir()
    assert read.restore(tmp_path, Engine()) is None


def test_none_sound_is_never_a_new_start(tmp_path):
    saved(tmp_path, 10, 20)
    for name in ("pairs-000000000010", "pairs-000000000020"):
        (tmp_path / "checkpoints" / name / "model.safetensors").unlink()
    with pytest.raises(
        UserError, match=r"no checkpoint of .* is sound \(pairs-000000000020: model.safetensors is missing"
    ):
        read.restore(tmp_path, Engine())


def test_another_stage_is_refused(tmp_path):
    saved(tmp_path, 10)
    folder = tmp_path / "checkpoints/pairs-000000000010"
    other_state(folder, json.dumps(json.loads((folder / "state.json").read_text()) | {"zero_stage": 2}))
    with pytest.raises(UserError, match="zero_stage=2; set it back"):
        read.restore(tmp_path, Engine())


def test_another_number_of_ranks_loads_stage_0_as_it_is(tmp_path):
    saved(tmp_path, 10, value=3)
    folder = tmp_path / "checkpoints/pairs-000000000010"
    other_state(folder, json.dumps(json.loads((folder / "state.json").read_text()) | {"ranks": 4}))
    engine = Engine()
    assert read.restore(tmp_path, engine) == progress(10)
    assert (engine.module.weight == 3).all()
