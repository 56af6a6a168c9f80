"""The private folder is made once, stays private, and its ledger resolves pseudonyms."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from sharding.contract import UserError
from sharding.deid.private_folder import open_private


def test_the_private_folder_is_made_once_and_for_the_owner_only(tmp_path):
    (tmp_path / "in").mkdir()
    first = open_private(None, str(tmp_path / "in"), str(tmp_path / "out"))
    second = open_private(None, str(tmp_path / "in"), str(tmp_path / "out"))
    assert first.path == tmp_path / "in-private"
    assert first.salt == second.salt
    assert len(first.salt) == 32
    assert stat.S_IMODE(os.stat(first.path).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(first.path / "salt").st_mode) == 0o600
    assert os.listdir(first.path) == ["salt"]


def test_builds_that_start_at_once_share_one_salt(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        salts = list(pool.map(lambda _: open_private(tmp_path / "p", "in", "out").salt, range(64)))
    assert len(set(salts)) == 1
    assert os.listdir(tmp_path / "p") == ["salt"]


def test_half_a_salt_is_refused(tmp_path):
    (tmp_path / "salt").write_bytes(b"short")
    with pytest.raises(UserError, match="is not a salt; restore it"):
        open_private(tmp_path, "in", "out")


@pytest.mark.parametrize("inside", ["out", "out/deep/private"])
def test_the_private_folder_may_not_lie_in_the_output(tmp_path, inside):
    with pytest.raises(UserError, match="--private DIR"):
        open_private(tmp_path / inside, str(tmp_path), str(tmp_path / "out"))


def test_a_private_folder_that_cannot_be_made_names_the_option(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--private DIR"):
        open_private(tmp_path / "file" / "private", str(tmp_path / "in"), str(tmp_path / "out"))


def test_the_ledger_resolves_pseudonyms(tmp_path):
    private = open_private(tmp_path / "p", str(tmp_path / "in"), str(tmp_path / "out"))
    for _ in range(2):
        private.ledger.record([("image", "abc", "john.dcm")])
    assert private.ledger.resolve("abc") == [("image", "john.dcm")]
