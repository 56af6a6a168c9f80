"""A store that does not bring a shard: when that is the shard's fault, and when the store's."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from sentalign.stream.read import byte_ranges
from sentalign.stream.read.byte_ranges import DamagedError, LostError, _Asker
from sentalign.stream.read.cache import Shard
from sharding.contract import UserError
from sharding.store.errors import BadFileError, OutOfReachError


@pytest.fixture
def asker(tmp_path):
    return _Asker(str(tmp_path), 60)


def lost(store):
    raise OutOfReachError("no answer")


def short(store):
    raise BadFileError("too short")


def test_a_lost_shard_is_not_asked_for_again_at_once(asker):
    with pytest.raises(LostError, match="shard of no answer"):
        asker.asked("shard", lost)
    with pytest.raises(LostError, match="shard of no answer"):
        asker.asked("shard", lambda store: pytest.fail("asked"))
    assert asker.asked("b", lambda store: 3) == 3


def test_a_shard_is_asked_for_again_after_a_rest(tmp_path):
    asker = _Asker(str(tmp_path), None)
    with pytest.raises(LostError):
        asker.asked("shard", lost)
    assert asker.asked("shard", lambda store: 3) == 3


def test_three_lost_shards_in_a_row_are_a_lost_store(asker):
    for name in ("shard", "b"):
        with pytest.raises(LostError):
            asker.asked(name, lost)
    with pytest.raises(UserError, match="3 shards in a row") as error:
        asker.asked("c", lost)
    assert not isinstance(error.value, DamagedError)
    with pytest.raises(UserError, match="3 shards in a row"):
        asker.asked("shard", lost)


def test_an_answer_between_them_says_that_the_store_is_there(asker):
    for name in "abcdef":
        with pytest.raises(LostError):
            asker.asked(name, lost)
        asker.asked("other", lambda store: 3)


def test_a_bad_file_is_damage_and_says_nothing_of_the_store(asker):
    for name in "abcd":
        with pytest.raises(DamagedError, match=f"{name} of too short") as error:
            asker.asked(name, short)
        assert not isinstance(error.value, LostError)


class Kept:
    """A cache that holds one shard."""

    def plan(self, shards):
        pass

    def read(self, shard, spans, piece):
        return [b"kept"] if shard.name == "kept" else None


def test_a_kept_shard_between_them_says_that_not_everything_is_lost(monkeypatch):
    store = SimpleNamespace(get_ranges=lambda name, spans: lost(None))
    monkeypatch.setattr(byte_ranges.locations, "open_store", lambda url, timeout: store)
    reader = byte_ranges.SpanReader("s3://b/c", [Shard(name, "0" * 64, 9) for name in ("kept", *"abcd")], 60, Kept())
    for name in "abcd":
        assert reader.read("kept", [(0, 4)]) == [b"kept"]
        with pytest.raises(LostError):
            reader.read(name, [(0, 4)])


def test_many_threads_may_read_more_files_than_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr(byte_ranges, "OPEN_FILES", 2)
    for number in range(6):
        (tmp_path / str(number)).write_bytes(bytes([number]))
    reader = byte_ranges.SpanReader(str(tmp_path))

    def read(number):
        return all(reader.read(str(i % 6), [(0, 1)]) == [bytes([i % 6])] for i in range(number, number + 1000))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(8)))
