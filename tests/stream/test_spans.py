"""A store that does not bring a shard: when that is the shard's fault, and when the store's."""

import pytest

from sentalign.stream.spans import DamagedError, LostError, _Asker
from sharding.contract import UserError
from sharding.storage import BadFileError, OutOfReachError


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
