"""The reader of RSNA Pneumonia on tables of the challenge's layout, and the command on DICOM files."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from sentalign.evaluate.datasets import rsna
from sharding.contract import UserError
from tests.evaluate.conftest import evaluate
from tests.sharding.conftest import dicom_bytes

# One row a box in both tables: two of patient a, one of c; and a repeated row.
LABELS = """patientId,x,y,width,height,Target
a-1,264.0,152.0,213.0,379.0,1
a-1,562.0,152.0,256.0,453.0,1
b-2,,,,,0
c-3,100.5,200.0,80.0,90.0,1
c-3,100.5,200.0,80.0,90.0,1
d-4,,,,,0
"""
CLASSES = """patientId,class
a-1,Lung Opacity
a-1,Lung Opacity
b-2,No Lung Opacity / Not Normal
c-3,Lung Opacity
c-3,Lung Opacity
d-4,Normal
"""
LIST = """ID,boxes,classes
a-1,264.0;152.0;213.0;379.0|562.0;152.0;256.0;453.0,1
d-4,,0
"""
BOXES = {"a-1": [[264, 152, 213, 379], [562, 152, 256, 453]], "c-3": [[100.5, 200, 80, 90]]}


@pytest.fixture
def folder(tmp_path):
    """The challenge's folder, whose pictures are an eighth of the annotated size."""
    (tmp_path / rsna.LABELS).write_text(LABELS)
    (tmp_path / rsna.CLASSES).write_text(CLASSES)
    (tmp_path / rsna.IMAGES).mkdir()
    rng = np.random.default_rng(0)
    for patient in ("a-1", "b-2", "c-3"):
        values = rng.integers(0, 256, (128, 128), np.uint8)
        (tmp_path / rsna.IMAGES / f"{patient}.dcm").write_bytes(dicom_bytes(values))
    return tmp_path


def test_the_images_with_boxes_are_the_cases(folder):
    cases = rsna.read(folder)
    assert {case.image_id: case.boxes.tolist() for case in cases} == BOXES
    assert {case.phrase for case in cases} == {"Findings suggesting pneumonia."}
    assert [case.image.name for case in cases] == ["a-1.dcm", "c-3.dcm"]
    assert {(case.patient == case.image_id, case.height, case.width) for case in cases} == {(True, 1024, 1024)}
    assert {case.phrase for case in rsna.read(folder, phrase="Lung opacity.")} == {"Lung opacity."}


def test_a_list_of_tests_has_its_own_images_and_boxes(folder, tmp_path):
    (folder / "test.csv").write_text(LIST)
    (folder / rsna.LABELS).unlink()
    (case,) = rsna.read(folder, folder / "test.csv")
    assert case.boxes.tolist() == BOXES["a-1"]


def test_the_table_of_classes_may_be_missing_and_an_image_too(folder):
    (folder / rsna.CLASSES).unlink()
    (folder / rsna.IMAGES / "c-3.dcm").unlink()
    assert [case.image is None for case in rsna.read(folder)] == [False, True]


@pytest.mark.parametrize(
    ("file", "before", "after", "message"),
    [
        (rsna.LABELS, "Target", "target", "has no column Target; it has patientId, x, y, width, height, target"),
        (rsna.LABELS, "379.0,1", "379.0,0", "line 2 cannot be read (Target is 1 with a box and 0 without)"),
        (rsna.LABELS, "b-2,,,,,0", "b-2,,,,,1", "line 4 cannot be read (Target is 1 with a box and 0 without)"),
        (rsna.LABELS, "213.0", "-213.0", "line 2 cannot be read (a box without area)"),
        (rsna.LABELS, "256.0", "nan", "line 3 cannot be read (a box is not four numbers)"),
        (rsna.LABELS, "152.0,256.0", "here,256.0", "line 3 cannot be read (a box is not four numbers)"),
        (rsna.LABELS, "a-1", "../a-1", "names an image outside its folder"),
        (rsna.CLASSES, "c-3,Lung Opacity\nc-3,Lung", "c-3,Normal\nc-3,No", "differ in 1 of 4 patients"),
        (rsna.CLASSES, "d-4,Normal", "d-4,Lung Opacity", "differ in 1 of 4 patients"),
        (rsna.CLASSES, "class", "label", "stage_2_detailed_class_info.csv has no column class"),
    ],
)
def test_tables_that_are_not_the_challenges_are_refused_in_one_line(folder, file, before, after, message):
    (folder / file).write_text((folder / file).read_text().replace(before, after))
    if before == "a-1":
        (folder / rsna.CLASSES).unlink()
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        rsna.read(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a-1,1;2;3;4,1", "line 4 cannot be read (a second row of its ID)"),
        ("e-5,1;2;3,1", "line 4 cannot be read (a box is not four numbers)"),
    ],
)
def test_lists_that_cannot_be_read_are_refused(folder, row, message):
    (folder / "test.csv").write_text(LIST + row)
    with pytest.raises(UserError, match=re.escape(message)):
        rsna.read(folder, folder / "test.csv")


def test_without_tables_boxes_or_images_it_says_what_is_missing(folder):
    with pytest.raises(UserError, match=r"no table .*test\.csv"):
        rsna.read(folder, folder / "test.csv")
    (folder / "test.csv").write_text("ID,boxes,classes\nd-4,,0\n")
    with pytest.raises(UserError, match=r"test\.csv holds no box"):
        rsna.read(folder, folder / "test.csv")
    for image in (folder / rsna.IMAGES).iterdir():
        image.unlink()
    with pytest.raises(UserError, match=f"none of the images of {rsna.LABELS} is in .*{rsna.IMAGES}"):
        rsna.read(folder)


def test_from_the_challenges_folder_to_metrics(folder, run_folder, tmp_path, capsys):
    words = ("--data", folder, "--run", run_folder, "--out", tmp_path / "results", "--replicates", 20)
    evaluate("rsna", *words)
    assert "RSNA Pneumonia, 2 cases, 2 patients" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "results/metrics.json").read_text())
    assert (metrics["set"], metrics["cases"], metrics["lost"]) == ("RSNA Pneumonia", 2, {})
    # All cases have the same sentence, which names no side.
    assert metrics["controls"]["shuffled sentences"] is metrics["controls"]["swapped sides"] is None
    assert "Zero-shot localization on RSNA Pneumonia" in (tmp_path / "results/index.html").read_text()
    assert np.load(tmp_path / "results/cases.npz")["boxes_xywh"].tolist() == [
        [value / 8 for value in box] for boxes in BOXES.values() for box in boxes
    ]
