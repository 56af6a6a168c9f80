"""Calls with a limit for each shard: no more than there are threads, in order, and no shard takes all of them."""

import threading
import time
from collections import Counter

import pytest

from sentalign.stream.read.per_shard_limit import PerShardLimit


def settle(check):
    deadline = time.monotonic() + 20
    while not check() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert check()


@pytest.mark.parametrize(("shards", "running"), [("a", 8), ("ab", 12), ("abc", 14), ("abcd", 15)])
def test_stalled_shards_take_half_of_what_is_free(shards, running):
    threads, release, begun = PerShardLimit(16), threading.Event(), Counter()

    def stall(shard):
        begun[shard] += 1
        release.wait(60)

    for shard in shards:
        for _ in range(40):
            threads.submit(shard, lambda shard=shard: stall(shard))
    settle(lambda: begun.total() == running)
    other = threads.submit("other", lambda: "came")
    assert other.result(20) == "came"
    release.set()
    settle(lambda: begun.total() == 40 * len(shards))


def test_different_shards_use_all_threads_and_no_more():
    threads, release, begun = PerShardLimit(4), threading.Event(), []
    futures = [threads.submit(i, lambda i=i: (begun.append(i), release.wait(60))) for i in range(9)]
    settle(lambda: len(begun) == 4)
    time.sleep(0.05)
    assert sorted(begun) == [0, 1, 2, 3]
    release.set()
    assert all(future.result(20) for future in futures)


def test_an_error_is_raised_by_the_future_and_the_thread_goes_on():
    threads = PerShardLimit(2)
    with pytest.raises(KeyError):
        threads.submit("a", lambda: {}["x"]).result(20)
    assert threads.submit("a", lambda: 3).result(20) == 3


def test_cleared_calls_do_not_run():
    threads, release, made = PerShardLimit(2), threading.Event(), []
    first = threads.submit("a", lambda: release.wait(60))
    threads.submit("a", lambda: made.append(1))
    threads.clear()
    release.set()
    assert first.result(20)
    assert threads.submit("a", lambda: "next").result(20) == "next"
    assert made == []
