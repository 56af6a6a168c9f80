"""Whole shards kept on the disk: fetched once, by content, within a max_bytes, whatever else happens to the folder."""

import errno
import hashlib
import itertools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sentalign.config import Data
from sentalign.stream.dataset import Stream
from sentalign.stream.read import cache as module
from sentalign.stream.read.cache import Cache, ShardFile
from sentalign.stream.read.open_data import open_mixture
from sentalign.stream.read.prefetch import Prefetcher
from sharding.contract import SHARD_NAME, UserError
from sharding.store import locations
from tests.servers import use_s3
from tests.stream.conftest import tuples, write

SIZE = 1000


class Store:
    """Shards in memory that count the bytes that are read."""

    def __init__(self, count=4):
        self.content = [bytes([i]) * SIZE for i in range(count)]
        self.fetched = Counter()
        self.slow = 0.0

    def shard(self, number):
        content = self.content[number]
        return ShardFile(SHARD_NAME.format(number), hashlib.sha256(content).hexdigest(), len(content))

    def get_range(self, number):
        def get_range(begin, end):
            self.fetched[number] += end - begin
            time.sleep(self.slow)
            return self.content[number][begin:end]

        return get_range

    def read(self, cache, number, spans=((10, 20),)):
        return cache.read(self.shard(number), list(spans), self.get_range(number))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "deep" / "cache"


def cache_in(folder, store, max_bytes=10 * SIZE, timeout=10.0):
    made = Cache(str(folder), max_bytes, timeout)
    made.plan(map(store.shard, range(len(store.content))))
    return made


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_shard_is_fetched_once_for_all_that_read_it(folder, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 300)  # four requests
    store = Store()
    one = cache_in(folder, store)
    assert store.read(one, 1, [(0, 3), (990, 1000)]) == [b"\1" * 3, b"\1" * 10]
    again = pickle.loads(pickle.dumps(cache_in(folder, store)))
    assert store.read(again, 1) == [b"\1" * 10]
    assert store.fetched == {1: SIZE}
    assert names(folder) == [f"{store.shard(1).sha256}.tar"]


def test_a_changed_shard_is_another_file(folder):
    store = Store()
    store.read(cache_in(folder, store), 1)
    store.content[1] = b"x" * SIZE
    assert store.read(cache_in(folder, store), 1) == [b"x" * 10]
    assert store.fetched == {1: 2 * SIZE}


def test_threads_that_race_fetch_once(folder):
    store = Store()
    store.slow = 0.2
    caches = [cache_in(folder, store) for _ in range(2)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda i: store.read(caches[i % 2], 1), range(16)))
    assert found == [[b"\1" * 10]] * 16
    assert store.fetched == {1: SIZE}


def fetch(folder, log):
    store = Store()
    store.slow = 0.3
    assert [store.read(cache_in(folder, store), number) for number in range(4)] == [[bytes([i]) * 10] for i in range(4)]
    with open(log, "a") as file:
        file.write(f"{store.fetched.total()}\n")


def test_processes_that_race_fetch_once(folder, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    racing = [spawn.Process(target=fetch, args=(folder, tmp_path / "log")) for _ in range(3)]
    for process in racing:
        process.start()
    for process in racing:
        process.join()
    assert [process.exitcode for process in racing] == [0] * 3
    assert sum(map(int, (tmp_path / "log").read_text().split())) == 4 * SIZE


HOLD = """
import sys, time
from tests.stream.read.test_cache import Store, cache_in
store = Store()
def hold(begin, end):
    print("now", flush=True)
    time.sleep(600)
cache_in(__import__("pathlib").Path(sys.argv[1]), store).read(store.shard(1), [(0, 1)], hold)
"""


@pytest.fixture
def holder(folder):
    """A process in the middle of a fetch of shard 1."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"now\n"
    yield process
    process.kill()
    process.wait()


def test_a_killed_process_blocks_no_other_and_its_part_is_removed(folder, holder, monkeypatch):
    store = Store()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert any(name.endswith(".part") for name in names(folder))
    monkeypatch.setattr(module, "LOCK_DELAY", 0)
    begun = time.monotonic()
    assert store.read(cache_in(folder, store), 1) == [b"\1" * 10]
    assert time.monotonic() - begun < 5
    assert names(folder) == [f"{store.shard(1).sha256}.tar"]


def test_a_shard_that_another_process_fetches_for_too_long_is_read_by_ranges(folder, holder, monkeypatch):
    store = Store()
    monkeypatch.setattr(module, "LOCK_DELAY", 0)
    one = cache_in(folder, store, timeout=0.2)
    assert store.read(one, 1) is None
    assert store.read(one, 2) == [b"\2" * 10]  # beside it; the part of a living process stays
    assert store.fetched == {2: SIZE}
    assert any(name.endswith(".part") for name in names(folder))
    monkeypatch.setattr(one, "_timeout", 600)  # it is not waited for again and again
    assert store.read(one, 1) is None


def test_over_a_slow_network_no_shard_is_fetched_whole(folder, monkeypatch, caplog):
    store = Store()
    store.slow = 0.3
    monkeypatch.setattr(module, "PIECE", SIZE // 4)
    one = cache_in(folder, store, timeout=0.2)
    assert store.read(one, 1) is None
    assert store.fetched[1] < SIZE
    assert "cannot be fetched whole (shard-000001.tar takes more than 0.2 s)" in caplog.text
    assert store.read(one, 2) is None
    assert store.fetched[2] == 0, "the next would be as slow"
    monkeypatch.setattr(module, "RETRY_AFTER", -1)
    one._slow_until = store.slow = 0
    assert store.read(one, 2) == [b"\2" * 10]


def age(folder, store, number, seconds):
    then = time.time() - seconds
    os.utime(folder / f"{store.shard(number).sha256}.tar", (then, then))


def cached_shards(folder, store):
    return {i for i in range(len(store.content)) if (folder / f"{store.shard(i).sha256}.tar").exists()}


def test_the_least_lately_used_of_other_runs_makes_room(folder):
    store = Store(5)
    old = cache_in(folder, store)
    for number in (0, 1, 2):
        store.read(old, number)
        age(folder, store, number, 5000 - number)
    store.read(old, 0)  # used again
    new = Cache(str(folder), 3 * SIZE, 1)
    new.plan([store.shard(3)])
    assert store.read(new, 3) == [b"\3" * 10]
    assert cached_shards(folder, store) == {0, 2, 3}


def test_what_is_in_use_stays_and_the_rest_is_read_by_ranges(folder, caplog):
    store = Store(5)
    for number in (0, 1):
        store.read(cache_in(folder, store), number)
    new = Cache(str(folder), 2 * SIZE, 1)
    new.plan([store.shard(3), store.shard(4)])
    assert store.read(new, 3) is None
    assert store.read(new, 3) is None
    assert cached_shards(folder, store) == {0, 1}
    assert caplog.text.count("data.cache_gb is full of shards in use") == 1
    assert store.fetched[3] == 0


def test_a_data_set_larger_than_the_bound_is_not_fetched_round_and_round(folder):
    store = Store(5)
    one = cache_in(folder, store, max_bytes=2 * SIZE + 500)
    for _ in range(3):
        assert [store.read(one, number) is not None for number in range(5)] == [True, True, False, False, False]
    assert store.fetched == {0: SIZE, 1: SIZE}
    assert [one.missing(store.shard(number)) for number in range(5)] == [0] * 5


def test_an_evicted_file_is_fetched_again(folder):
    store = Store()
    one = cache_in(folder, store)
    assert one.missing(store.shard(1)) == SIZE
    store.read(one, 1)
    assert one.missing(store.shard(1)) == 0
    (folder / f"{store.shard(1).sha256}.tar").unlink()
    assert store.read(one, 1) == [b"\1" * 10]


def test_other_files_in_the_folder_are_left_alone(folder):
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_bytes(b"x" * 10 * SIZE)
    os.utime(folder / "thesis.tex", (0, 0))
    store = Store()
    assert store.read(cache_in(folder, store, max_bytes=SIZE), 0) == [b"\0" * 10]
    assert (folder / "thesis.tex").exists()


@pytest.mark.parametrize("lie", ["flipped", "short"])
def test_what_is_not_the_manifests_is_never_kept(folder, lie, caplog):
    store = Store()
    shard = store.shard(1)
    store.content[1] = b"\1" * 999 + b"\2" if lie == "flipped" else b"\1" * 999
    assert cache_in(folder, Store()).read(shard, [(0, 1)], store.get_range(1)) is None
    assert names(folder) == []
    assert SHARD_NAME.format(1) in caplog.text


def test_a_full_disk_is_one_warning_and_ranges(folder, monkeypatch, caplog):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    store = Store()
    one = cache_in(folder, store)
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert [store.read(one, 1) for _ in range(3)] == [None] * 3
    assert caplog.text.count("No space left on device") == len(caplog.records) == 1
    assert names(folder) == []


def test_a_shard_that_could_not_be_kept_is_tried_again_later(folder, monkeypatch):
    store = Store()
    one = cache_in(folder, store)
    right, store.content[1] = store.content[1], b"no" * (SIZE // 2)
    shard = Store().shard(1)
    assert one.read(shard, [(0, 1)], store.get_range(1)) is None
    store.content[1] = right
    assert one.read(shard, [(0, 1)], store.get_range(1)) is None
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + module.RETRY_AFTER + 1)
    assert one.read(shard, [(0, 1)], store.get_range(1)) == [b"\1"]


@pytest.mark.parametrize("harm", [lambda c: b"x" + c[1:], lambda c: c[:500]], ids=["flipped", "cut"])
def test_check_removes_what_has_changed_and_nothing_else(folder, harm):
    store = Store()
    one = cache_in(folder, store)
    for number in (1, 2):
        store.read(one, number)
    path = folder / f"{store.shard(1).sha256}.tar"
    path.write_bytes(harm(path.read_bytes()))
    for number in (1, 2, 3):
        one.check(store.shard(number))
    assert cached_shards(folder, store) == {2}


def test_a_range_behind_the_end_takes_no_memory(folder):
    store = Store()
    assert store.read(cache_in(folder, store), 1, [(990, 1 << 50), (1 << 50, 1 << 51)]) == [b"\1" * 10, b""]


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"data\.cache .*file/cache cannot be written to") as error:
        Cache(str(tmp_path / "file" / "cache"), 1, 1)
    assert "\n" not in str(error.value)


# From here on through a real server.
BATCH = 8


def data(url, **changes):
    return Data(**{"shards": url, "batch": BATCH, "image_size": 32, "max_tokens": 24, "workers": 0, **changes})


@pytest.fixture
def far(shards, s3, line, monkeypatch):
    """The shards in a bucket behind a proxy that counts."""
    for file in sorted(Path(shards).iterdir()):
        locations.open_store(f"{s3}/set").put(file.name, file.read_bytes())
    use_s3(monkeypatch, line.url)
    return f"{s3}/set"


def sent(line):
    """Bytes of shards that went over the line."""
    return sum(count for path, count in line.sent if path.split("?")[0].endswith(".tar"))


def tars(folder):
    return sum(file.stat().st_size for file in Path(folder).glob("*.tar"))


def epoch(settings, tokenizer, rank=0, ranks=1):
    one = Stream(settings, 0, rank, ranks, tokenizer, "train")
    return [batch.keys for batch, _ in itertools.islice(one.batches(one.start()), one.epoch_batches)]


def test_batches_are_those_of_the_folder_and_a_second_run_fetches_nothing(far, shards, tokenizer, line, tmp_path):
    settings = data(far, cache=str(tmp_path / "cache"))
    assert epoch(settings, tokenizer) == epoch(data(shards), tokenizer)
    assert sent(line) == tars(shards)
    assert epoch(settings, tokenizer) == epoch(data(shards), tokenizer)
    assert sent(line) == tars(shards)


def test_a_kept_shard_that_was_flipped_is_fetched_once_more(far, shards, tokenizer, line, tmp_path, caplog):
    settings = data(far, cache=str(tmp_path / "cache"))
    whole = epoch(settings, tokenizer)
    victim = max((tmp_path / "cache").iterdir(), key=lambda path: path.stat().st_size)
    content = victim.read_bytes()
    victim.write_bytes(content[:700] + bytes([content[700] ^ 1]) + content[701:])
    before = sent(line)
    assert epoch(settings, tokenizer) == whole
    assert sent(line) - before == len(content)
    assert caplog.text.count("has changed in data.cache") == 1
    assert victim.read_bytes() == content


def test_resume_fetches_the_shards_of_its_first_batch_where_the_budget_has_no_room_for_more(far, line, tmp_path):
    one = open_mixture(data(far, cache=str(tmp_path / "cache"), block=4), "train", 0)
    line.sent.clear()
    for content in Prefetcher(one, 1, 60).take(5, range(BATCH)):
        content()
    needed = {one.data_sets[0].row(ref.index)["shard"] for ref in one.samples(5, range(BATCH))}
    assert {path.split("?")[0].rsplit("/", 1)[1] for path, _ in line.sent} == needed


@pytest.mark.slow
@pytest.mark.parametrize("kept", [False, True], ids=["ranges", "cache"])
def test_an_epoch_of_ranks_and_workers_fetches_at_most_the_shards(s3, line, monkeypatch, tokenizer, tmp_path, kept):
    """Two ranks of two workers at once, blocks of 16: at most 1.05 times the shards' bytes over the line.

    Workers go on into the next epoch, a block for each lane; so the epoch is long against that.
    """
    folder = write(tmp_path / "shards", tuples(4000), 250)
    for file in sorted(Path(folder).iterdir()):
        locations.open_store(f"{s3}/set").put(file.name, file.read_bytes())
    use_s3(monkeypatch, line.url)
    cache = {"cache": str(tmp_path / "cache")} if kept else {}
    settings = data(f"{s3}/set", workers=2, block=16, prefetch_mb=0.01, **cache)
    found = [None, None]

    def rank(number):
        found[number] = epoch(settings, tokenizer, number, 2)

    ranks = [threading.Thread(target=rank, args=(number,)) for number in range(2)]
    for thread in ranks:
        thread.start()
    for thread in ranks:
        thread.join()
    whole = epoch(data(folder, block=16), tokenizer)
    assert [a + b for a, b in zip(*found, strict=True)] == whole
    share = sent(line) / tars(folder)
    print(f"bytes over the line: {share:.3f} of the shards")
    assert share <= 1.05
