"""The list of patients that are one comes back as written, and no wrong file gets far or is quoted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.contract import UserError
from sharding.leaks import Leak, LeakKind, same_patient

A, B, C, D, E = (letter * 16 for letter in "abcde")


def leak(one, other, kind=LeakKind.NEAR):
    return Leak(kind, one, other, "train", "test", "0" * 24, "1" * 24, 0.87)


def test_it_comes_back_as_groups_under_their_first_name(tmp_path):
    path = tmp_path / "same.csv"
    assert same_patient.write(path, [leak(C, B), leak(A, B), leak(E, D, LeakKind.EXACT)]) == 3
    assert same_patient.read(path) == {A: A, B: A, C: A, D: D, E: D}


def test_a_patient_in_two_splits_is_no_pair(tmp_path):
    assert same_patient.write(tmp_path / "same.csv", [leak(A, A, LeakKind.SPLITS)]) == 0
    assert same_patient.read(tmp_path / "same.csv") == {}


def test_a_row_taken_out_keeps_its_patients_apart(tmp_path):
    path = tmp_path / "same.csv"
    same_patient.write(path, [leak(A, B), leak(C, D)])
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    assert same_patient.read(path) == {A: A, B: A}


def test_two_columns_are_enough(tmp_path):
    path = tmp_path / "same.csv"
    path.write_text(f"﻿other_patient,patient\r\n{B},{A}\r\n", encoding="utf-8")
    assert same_patient.read(path) == {A: A, B: A}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no columns"),
        (b"patient,name\n", "no columns"),
        (b"patient,other_patient\nJohn Doe,%b\n" % A.encode(), "line 2 "),
        (b"patient,other_patient\n%b,%b\n%b\n" % (A.encode(), B.encode(), C.encode()), "line 3 "),
        (b"\xff\xfe\x00", "UTF-8"),
        (b'patient,other_patient\n"%b' % A.encode(), "UTF-8"),
    ],
)
def test_a_wrong_file_is_one_line_that_quotes_nothing(tmp_path, content, words):
    path = tmp_path / "same.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        same_patient.read(path)
    assert "\n" not in str(caught.value)
    assert "John" not in str(caught.value)


def test_a_missing_file_and_a_folder_that_is_none(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        same_patient.read(tmp_path / "nothing.csv")
    with pytest.raises(UserError, match="cannot be written"):
        same_patient.write(tmp_path / "nothing" / "same.csv", [])


def test_a_file_too_large_for_a_list_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(same_patient, "MAX_BYTES", 10)
    (tmp_path / "same.csv").write_text("patient,other_patient\n")
    with pytest.raises(UserError, match="too large"):
        same_patient.read(tmp_path / "same.csv")


@settings(max_examples=150)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, headed):
    path = tmp_path_factory.mktemp("any") / "same.csv"
    path.write_bytes((b"patient,other_patient\n" if headed else b"") + content)
    names, refusal = {}, ""
    try:
        names = same_patient.read(path)
    except UserError as error:
        refusal = str(error)
    assert len(refusal.splitlines()) <= 1
    assert all(same_patient.PSEUDONYM.fullmatch(name) for name in {*names, *names.values()})
