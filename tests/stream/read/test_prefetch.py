"""Prefetching from a store: each byte once, no more than the budget, and nothing before the step of a resume."""

import itertools
import shutil
import threading
import time
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest

from sentalign.config import Data
from sentalign.stream.dataset import Stream
from sentalign.stream.order import plan
from sentalign.stream.order.mixture import Mixture
from sentalign.stream.read.open_data import open_mixture
from sentalign.stream.read.prefetch import Prefetcher
from sharding.contract import SHARD_NAME, UserError
from sharding.store import locations
from tests.servers import use_s3

BATCH = 8
TIMEOUT = 300


def data(url, **changes):
    return Data(**{"shards": url, "batch": BATCH, "image_size": 32, "max_tokens": 24, "workers": 0, **changes})


class CountingMixture(Mixture):
    """Folders that are read as if they were stores; what is fetched is counted."""

    def __init__(self, settings):
        opened = open_mixture(settings, "train", 0)
        super().__init__(opened.data_sets, opened.weights, 0, opened.options)
        self.calls, self.lock = [], threading.Lock()
        for number, data_set in enumerate(self.data_sets):
            data_set.local = False
            data_set.fetch = self._counting(number, data_set.fetch)

    def _counting(self, number, fetch):
        def counting(samples):
            with self.lock:
                self.calls.append((number, tuple(samples)))
            return fetch(samples)

        return counting

    @property
    def fetched(self):
        return Counter((number, sample) for number, samples in self.calls for sample in samples)

    @property
    def bytes(self):
        return sum(self.data_sets[number].size(sample) for number, samples in self.calls for sample in samples)


def read(mixture, prefetcher, lanes, steps):
    """Every sample of the steps through the prefetcher; each is the one that the plan says."""
    for step in steps:
        refs = mixture.samples(step, lanes)
        for ref, content in zip(refs, prefetcher.take(step, lanes), strict=True):
            shards = mixture.data_sets[ref.data_set]
            assert shards.decode(ref.index, content()).key == shards.row(ref.index)["key"]


@pytest.mark.parametrize(("ranks", "workers"), [(1, 1), (2, 2), (4, 2), (8, 3)])
def test_an_epoch_fetches_each_sample_once_over_all_ranks_and_workers(shards, ranks, workers):
    one = CountingMixture(data(shards))
    for rank, worker in itertools.product(range(ranks), range(workers)):
        lanes = plan.share(plan.share(range(BATCH), rank, ranks), worker, workers)
        read(one, Prefetcher(one, 1, TIMEOUT), lanes, range(one.epoch_batches))
    tars = sum(file.stat().st_size for file in Path(shards).glob("*.tar"))
    assert set(one.fetched.values()) == {1}
    assert len(one.fetched) == one.epoch_batches * BATCH
    assert one.bytes <= 1.05 * tars


def test_blocks_are_fetched_at_once(make_shards):
    folder = make_shards(56)
    one = CountingMixture(data(folder, block=7, batch=2))
    read(one, Prefetcher(one, 1, TIMEOUT), range(2), range(one.epoch_batches))
    blocks = one.epoch(0, 0).block_N.max() + 1
    assert len(one.calls) <= blocks + 1  # the one that two lanes share


def test_a_mixture_is_fetched_once_too(shards, make_shards):
    sources = [{"url": shards, "weight": 3}, {"url": make_shards(9)}]
    one = CountingMixture(data(sources))
    refs = Counter((ref.data_set, ref.index) for step in range(11) for ref in one.samples(step, range(BATCH)))
    read(one, Prefetcher(one, 1, TIMEOUT), range(BATCH), range(11))
    extra = one.fetched - refs
    assert not refs - one.fetched
    assert sum(extra.values()) <= BATCH * one.options.block  # of blocks that go on behind the last step


@pytest.mark.parametrize("step", [1, 3, 5])
def test_resume_fetches_only_what_is_left(make_shards, step):
    one = CountingMixture(data(make_shards(96), block=7, batch=4))
    behind = {ref.index for past in range(step) for ref in one.samples(past, range(4))}
    read(one, Prefetcher(one, 1, TIMEOUT), range(4), range(step, one.epoch_batches))
    assert behind.isdisjoint(sample for _, sample in one.fetched)
    assert len(one.fetched) == 96 - 4 * step


def test_budget_limits_what_is_prefetched(make_shards):
    one = CountingMixture(data(make_shards(96), block=4, batch=4))
    size = max(one.data_sets[0].size(i) for i in range(96))
    budget, prefetcher, taken = 10 * size, Prefetcher(one, 10 * size, TIMEOUT), 0
    for step in range(20):
        read(one, prefetcher, range(4), [step])
        taken += sum(one.data_sets[0].size(ref.index) for ref in one.samples(step, range(4)))
        assert one.bytes - taken <= budget + 2 * 4 * 4 * size  # a block for each lane, and the batch at hand
    deadline = time.monotonic() + 20
    while one.bytes - taken <= 4 * size and time.monotonic() < deadline:
        time.sleep(0.01)  # the fetches run in threads of their own
    assert one.bytes - taken > 4 * size, "it does prefetch"


class CountedBytes(bytes):
    """Bytes that are counted while they are referenced."""

    alive: ClassVar[dict[int, int]] = {}

    def __init__(self, *_):
        self.alive[id(self)] = len(self)

    def __del__(self):
        del self.alive[id(self)]


def with_counted_bytes(shards):
    fetch = shards.fetch
    return lambda samples: [CountedBytes(content) for content in fetch(samples)]


def test_taken_bytes_are_released_and_memory_is_flat_over_an_epoch(make_shards):
    one = CountingMixture(data(make_shards(400), block=16, batch=BATCH))
    one.data_sets[0].fetch = with_counted_bytes(one.data_sets[0])
    size = max(one.data_sets[0].size(i) for i in range(len(one.data_sets[0])))
    for budget in (1, 100 * size):
        prefetcher, most = Prefetcher(one, budget, TIMEOUT), []
        for step in range(one.epoch_batches):
            contents = prefetcher.take(step, range(BATCH))
            for place, content in enumerate(contents):
                content()
                assert sum(CountedBytes.alive.values()) <= max(budget + 16 * size, BATCH * 16 * size) - place
            del content
            wait_for(prefetcher)
            held = sum(CountedBytes.alive.values())
            assert held == prefetcher._used, "what counts is what is held"
            most.append(held)
        assert max(most) <= max(budget + 16 * size, BATCH * 15 * size)
        del prefetcher, contents
        assert not CountedBytes.alive


def wait_for(prefetcher):
    for pending in prefetcher._pending.values():
        pending.job.result()


def test_a_whole_shard_counts_once_until_its_first_sample_is_taken(make_shards):
    one = CountingMixture(data(make_shards(96), block=4, batch=4))
    one.data_sets[0].missing = lambda sample: 10**6
    prefetcher = Prefetcher(one, 3 * 10**6, TIMEOUT)
    prefetcher.take(0, range(4))
    assert 3 <= len(prefetcher._whole) <= 7  # for the lanes at hand, and as many as fit into the budget
    assert {pending.shard for pending in prefetcher._pending.values()} <= {name for _, name in prefetcher._whole}
    for step in range(1, one.epoch_batches):
        prefetcher.take(step, range(4))
        assert prefetcher._used < 3 * 10**6 + 10**6 + 96 * 2000
    assert len(prefetcher._whole) == 14  # all


def test_a_shard_that_stalls_leaves_threads_to_the_others(make_shards):
    one = CountingMixture(data(make_shards(96), block=2, batch=4))
    fetch, release = one.data_sets[0].fetch, threading.Event()

    def stalling(samples):
        if one.data_sets[0].row(samples[0])["shard"] == SHARD_NAME.format(3):
            release.wait(60)
        return fetch(samples)

    one.data_sets[0].fetch = stalling
    prefetcher, came = Prefetcher(one, 2**30, TIMEOUT), 0
    try:
        for step in range(8):
            for ref, content in zip(one.samples(step, range(4)), prefetcher.take(step, range(4)), strict=True):
                if one.data_sets[0].row(ref.index)["shard"] != SHARD_NAME.format(3):
                    content()
                    came += 1
        assert not release.is_set()
        assert came > 24
    finally:
        release.set()


def test_bytes_that_never_come_are_one_line_after_the_timeout(shards):
    one = CountingMixture(data(shards))
    release = threading.Event()
    one.data_sets[0].fetch = lambda samples: release.wait(60)
    content = Prefetcher(one, 1, 0.2).take(0, range(1))[0]
    with pytest.raises(UserError, match=r"shard-\d{6}\.tar takes more than 0\.2 s; .* raise data\.timeout"):
        content()
    release.set()


def test_a_small_data_set_is_not_fetched_for_epochs_ahead(shards):
    one = CountingMixture(data(shards))
    read(one, Prefetcher(one, 2**30, TIMEOUT), range(BATCH), [0])
    assert max(one.fetched.values()) <= 2
    assert sum(one.fetched.values()) <= 2 * 48


def test_a_worker_without_lanes_fetches_nothing(shards):
    one = CountingMixture(data(shards))
    assert Prefetcher(one, 2**20, TIMEOUT).take(0, range(3, 3)) == []
    assert one.calls == []


def test_another_step_than_the_next_starts_over(shards):
    one = CountingMixture(data(shards))
    prefetcher = Prefetcher(one, 2**20, TIMEOUT)
    for steps in (range(3), range(2), range(5, 9), range(1, 4)):
        read(one, prefetcher, range(BATCH), steps)


def test_one_stream_may_begin_again(shards, tokenizer):
    one = Stream(data(shards), 0, 0, 1, tokenizer, "train")
    one.rows.local = False
    keys = [[batch.keys for batch, _ in itertools.islice(one.batches(one.start()), 3)] for _ in range(2)]
    assert keys[0] == keys[1]


def test_a_vanished_shard_costs_its_own_samples_alone(shards, tokenizer, tmp_path):
    copy = Path(shutil.copytree(shards, tmp_path / "copy"))
    (copy / SHARD_NAME.format(2)).unlink()
    plain = Stream(data(str(copy), on_damage="replace", damage_budget=1), 0, 0, 1, tokenizer, "train")
    far = Stream(plain.data, 0, 0, 1, tokenizer, "train")
    far.rows.local = far.mixture.data_sets[0].local = False
    near, through = ([b for b, _ in itertools.islice(one.batches(one.start()), 6)] for one in (plain, far))
    assert [batch.keys for batch in through] == [batch.keys for batch in near]
    assert far.replaced == plain.replaced == 6  # a sample of that shard has no text


def upload(folder, url):
    store = locations.open_store(url)
    for file in sorted(Path(folder).iterdir()):
        store.put(file.name, file.read_bytes())
    return url


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_bucket_gives_the_batches_of_the_folder(shards, tokenizer, s3, workers):
    url = upload(shards, f"{s3}/set")
    here, there = (
        Stream(data(folder, workers=w), 0, 0, 1, tokenizer, "train") for folder, w in ((shards, 0), (url, workers))
    )
    near, far = ([batch for batch, _ in itertools.islice(one.batches(one.start()), 8)] for one in (here, there))
    assert [batch.keys for batch in far] == [batch.keys for batch in near]
    assert not there.rows.local


@pytest.mark.slow
def test_a_bucket_that_fails_for_a_moment_is_retried(shards, tokenizer, s3, line, monkeypatch):
    url = upload(shards, f"{s3}/set")
    use_s3(monkeypatch, line.url)
    one = Stream(data(url), 0, 0, 1, tokenizer, "train")
    line.faults += ["503", "drop", "503"]
    assert sum(len(batch.keys) for batch, _ in itertools.islice(one.batches(one.start()), 6)) == 48
    assert line.faults == []


@pytest.mark.slow
def test_a_shard_that_is_gone_from_a_bucket_is_one_line(shards, tokenizer, s3):
    url = upload(shards, f"{s3}/set")
    locations.open_store(url).delete(SHARD_NAME.format(2))
    one = Stream(data(url), 0, 0, 1, tokenizer, "train")
    with pytest.raises(UserError, match=r"shard-000002\.tar") as error:
        list(itertools.islice(one.batches(one.start()), 6))
    assert "\n" not in str(error.value)
