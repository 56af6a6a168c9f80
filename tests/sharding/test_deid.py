"""Identity is masked in texts, pseudonyms depend on the salt, and the private folder stays private."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.contract import KEY_PATTERN, UserError
from sharding.deid import mask, open_private, pseudonym


@pytest.mark.parametrize(
    ("text", "kind", "hidden"),
    [
        ("Compared to 12/03/2019.", "date", "12/03/2019"),
        ("Compared to 3-4-19.", "date", "3-4-19"),
        ("On 2019-12-03 seen.", "date", "2019-12-03"),
        ("On 20191203 seen.", "date", "20191203"),
        ("On 03.12.2019 seen.", "date", "03.12.2019"),
        ("Since March 3, 2019.", "date", "March 3, 2019"),
        ("Since 3 March 2019.", "date", "3 March 2019"),
        ("Since Jan. 2019.", "date", "Jan. 2019"),
        ("Call (617) 555-0123.", "phone", "(617) 555-0123"),
        ("Call 617-555-0123.", "phone", "617-555-0123"),
        ("Record 12345678.", "number", "12345678"),
        ("MRN: A1234.", "number", "A1234"),
        ("Write to a.b@ward.example.org now.", "email", "a.b@ward.example.org"),
        ("Told Dr. Smith.", "name", "Smith"),
    ],
)
def test_identity_is_masked_at_its_length(text, kind, hidden):
    masked, counts = mask(text)
    assert masked == text.replace(hidden, "_" * len(hidden))
    assert counts == {kind: 1}


@pytest.mark.parametrize(
    "text",
    [
        "A 1.5 cm nodule.",
        "Ribs 3-5.",
        "1/2 of the lung.",
        "T12 fracture.",
        "3 x 4 x 12 mm.",
        "Told Dr. ___.",
        "3/4/5 ribs",
        "May 3 nodules",
    ],
)
def test_measures_are_left_alone(text):
    assert mask(text) == (text, {})


def test_names_of_the_header_are_masked_in_any_case():
    masked, counts = mask("ZIMMERMANN has edema. Zimmermanns do.", ("Zimmermann", "J"))
    assert masked == "__________ has edema. Zimmermanns do."
    assert counts == {"name": 1}


@given(st.text(), st.lists(st.text(max_size=5)))
def test_masking_keeps_every_offset(text, identifiers):
    assert len(mask(text, identifiers)[0]) == len(text)


@given(st.binary(min_size=16, max_size=32), st.text())
def test_pseudonyms_are_keys_and_differ_by_kind(salt, source):
    names = {kind: pseudonym(salt, kind, source) for kind in ("image", "study", "patient")}
    assert all(KEY_PATTERN.fullmatch(name) for name in names.values())
    assert names["study"] != names["patient"]
    assert pseudonym(salt + b"x", "image", source) != names["image"]


def test_the_private_folder_is_made_once_and_for_the_owner_only(tmp_path):
    (tmp_path / "in").mkdir()
    first = open_private(None, tmp_path / "in", str(tmp_path / "out"))
    second = open_private(None, tmp_path / "in", str(tmp_path / "out"))
    assert first.path == tmp_path / "in-private"
    assert first.salt == second.salt
    assert len(first.salt) == 32
    assert stat.S_IMODE(os.stat(first.path).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(first.path / "salt").st_mode) == 0o600


@pytest.mark.parametrize("inside", ["out", "out/deep/private"])
def test_the_private_folder_may_not_lie_in_the_output(tmp_path, inside):
    with pytest.raises(UserError, match="--private DIR"):
        open_private(tmp_path / inside, tmp_path, str(tmp_path / "out"))


def test_a_private_folder_that_cannot_be_made_names_the_option(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--private DIR"):
        open_private(tmp_path / "file" / "private", tmp_path / "in", str(tmp_path / "out"))


def test_the_ledger_resolves_pseudonyms(tmp_path):
    private = open_private(tmp_path / "p", tmp_path / "in", str(tmp_path / "out"))
    for _ in range(2):
        private.record([("image", "abc", "john.dcm")])
    assert private.resolve("abc") == [("image", "john.dcm")]
