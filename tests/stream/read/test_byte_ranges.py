"""A shard that a store does not deliver: when that is a failure of the shard, and when of the store."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from sentalign.stream.read import byte_ranges
from sentalign.stream.read.byte_ranges import DamagedError, LostError, _RemoteShards
from sentalign.stream.read.cache import ShardFile
from sharding.contract import UserError
from sharding.store.errors import BadFileError, OutOfReachError


@pytest.fixture
def remote(tmp_path):
    return _RemoteShards(str(tmp_path), 60)


def lost(store):
    raise OutOfReachError("no answer")


def short(store):
    raise BadFileError("too short")


def test_a_lost_shard_is_not_requested_again_at_once(remote):
    with pytest.raises(LostError, match="shard of no answer"):
        remote.request("shard", lost)
    with pytest.raises(LostError, match="shard of no answer"):
        remote.request("shard", lambda store: pytest.fail("requested"))
    assert remote.request("b", lambda store: 3) == 3


def test_a_shard_is_requested_again_after_a_pause(tmp_path):
    remote = _RemoteShards(str(tmp_path), None)
    with pytest.raises(LostError):
        remote.request("shard", lost)
    assert remote.request("shard", lambda store: 3) == 3


def test_three_lost_shards_in_a_row_are_a_lost_store(remote):
    for name in ("shard", "b"):
        with pytest.raises(LostError):
            remote.request(name, lost)
    with pytest.raises(UserError, match="3 shards in a row") as error:
        remote.request("c", lost)
    assert not isinstance(error.value, DamagedError)
    with pytest.raises(UserError, match="3 shards in a row"):
        remote.request("shard", lost)


def test_a_success_between_them_shows_that_the_store_works(remote):
    for name in "abcdef":
        with pytest.raises(LostError):
            remote.request(name, lost)
        remote.request("other", lambda store: 3)


def test_a_bad_file_is_damage_and_no_failure_of_the_store(remote):
    for name in "abcd":
        with pytest.raises(DamagedError, match=f"{name} of too short") as error:
            remote.request(name, short)
        assert not isinstance(error.value, LostError)


class OneShardCache:
    """A cache with the shard `cached`."""

    def plan(self, shards):
        pass

    def read(self, shard, ranges, get_range):
        return [b"data"] if shard.name == "cached" else None


def test_a_cached_shard_between_them_shows_that_not_everything_is_lost(monkeypatch):
    store = SimpleNamespace(get_ranges=lambda name, ranges: lost(None))
    monkeypatch.setattr(byte_ranges.locations, "open_store", lambda url, timeout: store)
    reader = byte_ranges.RangeReader(
        "s3://b/c", [ShardFile(name, "0" * 64, 9) for name in ("cached", *"abcd")], 60, OneShardCache()
    )
    for name in "abcd":
        assert reader.read("cached", [(0, 4)]) == [b"data"]
        with pytest.raises(LostError):
            reader.read(name, [(0, 4)])


def test_many_threads_may_read_more_files_than_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr(byte_ranges, "OPEN_FILES", 2)
    for number in range(6):
        (tmp_path / str(number)).write_bytes(bytes([number]))
    reader = byte_ranges.RangeReader(str(tmp_path))

    def read(number):
        return all(reader.read(str(i % 6), [(0, 1)]) == [bytes([i % 6])] for i in range(number, number + 1000))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(8)))
