"""Cases from tables of one's own: boxes in both forms, masks of any kind, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

from sentalign.evaluate.datasets import mask_file, table
from sharding.contract import UserError
from tests.evaluate.conftest import evaluate

ROWS, COLUMNS = 90, 120
BOXES = """image,sentence,x,y,width,height,category,patient
a.png,Left  nodule,10,20,30,15,Nodule,p1
a.png,Left nodule,60.5,20,5,5,Nodule,p1
a.png,Effusion,1,2,3,4,Fluid,p1
b/c.png,Effusion,5,5,50,40,,
"""


@pytest.fixture
def folder(tmp_path):
    """Two images and a mask of half the size of the first."""
    (tmp_path / "b").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b/c.png"):
        Image.fromarray(rng.integers(0, 256, (ROWS, COLUMNS), np.uint8)).save(tmp_path / name)
    mask = np.zeros((ROWS // 2, COLUMNS // 2), np.uint8)
    mask[10:20, 5:10] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path


def write(folder, text, suffix="csv"):
    file = folder / f"cases.{suffix}"
    if suffix == "parquet":
        pyarrow.parquet.write_table(pyarrow.csv.read_csv(pyarrow.py_buffer(text.encode())), file)
    else:
        file.write_text(text.replace(",", "\t") if suffix == "tsv" else "\ufeff" + text)
    return file


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_rows_of_one_image_and_sentence_are_one_case(folder, suffix):
    first, second, third = table.read(write(folder, BOXES, suffix))
    assert first.target.boxes.tolist() == [[10, 20, 30, 15], [60.5, 20, 5, 5]]
    assert [(c.image_id, c.phrase, c.category, c.patient) for c in (first, second, third)] == [
        ("a.png", "Left nodule", "Nodule", "p1"),
        ("a.png", "Effusion", "Fluid", "p1"),
        ("b/c.png", "Effusion", "all", "c"),
    ]
    assert third.image == folder / "b/c.png"


def test_boxes_in_one_field_and_columns_of_other_names(folder):
    file = write(folder, "path,text,rectangles\na.png,Nodule,10;20;30;15|60.5;20;5;5\n")
    (case,) = table.read(file, {"image": "path", "sentence": "text", "boxes": "rectangles"})
    assert case.target.boxes.tolist() == [[10, 20, 30, 15], [60.5, 20, 5, 5]]


def test_masks_are_united(folder):
    other = np.zeros((ROWS // 2, COLUMNS // 2), bool)
    other[0, 0] = True
    np.save(folder / "other.npy", other)
    (case,) = table.read(write(folder, "image,sentence,mask\na.png,Nodule,mask.png\na.png,Nodule,other.npy\n"))
    assert case.target.pixels().sum() == 51
    assert (case.height, case.width) == (ROWS // 2, COLUMNS // 2)


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "RGB", "RGBA", "LA"])
def test_what_a_mask_marks_whatever_its_mode(tmp_path, mode):
    marked = np.zeros((6, 5), bool)
    marked[2:4, 1:4] = True
    image = Image.fromarray(np.uint8(255 * marked)).convert(mode) if mode not in ("P", "I;16") else None
    if mode == "P":
        image = Image.fromarray(np.uint8(marked), "P")
        image.putpalette([0, 0, 0, 0, 0, 0])  # both numbers are black
    if mode == "I;16":
        image = Image.fromarray(np.uint16(marked))
    image.save(tmp_path / "mask.png")
    assert (mask_file.read(tmp_path / "mask.png") == marked).all()


def test_a_transparent_pixel_and_the_noise_of_a_jpeg_mark_nothing(tmp_path):
    pixels = np.full((8, 8, 4), 255, np.uint8)
    pixels[:, 4:, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    assert mask_file.read(tmp_path / "mask.png").sum() == 32
    disc = np.hypot(*(np.mgrid[:64, :64] - 32)) < 20
    Image.fromarray(np.uint8(255 * disc)).save(tmp_path / "mask.jpg", quality=50)
    assert (mask_file.read(tmp_path / "mask.jpg") == disc).mean() > 0.99


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,text\n", "cases.csv has no column sentence; it has image, text"),
        ("image,sentence\n", "cases.csv has no row; give a table of image, sentence and boxes or masks"),
        ("image,sentence,mask\na.png,,m.png\n", "line 2 cannot be read (no sentence); correct the line"),
        ("image,sentence,mask\n,Nodule,m.png\n", "line 2 cannot be read (no image)"),
        (
            "image,sentence,mask\na.png,Nodule,\n",
            "line 2 cannot be read (it needs a mask, boxes or x, y, width, height",
        ),
        ("image,sentence,mask,boxes\na.png,Nodule,m.png,1;2;3;4\n", "and one of them only"),
        ("image,sentence,boxes\na.png,Nodule,1;2;3;0\n", "line 2 cannot be read (a box without area)"),
        ("image,sentence,x,y,width,height\na.png,Nodule,1,2,3,\n", "line 2 cannot be read (a box is not four numbers)"),
        (
            "image,sentence,mask,boxes\na.png,N,mask.png,\na.png,N,,1;2;3;4\n",
            "line 3 cannot be read (the same image and sentence have a mask and a box)",
        ),
        ("image,sentence,mask\na.png,Nodule,none.png\n", "a .png mask cannot be read; give image files or .npy"),
        ("image,sentence,mask\na.png,Nodule,cases.csv\n", "a .csv mask cannot be read; give image files or .npy"),
        (
            "image,sentence,boxes\nz.png,Nodule,1;2;3;4\n",
            "none of the images of cases.csv is there; paths are relative",
        ),
    ],
)
def test_mistakes_are_one_line(folder, text, message):
    with pytest.raises(UserError) as caught:
        table.read(write(folder, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_masks_and_masks_of_several_sizes_are_refused(folder):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "empty.png")
    Image.fromarray(np.ones((4, 4), np.uint8)).save(folder / "small.png")
    with pytest.raises(UserError, match=r"a mask marks no pixel; leave its row out"):
        table.read(write(folder, "image,sentence,mask\na.png,Nodule,empty.png\n"))
    with pytest.raises(UserError, match="have several sizes"):
        table.read(write(folder, "image,sentence,mask\na.png,Nodule,mask.png\na.png,Nodule,small.png\n"))


@pytest.mark.parametrize("content", ["cut png", "cut npy", "nothing", "a bomb"])
def test_a_mask_file_that_is_damaged_is_refused(folder, content, monkeypatch):
    file = folder / ("mask.npy" if content == "cut npy" else "mask.png")
    if content == "cut npy":
        np.save(file, np.ones((40, 40)))
    if content == "a bomb":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    else:
        file.write_bytes(file.read_bytes()[: {"cut png": 60, "cut npy": 200, "nothing": 0}[content]])
    with pytest.raises(UserError, match=r"mask cannot be read; give image files or \.npy"):
        table.read(write(folder, f"image,sentence,mask\na.png,Nodule,{file.name}\n"))


def test_what_is_no_table_is_refused(folder):
    (folder / "cases.csv").write_bytes(b"\xff\xfe\x00")
    (folder / "cases.parquet").write_bytes(b"no")
    for suffix, message in (("csv", "not UTF-16 in line 1"), ("parquet", "not a readable table")):
        with pytest.raises(UserError, match=message):
            table.read(folder / f"cases.{suffix}")
    with pytest.raises(UserError, match=r"no table .*none"):
        table.read(folder / "none.tsv")


def test_from_a_table_to_metrics_on_masks_of_another_size(folder, run_folder, tmp_path, capsys):
    file = write(folder, "image,phrase,mask,boxes\na.png,Nodule,mask.png,\nb/c.png,Effusion,,10;20;30;40\n")
    words = ("--data", file, "--sentence-column", "phrase", "--run", run_folder, "--out", tmp_path / "o")
    evaluate("table", *words, "--replicates", 20)
    assert "cases.csv, 2 cases, 2 patients" in capsys.readouterr().out
    assert json.loads((tmp_path / "o/metrics.json").read_text())["lost"] == {}
    # The mask of half the size is stretched over the image.
    assert np.load(tmp_path / "o/cases.npz")["boxes_xywh"].tolist() == [[10, 20, 10, 20], [10, 20, 30, 40]]
