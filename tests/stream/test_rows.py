"""Damage and workers that fail: the batch that results, and the messages."""

import itertools
import logging
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from sentalign.config import Data
from sentalign.stream import dataset, rows
from sentalign.stream.dataset import Stream
from sharding import pixels
from sharding.contract import SHARD_NAME, UserError

BATCH = 8
GREY = 20  # of the sample that harms a worker


@pytest.fixture
def copy(shards, tmp_path):
    """The shards in a folder that a test may harm."""
    return Path(shutil.copytree(shards, tmp_path / "copy"))


def stream(folder, tokenizer, rank=0, ranks=1, **changes):
    data = {"shards": str(folder), "batch": BATCH, "image_size": 32, "max_tokens": 24, "workers": 0, **changes}
    return Stream(Data(**data), 0, rank, ranks, tokenizer, "train")


def take(one, count):
    return [batch for batch, _ in itertools.islice(one.batches(one.start()), count)]


def flip(folder):
    """One byte of the picture of one sample; its key."""
    file = folder / SHARD_NAME.format(2)
    content = bytearray(file.read_bytes())
    content[512 + 20] ^= 1  # behind the first header of the tar
    file.write_bytes(content)
    return {"train-0014"}


def truncate(folder):
    file = folder / SHARD_NAME.format(2)
    os.truncate(file, file.stat().st_size // 2)


def vanish(folder):
    (folder / SHARD_NAME.format(2)).unlink()


def replaced(folder, tokenizer, **changes):
    return take(stream(folder, tokenizer, on_damage="replace", damage_budget=1, **changes), 6)


@pytest.mark.parametrize("harm", [flip, truncate, vanish])
def test_substitute_is_the_same_on_every_run_and_the_rest_is_unchanged(copy, shards, tokenizer, harm, caplog):
    harm(copy)
    caplog.set_level(logging.WARNING)
    sound, harmed = take(stream(shards, tokenizer), 6), replaced(copy, tokenizer)
    lines = [record.message for record in caplog.records]
    other = 0
    for before, after in zip(sound, harmed, strict=True):
        changed = [b for b in range(BATCH) if before.keys[b] != after.keys[b]]
        kept = [b for b in range(BATCH) if b not in changed]
        assert len(changed) == after.replaced
        assert {before.keys[b] for b in changed} <= {f"train-{i:04d}" for i in range(14, 21)}
        assert torch.equal(before.images_BHH[kept], after.images_BHH[kept])
        assert torch.equal(before.word_counts_BK[kept], after.word_counts_BK[kept])
        other += len(changed)
    assert other == len(lines) > 0
    assert all(SHARD_NAME.format(2) in line and "\n" not in line for line in lines)
    assert [batch.keys for batch in replaced(copy, tokenizer)] == [batch.keys for batch in harmed]


def test_a_flipped_byte_costs_one_sample(copy, tokenizer):
    flip(copy)
    assert sum(batch.replaced for batch in replaced(copy, tokenizer)) == 1


def test_substitutes_do_not_depend_on_ranks_and_workers(copy, tokenizer):
    vanish(copy)
    whole = [batch.keys for batch in replaced(copy, tokenizer)]
    parts = [take(stream(copy, tokenizer, r, 2, workers=1, on_damage="replace", damage_budget=1), 6) for r in range(2)]
    assert [a.keys + b.keys for a, b in zip(*parts, strict=True)] == whole


@pytest.mark.parametrize("harm", [flip, truncate, vanish])
def test_fail_is_one_line_with_the_shard(copy, tokenizer, harm):
    harm(copy)
    with pytest.raises(UserError, match=r"shard-000002\.tar") as error:
        take(stream(copy, tokenizer), 6)
    assert "\n" not in str(error.value)


def test_more_damage_than_the_budget_is_one_line(copy, tokenizer):
    vanish(copy)
    with pytest.raises(UserError, match=r"2 samples could not be read and data.damage_budget=0.03 .*shard-000002") as e:
        take(stream(copy, tokenizer, on_damage="replace", damage_budget=0.03), 6)
    assert "\n" not in str(e.value)


def test_the_budget_is_one_of_each_epoch(copy, tokenizer):
    """One sample of 48 is damaged, in every epoch again."""
    flip(copy)
    one = stream(copy, tokenizer, on_damage="replace", damage_budget=0.03)
    assert sum(batch.replaced for batch in take(one, 24)) == one.replaced >= 3


def test_nothing_readable_is_an_error_however_large_the_budget(copy, tokenizer):
    for file in copy.glob("*.tar"):
        file.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        replaced(copy, tokenizer)


def test_without_a_substitute_the_error_is_of_the_damaged_sample(copy, tokenizer, monkeypatch):
    """Where no substitute can be read, the line names the slot's own sample."""
    vanish(copy)
    monkeypatch.setattr(rows, "SUBSTITUTES", 0)
    with pytest.raises(UserError, match=r"shard-000002\.tar cannot be read"):
        replaced(copy, tokenizer)


def lanes_shards(one, step, lanes):
    return one.rows.shards_of(rows.WorkItem(step, lanes))


@pytest.mark.parametrize("worker", [0, 1])
def test_a_worker_that_is_killed_is_named_with_its_shards(shards, tokenizer, monkeypatch, worker):
    one = stream(shards, tokenizer, workers=2)
    lanes = range(4 * worker, 4 * worker + 4)
    victim = one.mixture.samples(0, lanes)[0].index
    decode = one.mixture.data_sets[0].decode

    def dies(index, content):
        if index == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(index, content)

    monkeypatch.setattr(one.mixture.data_sets[0], "decode", dies)
    with pytest.raises(UserError, match=f"worker {worker} of rank 0 died at ") as error:
        take(one, 3)
    assert all(shard in str(error.value) for shard in lanes_shards(one, 0, lanes))
    assert "\n" not in str(error.value)


def test_a_worker_that_dies_during_a_step_is_named_when_its_part_is_missing(shards, tokenizer):
    """Not by an error in the middle of the step, as torch's own handler of the signal would raise."""
    one = stream(shards, tokenizer, workers=2)
    others = set(multiprocessing.active_children())
    batches = one.batches(one.start())
    next(batches)
    first, _ = sorted(set(multiprocessing.active_children()) - others, key=lambda process: process.pid)
    os.kill(first.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20  # a "step" in which the signal of the dead child arrives
    while first.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(UserError, match=r"worker 0 of rank 0 died at .*shard-") as error:
        list(itertools.islice(batches, 8))
    assert "\n" not in str(error.value)


def test_a_slow_worker_is_waited_for(shards, tokenizer, monkeypatch):
    """Longer than a turn of the loader's waiting, shorter than data.timeout."""
    monkeypatch.setattr(dataset, "POLL", 0.2)
    plain = [batch.keys for batch in take(stream(shards, tokenizer), 2)]
    one = stream(shards, tokenizer, workers=2, timeout=60)
    decode = one.mixture.data_sets[0].decode

    def slow(index, content):
        time.sleep(0.25)
        return decode(index, content)

    monkeypatch.setattr(one.mixture.data_sets[0], "decode", slow)
    assert [batch.keys for batch in take(one, 2)] == plain


def test_a_worker_that_hangs_is_named_with_its_shards(copy, tokenizer):
    one = stream(copy, tokenizer, workers=2, timeout=1)
    for file in copy.glob("*.tar"):
        if file.name in lanes_shards(one, 0, range(4)):
            file.unlink()
            os.mkfifo(file)
    with pytest.raises(UserError, match=r"worker 0 of rank 0 takes more than 1 s at ") as error:
        take(one, 1)
    assert all(shard in str(error.value) for shard in lanes_shards(one, 0, range(4)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_code_is_not_taken_for_a_dead_worker(shards, tokenizer, monkeypatch, workers):
    def breaks(*_):
        raise RuntimeError("out of something")

    monkeypatch.setattr(pixels, "read", breaks)
    with pytest.raises(RuntimeError, match="out of something"):
        take(stream(shards, tokenizer, workers=workers), 1)


def test_the_budget_is_that_of_all_ranks_together(copy, tokenizer):
    """One damaged sample of 48 in one of eight ranks: that is no eighth of an epoch's budget used up eight times."""
    flip(copy)
    ranks = [stream(copy, tokenizer, r, 8, on_damage="replace", damage_budget=0.03) for r in range(8)]
    assert sum(batch.replaced for one in ranks for batch in take(one, 6)) == 1
    ranks[0].check_damage(1, "the advice")
    with pytest.raises(UserError, match=r"2 samples could not be read and .* is allowed; the advice"):
        ranks[0].check_damage(2, "the advice")
