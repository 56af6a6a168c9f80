"""Pseudonyms depend on the salt, and the private folder stays private."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.contract import KEY_PATTERN, UserError
from sharding.deid.pseudonyms import open_private, pseudonym


@given(st.binary(min_size=16, max_size=32), st.text())
def test_pseudonyms_are_keys_and_differ_by_kind(salt, source):
    names = {kind: pseudonym(salt, kind, source) for kind in ("image", "study", "patient")}
    assert all(KEY_PATTERN.fullmatch(name) for name in names.values())
    assert names["study"] != names["patient"]
    assert pseudonym(salt + b"x", "image", source) != names["image"]


def test_the_private_folder_is_made_once_and_for_the_owner_only(tmp_path):
    (tmp_path / "in").mkdir()
    first = open_private(None, str(tmp_path / "in"), str(tmp_path / "out"))
    second = open_private(None, str(tmp_path / "in"), str(tmp_path / "out"))
    assert first.path == tmp_path / "in-private"
    assert first.salt == second.salt
    assert len(first.salt) == 32
    assert stat.S_IMODE(os.stat(first.path).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(first.path / "salt").st_mode) == 0o600


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
        private.record([("image", "abc", "john.dcm")])
    assert private.resolve("abc") == [("image", "john.dcm")]
