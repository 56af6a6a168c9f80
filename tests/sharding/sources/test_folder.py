"""A folder and its table become rows: the right file with the right text, and every dropped row is counted."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from sharding.contract import UserError
from sharding.sources import folder as folder_source
from sharding.sources.files.inventory import Inventory
from sharding.sources.folder import FolderTable
from sharding.store import locations

TABLE = FolderTable("table.csv", "image", "text", "patient", "view")


def read(root: Path, table=TABLE, **options):
    return folder_source.read(Inventory.of(str(root)), table, **options)


def of_rows(root: Path, header: str, *rows: str, **options):
    """A folder read by a table of these rows; columns are known by their names."""
    (root / "t.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    named = {
        name: name for name in ("text", "patient", "view", "split", "study", "photometric") if name in header.split(",")
    }
    return read(root, FolderTable("t.csv", "image", **named), **options)


def find(root: Path, name: str, table: str = "t.csv") -> str:
    """The relative name of the file that `name` in a table at `table` refers to."""
    (root / table).parent.mkdir(parents=True, exist_ok=True)
    (root / table).write_text(f'image\n"{name}"\n', encoding="utf-8")
    [image] = read(root, FolderTable(table, "image")).images
    return image.file.removeprefix(f"{root}/")


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_a_table_names_images_anywhere_below(folder):
    images = read(folder).images
    assert [image.id for image in images[:2]] == ["john-doe-0.png", "john-doe-1.png"]
    assert images[0].file == str(folder / "images" / "john-doe-0.png")
    assert (images[1].patient, images[1].view, images[1].split) == ("doe1", "PA", "")
    assert all(image.state for image in images)


def test_a_table_may_be_outside_the_input(folder, tmp_path):
    expected = read(folder).images
    (folder / "table.csv").rename(tmp_path / "elsewhere.csv")
    assert read(folder, FolderTable(str(tmp_path / "elsewhere.csv"), *("image", "text", "patient", "view"))).images == (
        expected
    )


def test_a_missing_column_is_answered_with_the_existing_ones(folder):
    with pytest.raises(UserError, match="no column filename; it has image, text, patient, view"):
        read(folder, FolderTable("table.csv", "filename"))


def test_the_state_of_a_row_changes_with_its_file(folder):
    before = read(folder).images[0]
    os.utime(folder / "images" / "john-doe-0.png", ns=(1, 1))
    assert read(folder).images[0].state != before.state


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/x.png", "a/x.png"),
        ("./a/../a/x.png", "a/x.png"),
        ("a\\x.png", "a/x.png"),
        ("A/X.PNG", "a/x.png"),
        ("a/x", "a/x.png"),
        ("y.png", "a/deep/y.png"),
        ("deep/y.png", "a/deep/y.png"),
        ("/old/place/a/deep/y.png", "a/deep/y.png"),
        ("C:\\old\\a\\deep\\y.png", "a/deep/y.png"),
        ("s3://bucket/a/deep/y.png", "a/deep/y.png"),
        ("with%20space.png", "with space.png"),
        ("with space.png", "with space.png"),
        (unicodedata.normalize("NFD", "zoë.png"), "zoë.png"),
        ("100%.png", "100%.png"),
        ("x.png", ""),  # two of that name
        ("c/y.png", ""),  # another folder, so perhaps another patient
        ("../a/x.png", ""),
        ("/etc/hostname", ""),
        ("nothing.png", ""),
        ("a", ""),
        (".", ""),
    ],
)
def test_ways_to_name_a_file(tmp_path, name, expected):
    names = ("a/x.png", "b/x.png", "a/deep/y.png", "with space.png", "zoë.png", "100%.png")
    assert find(files(tmp_path, *names), name) == expected


def test_an_absolute_name_below_the_input(tmp_path, monkeypatch):
    files(tmp_path, "in/a/x.png", "in/b/x.png")
    assert find(tmp_path / "in", str(tmp_path / "in/a/x.png")).endswith("a/x.png")
    monkeypatch.chdir(tmp_path)
    (Path("in") / "t.csv").write_text(f"image\n{tmp_path}/in/a/x.png\nfile://{tmp_path}/in/b/x.png\n")
    images = read(Path("in"), FolderTable("t.csv", "image")).images
    assert [image.file for image in images] == [f"{tmp_path}/in/a/x.png", f"{tmp_path}/in/b/x.png"]


def test_a_name_is_relative_to_the_input_or_to_the_table_but_not_to_both(tmp_path):
    files(tmp_path, "a/x.png", "b/x.png", "x/x.png", "y.png")
    assert find(tmp_path, "x.png", "a/t.csv") == "a/x.png"
    assert find(tmp_path, "../b/x.png", "a/t.csv") == "b/x.png"
    assert find(tmp_path, "b/x.png", "a/t.csv") == "b/x.png"
    assert find(files(tmp_path, "x.png"), "x.png", "a/t.csv") == ""


def test_a_file_name_that_is_no_text_is_read(tmp_path):
    with open(os.fsencode(tmp_path) + b"/doe\xe9.png", "wb") as file:
        file.write(b"x")
    [image] = read(tmp_path, None).images
    assert image.id.encode() == b"doe\\xe9.png"
    assert locations.read(image.file) == b"x"


def test_the_reports_of_an_image_are_taken_together_in_the_order_of_the_table(folder):
    rows = ["john-doe-0.png,Edema.,", "john-doe-1.png,Clear.,7", "images/john-doe-0.png,Nodule.,7"]
    listing = of_rows(folder, "image,text,patient", *rows, "john-doe-0.png,Edema.,7")
    assert [(image.id, image.text, image.more_texts, image.patient) for image in listing.images] == [
        ("john-doe-0.png", "Edema.", ("Nodule.",), "7"),
        ("john-doe-1.png", "Clear.", (), "7"),
    ]
    assert listing.left_out == {"row that repeats another": 1}
    assert listing.notes == {"image with several reports, taken together": 1, "view unknown, kept": 2}


def test_a_split_of_a_row_without_a_patient_is_that_of_the_patient(folder):
    rows = ["john-doe-0.png,Edema.,,train", "john-doe-0.png,Nodule.,7,", "john-doe-1.png,Clear.,7,"]
    listing = of_rows(folder, "image,text,patient,split", *rows)
    assert [image.split for image in listing.images] == ["train", "train"]
    with pytest.raises(UserError, match="1 patients are in two splits"):
        of_rows(folder, "image,text,patient,split", *rows[:2], "john-doe-1.png,Clear.,7,test")


def test_images_of_one_value_are_one_study_of_their_patient(folder):
    rows = ["john-doe-0.png,Edema.,1,,study1,", "john-doe-1.png,,1,,study1,", "john-doe-2.png,Clear.,2,,study1,"]
    listing = of_rows(folder, "image,text,patient,view,study,photometric", *rows, "john-doe-3.png,Clear.,2,,,")
    assert [image.study for image in listing.images] == ["1/study1", "1/study1", "2/study1", ""]
    assert [image.text for image in listing.images] == ["Edema.", "Edema.", "Clear.", "Clear."]
    assert listing.notes == {
        "study id that several patients have: one study for each": 1,
        "image without a report of its own, takes that of its study": 1,
        "view unknown, kept": 4,
    }


def test_rows_that_contradict_each_other_leave_their_image_out(folder):
    pairs = [
        ("john-doe-0", ",,1,", ",,2,"),
        ("john-doe-1", ",PA,,", ",LL,,"),
        ("john-doe-2", ",,,MONOCHROME1", ",,,RGB"),
    ]
    rows = [f"{name}.png,x,{rest}" for name, *both in pairs for rest in both]
    listing = of_rows(folder, "image,text,patient,view,study,photometric", *rows)
    assert not listing.images
    assert listing.left_out == {"image whose rows contradict each other on study, view or colour model": 6}
    rows = ["john-doe-0.png,x,,frontal,,", "john-doe-0.png,x,,AP,,monochrome1"]
    [image] = of_rows(folder, "image,text,patient,view,study,photometric", *rows).images
    assert (image.view, image.photometric) == ("AP", "MONOCHROME1")


@pytest.mark.parametrize("word", ["MONOCHROME3", "inverted", "Doe"])
def test_another_colour_model_is_refused_and_not_quoted(folder, word):
    rows = ["john-doe-0.png,x,,,,Palette Color", f"john-doe-1.png,x,,,,{word}"]
    with pytest.raises(UserError, match="1 rows, first row 2, are neither MONOCHROME1 nor MONOCHROME2") as caught:
        of_rows(folder, "image,text,patient,view,study,photometric", *rows)
    assert word not in str(caught.value)


def test_a_row_that_repeats_another_is_read_once(folder):
    listing = of_rows(
        folder, "image,text", "john-doe-0.png,Edema.", "images/john-doe-0.png,Edema.", "gone.png,", "gone.png,"
    )
    assert [image.id for image in listing.images] == ["john-doe-0.png", "gone.png"]
    assert listing.left_out == {"row that repeats another": 2}


def test_an_image_of_two_patients_is_left_out(folder):
    rows = ["john-doe-0.png,Edema.,1", "images/john-doe-0.png,Edema.,2", "john-doe-1.png,Edema.,2"]
    listing = of_rows(folder, "image,text,patient", *rows)
    assert [image.id for image in listing.images] == ["john-doe-1.png"]
    assert listing.left_out == {"image of two patients": 2}


def test_a_missing_image_stays_a_row(folder):
    [image] = of_rows(folder, "image,text", "gone.png,Edema.").images
    assert (image.id, image.file, image.state) == ("gone.png", "", "")


def test_views_are_codes_and_only_known_lateral_ones_are_left_out(folder):
    rows = [f"john-doe-{n}.png,{view}" for n, view in enumerate(("AP Supine", "Lateral", "John Doe", "", "frontal"))]
    listing = of_rows(folder, "image,view", *rows)
    assert [image.view for image in listing.images] == ["AP", "", "", "FRONTAL"]
    assert listing.left_out == {"not a frontal view": 1}
    assert listing.notes == {"view unknown, kept": 2}
    everything = of_rows(folder, "image,view", *rows, frontal_only=False)
    assert [image.view for image in everything.images] == ["AP", "LATERAL", "", "", "FRONTAL"]
    assert everything.notes == {}


def test_official_splits_are_those_of_the_patient(folder):
    rows = [
        "john-doe-0.png,1,val",
        "john-doe-1.png,1,",
        "john-doe-2.png,2,Training",
        "john-doe-3.png,3,",
        "john-doe-4.png,,test",
    ]
    listing = of_rows(folder, "image,patient,split", *rows)
    assert [image.split for image in listing.images] == ["validate", "validate", "train", "", "test"]


def test_a_patient_in_two_splits_is_refused(folder):
    with pytest.raises(UserError, match="1 patients are in two splits"):
        of_rows(folder, "image,patient,split", "john-doe-0.png,doe,train", "john-doe-1.png,doe,test")
    with pytest.raises(UserError, match="1 patients are in two splits"):
        of_rows(folder, "image,split", "john-doe-0.png,train", "images/john-doe-0.png,test")


def test_another_word_in_the_split_column_is_refused_and_not_quoted(folder):
    with pytest.raises(UserError, match="first row 2, have another split than") as caught:
        of_rows(folder, "image,split", "john-doe-0.png,train", "john-doe-1.png,Jane Doe")
    assert "Jane" not in str(caught.value)


def test_listed_patients_are_left_out_with_all_their_images(folder, tmp_path):
    (tmp_path / "list.txt").write_text("doe1\nnobody\n")
    listing = read(folder, exclude=str(tmp_path / "list.txt"))
    assert {image.patient for image in listing.images} == {"doe0", "doe2", "doe9"}
    assert listing.left_out == {"excluded subject": 2}
    assert listing.notes == {"excluded id that matches nobody here": 1}


def test_a_row_without_a_patient_is_excluded_too(folder, tmp_path):
    (tmp_path / "list.txt").write_text("1\n")
    listing = of_rows(
        folder, "image,patient", "john-doe-0.png,1", "john-doe-1.png,", exclude=str(tmp_path / "list.txt")
    )
    assert listing.images == []
    assert listing.left_out == {"excluded subject": 1, "no patient to compare with the excluded": 1}


def test_excluding_needs_a_patient_column(folder, tmp_path):
    (tmp_path / "list.txt").write_text("1\n")
    for table in (None, FolderTable("table.csv", "image")):
        with pytest.raises(UserError, match="--patient-column"):
            read(folder, table, exclude=str(tmp_path / "list.txt"))


def test_without_a_table_every_file_that_may_be_an_image_is_read(folder):
    files(folder, "notes.txt", "x.tgz", ".hidden", "noending", "scan.dcm", "DICOMDIR")
    names = [image.id for image in read(folder, None).images]
    assert {"noending", "scan.dcm", "images/broken.png"} <= set(names)
    assert not {"notes.txt", "x.tgz", ".hidden", "table.csv", "DICOMDIR"} & set(names)
    assert names == sorted(names)


def test_many_files_of_one_name_are_found_at_once(tmp_path):
    # 2,000 rows by 2,000 files of one base name: looked through one by one this would be 4,000,000 comparisons a way.
    names = [f"in/data/{number}/front.png" for number in range(2000)]
    inventory = Inventory(str(tmp_path), dict.fromkeys(names, "1-1"))
    (tmp_path / "t.csv").write_text("image\n" + "".join(f"{number}/front.png\n" for number in range(2000)))
    images = folder_source.read(inventory, FolderTable(str(tmp_path / "t.csv"), "image")).images
    assert [image.file for image in images] == [f"{tmp_path}/{name}" for name in names]


@pytest.mark.realdata
def test_real_notes_and_their_images(realdata):
    table = FolderTable("metadata.csv", "filename", "clinical_notes", "patientid", "view")
    listing = read(realdata / "cxr_notes", table)
    assert len(listing.images) == 161
    assert all(image.file and image.text and image.patient for image in listing.images)
    assert {image.view for image in listing.images} == {"AP", "PA"}
    assert (listing.left_out, listing.notes) == ({}, {})
