"""Stores that fail, stall and bring damaged shards: each ends as the policy says, with the same batches as a folder."""

import itertools
import shutil
import time
from pathlib import Path

import pytest

from sentalign.config import Data
from sentalign.stream.dataset import Stream
from sharding.contract import SHARD_NAME, UserError
from sharding.store import locations
from tests.servers import use_s3

BATCH = 8
SHARD = SHARD_NAME.format(2)
IN_SHARD = 6  # of its seven samples, one has no text


def data(url, **changes):
    settings = {"shards": url, "batch": BATCH, "image_size": 32, "max_tokens": 24, "workers": 0, "damage_budget": 1}
    return Data(**{**settings, **changes})


def truncated(content):
    return content[: len(content) // 2]


def flipped(content):
    return content[:700] + bytes([content[700] ^ 1]) + content[701:]


def epoch(one):
    return [batch.keys for batch, _ in itertools.islice(one.batches(one.start()), one.epoch_batches)]


def upload(folder, url):
    for file in sorted(Path(folder).iterdir()):
        locations.open_store(url).put(file.name, file.read_bytes())
    return url


@pytest.fixture
def far(shards, s3, line, monkeypatch):
    """The shards in a bucket behind a faulty proxy."""
    url = upload(shards, f"{s3}/set")
    use_s3(monkeypatch, line.url)
    return url


@pytest.fixture
def near(shards, tokenizer, tmp_path, caplog):
    """near(damage) -> the keys of an epoch of a folder whose shard 2 is damaged, and how many were replaced."""

    def read(damage):
        file = Path(shutil.copytree(shards, tmp_path / "near")) / SHARD
        content = file.read_bytes()
        file.unlink()
        if damage:
            file.write_bytes(damage(content))
        one = Stream(data(str(file.parent), on_damage="replace"), 0, 0, 1, tokenizer, "train")
        keys = epoch(one)
        caplog.clear()
        return keys, one.replaced

    return read


@pytest.fixture(params=[False, True], ids=["ranges", "cache"])
def kept(request, tmp_path):
    """Settings without and with a cache."""
    return {"cache": str(tmp_path / "cache")} if request.param else {}


def without_and_with_workers():
    """Workers and data.timeout: a worker process takes seconds to start, which count; a busy machine answers late."""
    return pytest.mark.parametrize(("workers", "timeout"), [(0, 10), pytest.param(2, 120, marks=pytest.mark.slow)])


@without_and_with_workers()
@pytest.mark.parametrize("fault", ["500", "silence", "stall"])
def test_a_shard_that_does_not_come_ends_the_run_in_time(far, tokenizer, line, fault, workers, timeout, kept):
    one = Stream(data(far, workers=workers, timeout=timeout, **kept), 0, 0, 1, tokenizer, "train")
    line.always[SHARD] = fault
    begun = time.monotonic()
    with pytest.raises(UserError, match=SHARD) as error:
        epoch(one)
    assert "\n" not in str(error.value)
    assert time.monotonic() - begun < timeout + 5


@without_and_with_workers()
@pytest.mark.parametrize("fault", ["500", "silence", "stall"])
def test_a_shard_that_does_not_come_is_replaced(far, near, tokenizer, line, caplog, fault, workers, timeout, kept):
    settings = data(far, workers=workers, timeout=timeout, on_damage="replace", **kept)
    expected = near(None)
    one = Stream(settings, 0, 0, 1, tokenizer, "train")
    line.always[SHARD] = fault
    assert (epoch(one), one.replaced) == expected
    assert caplog.text.count(f"replaced: {SHARD}") == IN_SHARD


@without_and_with_workers()
@pytest.mark.parametrize("damage", [truncated, flipped, None], ids=["truncated", "flipped", "vanished"])
def test_a_damaged_shard_ends_the_run(far, tokenizer, damage, workers, timeout, kept):
    harm(far, damage)
    one = Stream(data(far, workers=workers, timeout=timeout, **kept), 0, 0, 1, tokenizer, "train")
    with pytest.raises(UserError, match=SHARD) as error:
        epoch(one)
    assert "\n" not in str(error.value)


@without_and_with_workers()
@pytest.mark.parametrize("damage", [truncated, flipped, None], ids=["truncated", "flipped", "vanished"])
def test_a_damaged_shard_is_replaced_as_in_a_folder(far, near, tokenizer, caplog, damage, workers, timeout, kept):
    expected = near(damage)
    harm(far, damage)
    one = Stream(data(far, workers=workers, timeout=timeout, on_damage="replace", **kept), 0, 0, 1, tokenizer, "train")
    assert (epoch(one), one.replaced) == expected
    assert 1 <= one.replaced <= IN_SHARD
    assert caplog.text.count("replaced: ") == one.replaced


def harm(url, damage):
    """Damages the shard in the store."""
    store = locations.open_store(url)
    content = store.get(SHARD)
    store.delete(SHARD)
    if damage:
        store.put(SHARD, damage(content))


@without_and_with_workers()
def test_damage_beyond_the_budget_ends_the_run(far, tokenizer, workers, timeout, kept):
    harm(far, None)
    settings = data(far, workers=workers, timeout=timeout, on_damage="replace", damage_budget=0.05, **kept)
    with pytest.raises(UserError, match=r"3 samples could not be read and data\.damage_budget=0\.05") as error:
        epoch(Stream(settings, 0, 0, 1, tokenizer, "train"))
    assert SHARD in str(error.value)


@without_and_with_workers()
@pytest.mark.parametrize("fault", ["503", "silence", "stall"])
def test_a_store_that_is_down_is_no_damage(far, tokenizer, line, fault, workers, timeout, kept):
    """Replacing everything would be training on nothing: even an unbounded budget does not allow it."""
    settings = data(far, workers=workers, timeout=timeout, on_damage="replace", **kept)
    one = Stream(settings, 0, 0, 1, tokenizer, "train")
    line.always[""] = fault
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"3 shards in a row cannot be fetched, the last: shard-\d{6}\.tar of s3://"):
        epoch(one)
    assert one.replaced == 0
    assert time.monotonic() - begun < timeout + 5


def test_a_store_that_was_down_for_less_than_the_timeout_changes_nothing(far, tokenizer, line, shards):
    one = Stream(data(far, timeout=60), 0, 0, 1, tokenizer, "train")
    line.faults += ["503"] * 20 + ["drop"] * 5
    assert epoch(one) == epoch(Stream(data(shards), 0, 0, 1, tokenizer, "train"))
    assert line.faults == []
