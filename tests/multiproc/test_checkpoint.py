"""Ranks agree on the checkpoint to resume from, whichever finds damage, and on a save that failed on one of them."""

from __future__ import annotations

import json
import logging
import shutil

import pytest

from sentalign import dist
from sharding.contract import UserError
from tests.checkpoint.test_write import new, progress
from tests.engine.fake import Engine
from tests.multiproc.ranks import on_ranks


def saved_and_damaged(run):
    """Two checkpoints by both ranks; then which is chosen when each file of the newer is damaged in turn."""
    from sentalign.checkpoint import restore

    logging.disable()  # tests/checkpoint/test_restore.py checks the warnings
    durable = []
    saves = new(run, Engine(dist.rank()), 9, durable.append)
    for pairs in (10, 20):
        saves.save(progress(pairs))
    saves.finish()
    newer = run / "checkpoints/pairs-000000000020"
    listed = json.loads((newer / "index.json").read_text())
    chosen = [restore.newest_sound(run)[0].name]
    for name in sorted(listed):
        if dist.rank() == 0:
            shutil.copy(newer / name, run / "whole")
            (newer / name).write_bytes((newer / name).read_bytes()[:-1] + b"\xff")
        dist.barrier()
        chosen.append(restore.newest_sound(run)[0].name)
        dist.barrier()
        if dist.rank() == 0:
            shutil.copy(run / "whole", newer / name)
        dist.barrier()
    return durable, sorted(listed), chosen


def failed_on_one(run):
    """A save for which the disk of rank 1 alone is full, one that succeeds, and two of the first kind."""
    from sentalign.checkpoint import write

    durable, save_file = [], write.save_file
    saves = new(run, Engine(), 9, durable.append)

    def save(pairs, room):
        write.save_file = save_file if room or dist.rank() == 0 else fail
        saves.save(progress(pairs))
        saves.wait()

    def fail(value, path):
        raise OSError(28, "No space left on device")

    save(10, False)
    save(20, True)
    save(30, False)
    with pytest.raises(UserError) as error:
        save(40, False)
    return durable, str(error.value)


def test_all_ranks_choose_the_same_checkpoint_whichever_finds_the_damage(tmp_path):
    (tmp_path / "run").mkdir()
    one, other = on_ranks(2, saved_and_damaged, tmp_path / "run")
    assert one == other
    durable, listed, chosen = one
    assert durable == [10, 20]
    optimizer = ["optimizer/00000.safetensors", "optimizer/00001.safetensors"]
    assert listed == ["model.safetensors", *optimizer, "state.json", "towers.json"]
    assert chosen == ["pairs-000000000020"] + ["pairs-000000000010"] * len(listed)


def test_a_full_disk_of_one_rank_fails_the_save_of_all(tmp_path):
    one, other = on_ranks(2, failed_on_one, tmp_path)
    assert one == other
    assert one[0] == [20]
    assert "checkpoint of 40 pairs was not written: OSError: [Errno 28] No space left" in one[1]
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["pairs-000000000020"]
