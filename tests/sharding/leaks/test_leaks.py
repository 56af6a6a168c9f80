"""What of one person stands in several splits is found, copies included, and nothing else is."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding import leaks, manifest
from sharding.cli import main
from sharding.leaks import Leak, LeakKind, same_patient
from sharding.store.locations import open_store
from tests.sharding.leaks.pictures import (
    again_as_jpeg,
    bordered,
    cloudy,
    cropped,
    darker,
    data_set,
    names_of,
    pseudonym,
    scaled,
    windowed,
)

TRAIN, TEST = names_of("train", 6), names_of("test", 3)
TEXT = "Heart size is normal."


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Nine people; three of those in train have their picture again under a name in test, one under a name in train."""
    train = [(name, cloudy(seed), f"{TEXT} Number {seed}.") for seed, name in enumerate(TRAIN)]
    copied = [
        (TEST[0], cloudy(0), TEXT),
        (TEST[1], cropped(darker(cloudy(1))), TEXT),
        (TEST[2], again_as_jpeg(windowed(bordered(cloudy(2)))), TEXT),
        (TRAIN[4], scaled(cloudy(3)), "No effusion."),
        (TEST[2], np.zeros((90, 90), np.uint8), "No effusion."),
        (TRAIN[5], np.zeros((90, 90), np.uint8), "No edema."),
    ]
    return data_set(tmp_path_factory.mktemp("copies"), train + copied, shard_images=5)


def found_in(out):
    store = open_store(out)
    return leaks.find(manifest.read_from(store).table, store)


def pairs(found):
    return {tuple(sorted((leak.patient, leak.other_patient))) for leak in found}


def named(*names):
    return tuple(sorted(map(pseudonym, names)))


def test_copies_are_found_across_splits_and_within_one(copies):
    found = found_in(copies)
    crossing = {named(TRAIN[0], TEST[0]), named(TRAIN[1], TEST[1]), named(TRAIN[2], TEST[2])}
    assert pairs(leak for leak in found if leak.crosses_splits) == crossing
    assert pairs(leak for leak in found if not leak.crosses_splits) == {named(TRAIN[3], TRAIN[4])}


def test_the_same_file_is_told_from_one_like_it(copies):
    kinds = {tuple(sorted((leak.patient, leak.other_patient))): leak for leak in found_in(copies)}
    equal = kinds[named(TRAIN[0], TEST[0])]
    assert (equal.kind, equal.agreement) == (LeakKind.EXACT, 1)
    near = kinds[named(TRAIN[1], TEST[1])]
    assert near.kind == LeakKind.NEAR
    assert 0.75 <= near.agreement < 1


def test_without_the_pictures_the_certain_ones_are_left(copies):
    found = leaks.certain(manifest.read(str(copies)).table)
    assert pairs(found) == {named(TRAIN[0], TEST[0])}


def test_a_shard_that_cannot_be_read_hides_what_is_in_it_and_no_more(copies, tmp_path):
    table = manifest.read(str(copies)).table
    (tmp_path / "shard-000000.tar").write_bytes(b"")
    assert pairs(leaks.find(table, open_store(tmp_path))) == {named(TRAIN[0], TEST[0])}


def test_a_patient_in_two_splits_is_a_leak(copies):
    table = manifest.read(str(copies)).table
    splits = table["split"].to_pylist()
    patient = pseudonym(TRAIN[0])
    mine = [row for row, name in enumerate(table["patient"].to_pylist()) if name == patient]
    twice = pa.concat_tables([table, table.take(mine)])
    splits.append("validate" if splits[mine[0]] != "validate" else "test")
    place = twice.schema.get_field_index("split")
    found = [leak for leak in leaks.certain(twice.set_column(place, "split", pa.array(splits))) if leak.crosses_splits]
    own = [leak for leak in found if leak.kind == LeakKind.SPLITS]
    assert [(leak.patient, leak.other_patient) for leak in own] == [(patient, patient)]


def test_reports_word_for_word_are_counted(copies):
    """Those of the three in test are alike, but all are in one split; "No effusion." stands in both."""
    assert leaks.repeated_texts(manifest.read(str(copies)).table) == 1


def test_a_table_without_rows_has_no_leak(copies, tmp_path):
    table = manifest.read(str(copies)).table.slice(0, 0)
    assert leaks.find(table, open_store(tmp_path)) == []
    assert leaks.repeated_texts(table) == 0


def test_invalid_hashes_are_skipped(copies, tmp_path):
    table = manifest.read(str(copies)).table
    place = table.schema.get_field_index("image_likeness")
    for value in ("", "zz", "f" * 95, "G" * 96):
        changed = table.set_column(place, "image_likeness", pa.array([value] * table.num_rows))
        assert leaks.find(changed, open_store(tmp_path)) == []


def test_many_equal_images_are_joined_by_as_many_pairs():
    """A picture that stands under forty patients gives thirty-nine rows, not 780."""
    rows = 40
    columns = {
        "patient": [f"{number:016x}" for number in range(rows)],
        "split": ["train", "test"] * 20,
        "key": [f"{number:024x}" for number in range(rows)],
        "image_sha256": ["a" * 64] * rows,
        "image_likeness": ["7" * 96] * rows,
    }
    found = leaks.certain(pa.table(columns))
    assert len(found) == rows - 1
    assert leaks.groups(found) == [tuple(columns["patient"])]


def test_groups_are_what_hangs_together():
    def leak(one, other):
        return Leak(LeakKind.NEAR, one, other, "train", "test", "k", "l", 0.9)

    found = [leak("e", "d"), leak("a", "b"), leak("c", "b"), leak("f", "f")]
    assert leaks.groups(found) == [("a", "b", "c"), ("d", "e")]
    assert leaks.groups([]) == []


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"))))
def test_groups_are_those_of_plain_merging(found):
    plain: list[set[str]] = []
    for pair in found:
        touched = [group for group in plain if group & set(pair)]
        plain = [group for group in plain if group not in touched] + [set(pair).union(*touched)]
    assert leaks.connected_names(found) == sorted(tuple(sorted(group)) for group in plain if len(group) > 1)


def test_patients_built_as_one_leak_no_more(copies, tmp_path):
    """The way of the user: find, write the list, read it, take one name for those that are one."""
    assert same_patient.write(tmp_path / "same.csv", found_in(copies)) == 4
    names = same_patient.read(tmp_path / "same.csv")
    found = manifest.read(str(copies))
    patients = [names.get(name, name) for name in found.table["patient"].to_pylist()]
    place = found.table.schema.get_field_index("patient")
    table = found.table.set_column(place, "patient", pa.array(patients))
    assert not any(leak.patient != leak.other_patient for leak in leaks.find(table, open_store(copies)))


@pytest.mark.realdata
def test_the_real_case_under_two_names_is_the_only_one(realdata, tmp_path):
    """Of 12,880 pairs of real X-rays one shows the same picture, cropped by a quarter, under two patients."""
    columns = ("--image-column", "filename", "--text-column", "clinical_notes", "--patient-column", "patientid")
    arguments = ["build", "folder", str(realdata / "cxr_notes"), "--table", "metadata.csv", *columns]
    assert main([*arguments, "--out", str(tmp_path / "out"), "--private", str(tmp_path / "private")]) == 0
    found = found_in(tmp_path / "out")
    assert len(found) == 1
    assert found[0].agreement > 0.85


REPORTS = st.lists(
    st.tuples(st.sampled_from(["", "a", "ab", "b"]), st.sampled_from("pqr"), st.sampled_from(["train", "test"])),
    max_size=12,
)


@given(REPORTS)
def test_repeated_reports_are_those_of_a_plain_count(reports):
    rows = {
        "text_hashes": pa.array([list(text) for text, _, _ in reports], pa.list_(pa.string())),
        "patient": pa.array([patient for _, patient, _ in reports], pa.string()),
        "split": pa.array([split for _, _, split in reports], pa.string()),
    }
    plain = 0
    for text in {text for text, _, _ in reports if text}:
        holders = [(patient, split) for report, patient, split in reports if report == text]
        plain += all(len(set(part)) > 1 for part in zip(*holders, strict=True))
    assert leaks.repeated_texts(pa.table(rows)) == plain
