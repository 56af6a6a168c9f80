"""Pseudonyms depend on the salt and the kind, and are keys of samples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sharding.contract import KEY_PATTERN
from sharding.deid.pseudonyms import pseudonym


@given(st.binary(min_size=16, max_size=32), st.text())
def test_pseudonyms_are_keys_and_differ_by_kind(salt, source):
    names = {kind: pseudonym(salt, kind, source) for kind in ("image", "study", "patient")}
    assert all(KEY_PATTERN.fullmatch(name) for name in names.values())
    assert names["study"] != names["patient"]
    assert pseudonym(salt + b"x", "image", source) != names["image"]
