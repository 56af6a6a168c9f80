"""MIMIC-CXR as distributed becomes rows, and contradictions between tables are never hidden."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from sharding.contract import UserError
from sharding.sources import mimic_cxr
from sharding.sources.files.inventory import Inventory

RECORDS, METADATA, SPLIT = (
    *("cxr-record-list.csv.gz", "mimic-cxr-2.0.0-metadata.csv.gz"),
    "mimic-cxr-2.0.0-split.csv.gz",
)


def read(root: Path, *options, **named):
    return mimic_cxr.read(Inventory.of(str(root)), *options, **named)


def rewrite(root: Path, table: str, old: str, new: str) -> None:
    """Replace `old`, which must exist, by `new` in a gzipped table."""
    text = gzip.decompress((root / table).read_bytes()).decode()
    assert old in text
    (root / table).write_bytes(gzip.compress(text.replace(old, new, 1).encode()))


def add(root: Path, table: str, *rows: str) -> None:
    text = gzip.decompress((root / table).read_bytes()).decode()
    (root / table).write_bytes(gzip.compress((text + "\n".join(rows) + "\n").encode()))


def test_frontal_views_and_official_splits(mimic):
    listing = read(mimic)
    assert [(s.id, s.view, s.split) for s in listing.images] == [
        ("aa-1", "PA", "train"),
        ("bb-1", "AP", "train"),
        ("cc-1", "AP", "validate"),
    ]
    assert listing.left_out == {"lateral or unknown view": 1}
    assert listing.notes == {}
    first = listing.images[0]
    assert first.file == f"{mimic}/files/p10/p10000032/s50414267/aa-1.dcm"
    assert first.text_file == f"{mimic}/files/p10/p10000032/s50414267.txt"
    assert (first.patient, first.study, first.text) == ("10000032", "50414267", None)


def test_only_the_tables_are_opened(mimic):
    inventory = Inventory.of(str(mimic))
    expected = mimic_cxr.read(inventory)
    shutil.rmtree(mimic / "files")
    assert mimic_cxr.read(inventory) == expected


def test_all_views_on_request(mimic):
    assert [s.view for s in read(mimic, False).images] == ["PA", "LATERAL", "AP", "AP"]


@pytest.mark.parametrize("reports", ["files", "mimic-cxr-reports/files", "unpacked/somewhere"])
@pytest.mark.parametrize("folder", ["", "mimic-cxr-jpg/2.1.0"])
def test_the_jpg_tree_with_reports_of_its_own(mimic, tmp_path, folder, reports):
    """MIMIC-CXR-JPG has no record list and no reports; those are unpacked wherever the user likes."""
    expected = [(s.id, s.view, s.split) for s in read(mimic).images]
    root = tmp_path / "jpg" / folder
    root.mkdir(parents=True)
    for path in sorted(mimic.rglob("*")):
        name = path.relative_to(mimic)
        to = tmp_path / "jpg" / reports / name.relative_to("files") if path.suffix == ".txt" else root / name
        to = to.with_suffix(".jpg") if path.suffix == ".dcm" else to
        if path.is_file() and path.name != RECORDS:
            to.parent.mkdir(parents=True, exist_ok=True)
            path.rename(to)
    listing = read(tmp_path / "jpg")
    assert [(s.id, s.view, s.split) for s in listing.images] == expected
    assert all(s.file.endswith(f"/{s.id}.jpg") and s.text_file.endswith(f"/s{s.study}.txt") for s in listing.images)


def test_tables_that_are_not_packed(mimic):
    expected = read(mimic)
    for name in (RECORDS, METADATA, SPLIT):
        (mimic / name.removesuffix(".gz")).write_bytes(gzip.decompress((mimic / name).read_bytes()))
        (mimic / name).unlink()
    assert read(mimic) == expected


def test_reports_that_are_still_packed_are_said(mimic):
    for path in mimic.rglob("*.txt"):
        path.unlink()
    assert read(mimic).notes == {"image without a report": 3}
    (mimic / "mimic-cxr-reports.zip").write_bytes(b"x")
    with pytest.raises(UserError, match=r"mimic-cxr-reports\.zip: the reports are still packed"):
        read(mimic)


def test_a_file_in_the_folder_of_another_subject_is_not_taken(mimic):
    for ending in ("s50414267/aa-1.dcm", "s50414267.txt"):
        other = mimic / "files/p10/p10000764" / ending
        other.parent.mkdir(exist_ok=True)
        (mimic / "files/p10/p10000032" / ending).rename(other)
    [first] = [s for s in read(mimic).images if s.id == "aa-1"]
    assert (first.file, first.text_file, first.several) == ("", "", False)


def test_an_image_that_lies_in_two_places_is_not_called_missing(mimic):
    official = mimic / "files/p10/p10000032/s50414267/aa-1.dcm"
    for place in ("one", "two"):
        (mimic / place).mkdir()
        (mimic / place / "aa-1.dcm").write_bytes(official.read_bytes())
    official.unlink()
    [first] = [s for s in read(mimic).images if s.id == "aa-1"]
    assert (first.file, first.several) == ("", True)


def test_without_tables_it_is_said_what_is_missing(mimic):
    (mimic / METADATA).unlink()
    with pytest.raises(UserError, match="no views are known; add it, or take all with --views all"):
        read(mimic)
    assert len(read(mimic, False).images) == 4
    (mimic / RECORDS).unlink()
    with pytest.raises(UserError, match="record-list"):
        read(mimic)


@pytest.mark.parametrize(
    ("table", "old", "new", "words"),
    [
        (RECORDS, "subject_id", "subject", "no column subject_id"),
        (METADATA, "ViewPosition", "View", "no column ViewPosition"),
        (SPLIT, "split", "fold", "no column split"),
        (SPLIT, "validate", "held out", "have another split than"),
        (SPLIT, "aa-2,50414267,10000032,train", "aa-2,50414267,10000032,test", "1 patients are in two splits"),
    ],
)
def test_tables_that_cannot_be_used(mimic, table, old, new, words):
    rewrite(mimic, table, old, new)
    with pytest.raises(UserError, match=words) as caught:
        read(mimic)
    assert "10000032" not in str(caught.value)


def test_two_versions_of_a_table_are_not_chosen_from(mimic):
    (mimic / SPLIT.replace("2.0.0", "2.1.0")).write_bytes((mimic / SPLIT).read_bytes())
    with pytest.raises(UserError, match="several split tables"):
        read(mimic)


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        (METADATA, "bb-1,10000764", "bb-1,10000765"),
        (METADATA, "bb-1,10000764,57375967", "bb-1,10000764,57375968"),
        (METADATA, "bb-1,10000764,57375967,AP", "bb-1,10000764,57375967,AP\nbb-1,10000764,57375967,PA"),
        (SPLIT, "bb-1,57375967", "bb-1,57375968"),
        (SPLIT, "bb-1,57375967,10000764", "bb-1,57375967,10000765"),
        (RECORDS, "10000764,57375967,bb-1", "10000765,57375967,bb-1,x.dcm\n10000764,57375967,bb-1"),
        (RECORDS, "10000764,57375967,bb-1", "10000765,57375967,bb-1"),
    ],
)
def test_an_image_on_which_tables_contradict_each_other_is_left_out(mimic, table, old, new):
    rewrite(mimic, table, old, new)
    listing = read(mimic)
    assert [s.id for s in listing.images] == ["aa-1", "cc-1"]
    assert listing.left_out["image on which the tables contradict each other"] == 1


def test_the_study_table_is_compared_too(mimic):
    (mimic / "cxr-study-list.csv").write_text("subject_id,study_id,path\n10000032,50414267,x\n10000032,57375967,y\n")
    assert [s.id for s in read(mimic).images] == ["aa-1", "cc-1"]


def test_repeated_rows_rows_without_ids_and_unknown_ids_are_counted(mimic):
    add(mimic, RECORDS, "10000898,50771383,cc-1,files/p10/p10000898/s50771383/cc-1.dcm", ",1,dd-1,x", "1,,ee-1,x")
    add(mimic, METADATA, "zz-1,1,2,PA")
    add(mimic, SPLIT, "zz-1,2,1,train", "zz-2,2,1,train")
    listing = read(mimic)
    assert len(listing.images) == 3
    assert listing.left_out == {
        "lateral or unknown view": 1,
        "row that repeats another": 1,
        "row without an id": 2,
    }
    assert listing.notes == {
        "image of the metadata table alone, not taken": 1,
        "image of the split table alone, not taken": 2,
    }


def test_an_image_without_a_split_has_that_of_its_subject(mimic):
    rewrite(mimic, SPLIT, "aa-1,50414267,10000032,train\n", "")
    rewrite(mimic, SPLIT, "bb-1,57375967,10000764,train\n", "")
    listing = read(mimic)
    assert [s.split for s in listing.images] == ["train", "", "validate"]
    assert listing.notes == {"image without an official split, split by its subject": 1}
    (mimic / SPLIT).unlink()
    assert [s.split for s in read(mimic).images] == ["", "", ""]


def test_an_image_without_metadata_has_no_known_view(mimic):
    rewrite(mimic, METADATA, "bb-1,10000764,57375967,AP\n", "")
    assert read(mimic).left_out == {"lateral or unknown view": 2}


@pytest.mark.parametrize("written", ["p10000764", "10000764.0"])
def test_ids_are_compared_as_numbers(mimic, written):
    rewrite(mimic, METADATA, "10000764", written)
    assert len(read(mimic).images) == 3


@pytest.mark.parametrize("kind", ["text", "csv-1.1", "csv-1.0", "csv-1.0-ids", "json"])
def test_subjects_of_the_test_set_are_left_out(mimic, tmp_path, kind):
    path = tmp_path / ("ms.json" if kind == "json" else "subjects" if kind == "text" else "ms.csv.gz")
    # The lateral image of the subject whose frontal one is read.
    image = "files/p10/p10000032/s50414267/aa-2.jpg"
    path.write_text(
        {
            "text": "p10000032\n",
            "csv-1.1": f"dicom_id,label_text,path,subject_id\naa-2,Edema,{image},10000032\n",
            "csv-1.0": f"label_text,path\nEdema,{image}\n",
            "csv-1.0-ids": "dicom_id,label_text\naa-2,Edema\n",
            "json": json.dumps({"images": [{"id": 1, "path": image}], "annotations": [], "categories": []}),
        }[kind]
    )
    listing = read(mimic, exclude=str(path))
    assert [image.id for image in listing.images] == ["bb-1", "cc-1"]
    assert listing.left_out == {"excluded subject": 2}
