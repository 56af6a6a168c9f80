"""The reader of COVID Rural on files of its layout, and the command on masks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from sentalign.evaluate.datasets import covid_rural
from sharding.contract import UserError
from tests.evaluate.conftest import evaluate

ROWS, COLUMNS = 120, 100
NAMES = ("16660_20200401-XR", "16660_20200403-XR", "16671_20200405-XR", "16672_20200409-XR")


def shapes(*drawn):
    listed = [{"label": label, "points": points, "shape_type": kind, "flags": {}} for label, points, kind in drawn]
    return {"version": "4.5.6", "shapes": listed, "imageHeight": ROWS, "imageWidth": COLUMNS, "imageData": None}


LUNG = ("left_lung", [[50, 0], [99, 0], [99, 119], [50, 119]], "polygon")
OPACITY = ("groud_glass_opacity", [[10.2, 20.0], [40.0, 20.0], [10.2, 60.0]], "polygon")
BLOCK = ("consolidation", [[60, 70], [80, 90]], "rectangle")


@pytest.fixture
def root(tmp_path):
    """Four images: two with masks, one without anything marked, one with a labelme file alone."""
    root = tmp_path / "covid_rural_annot"
    for folder in (covid_rural.IMAGES, covid_rural.MASKS, covid_rural.SHAPES):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for n, name in enumerate(NAMES):
        Image.fromarray(rng.integers(0, 256, (ROWS, COLUMNS), np.uint8)).save(root / covid_rural.IMAGES / f"{name}.jpg")
        mask = np.zeros((ROWS, COLUMNS), np.uint8)
        mask[30:60, 20 : 40 + n] = n < 2
        if n < 3:
            Image.fromarray(mask).save(root / covid_rural.MASKS / f"{name}.png")
    (root / covid_rural.SHAPES / f"{NAMES[3]}.json").write_text(json.dumps(shapes(LUNG, OPACITY, BLOCK)))
    (root / covid_rural.SHAPES / f"{NAMES[0]}.json").write_text("{}")  # its mask serves
    return root


def test_the_images_with_a_mask_are_the_cases(root, tmp_path):
    for data in (root, tmp_path):
        first, second, third = covid_rural.read(data)
        assert [case.image_id for case in (first, second, third)] == [NAMES[0], NAMES[1], NAMES[3]]
        assert first.target.boxes.tolist() == [[20, 30, 20, 30]]
        assert second.target.pixels().sum() == 30 * 21
        assert [case.patient for case in (first, second, third)] == ["16660", "16660", "16672"]
        assert (first.height, first.width) == (ROWS, COLUMNS)
        assert {case.phrase for case in (first, second, third)} == {"Findings suggesting pneumonia."}


def test_without_a_mask_the_polygons_serve_but_not_those_of_the_lungs(root):
    drawn = covid_rural.read(root)[-1].target.pixels()
    assert drawn[25, 15]
    assert drawn[80, 70]
    assert not drawn[100, 95], "only a lung"
    assert not drawn[55, 38], "beyond the triangle's long side"
    assert drawn.sum() == pytest.approx(30 * 40 / 2 + 20 * 20, rel=0.1)  # Pillow marks the edges too


@pytest.mark.parametrize("pixels", [np.uint8(255), np.uint16(1), True])
def test_what_is_not_0_is_marked_whatever_the_mode(root, pixels):
    mask = np.zeros((ROWS, COLUMNS), np.asarray(pixels).dtype)
    mask[5:9, 5:8] = pixels
    Image.fromarray(mask).save(root / covid_rural.MASKS / f"{NAMES[2]}.png")
    assert covid_rural.read(root)[2].target.pixels().sum() == 12


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (f"{covid_rural.MASKS}/{NAMES[0]}.png", b"no png"),
        (f"{covid_rural.SHAPES}/{NAMES[3]}.json", b"{"),
        (f"{covid_rural.SHAPES}/{NAMES[3]}.json", b'{"shapes": []}'),
        (f"{covid_rural.SHAPES}/{NAMES[3]}.json", json.dumps(shapes(("x", [[1, 1], [5, 5]], "circle"))).encode()),
    ],
)
def test_a_file_that_cannot_be_read_is_named(root, file, content):
    (root / file).write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read \(\w+\); fetch it again or remove it") as caught:
        covid_rural.read(root)
    assert file in str(caught.value)


def test_without_images_or_masks_it_says_what_is_missing(root, tmp_path):
    for file in (*(root / covid_rural.MASKS).iterdir(), *(root / covid_rural.SHAPES).iterdir()):
        file.unlink()
    with pytest.raises(UserError, match=r"has no \.jpg with a mask in pngs_masks or shapes in jpgs/jsons"):
        covid_rural.read(root)
    with pytest.raises(UserError, match=r"no folder .*jpgs; give the folder that holds covid_rural_annot/jpgs"):
        covid_rural.read(tmp_path / "nothing")


def test_from_the_sets_folder_to_metrics_and_masks_that_can_be_scored_again(root, run_folder, tmp_path, capsys):
    words = ("--data", root, "--run", run_folder, "--out", tmp_path / "results", "--replicates", 20)
    evaluate("covid-rural", *words)
    assert "COVID Rural, 3 cases, 2 patients" in capsys.readouterr().out
    stored = np.load(tmp_path / "results/cases.npz")
    assert stored["mask_case"].tolist() == [0, 1, 2]
    for n, case in enumerate(covid_rural.read(root)):
        bits = stored["mask_bits"][stored["mask_start"][n] :]
        again = np.unpackbits(bits, count=ROWS * COLUMNS).reshape(stored["mask_shape"][n]).astype(bool)
        assert (again == case.target.pixels()).all()


def test_what_radiologists_wrote_takes_the_place_of_the_one_phrase(root, tmp_path):
    file = tmp_path / "notes.csv"
    file.write_text(
        f"image,sentence\n{NAMES[1]}.jpg,Patchy  opacities.\njpgs/{NAMES[1]}.jpg,Small effusion.\n"
        f"{NAMES[1]},Patchy opacities.\n{NAMES[3]},Opacity.\nother,Opacity.\n"
    )
    found = covid_rural.read(root, phrases=file)
    assert [(case.image_id, case.phrase) for case in found] == [
        (NAMES[1], "Patchy opacities."), (NAMES[1], "Small effusion."), (NAMES[3], "Opacity.")]  # fmt: skip
    assert (found[0].target.pixels() == found[1].target.pixels()).all()
    for content, message in [("image,sentence\nother,Opacity.\n", "names none of the 3 images"),
                             ("image,sentence\na,\n", r"line 2 cannot be read \(no sentence\)"),
                             ("image,text\na,b\n", "no column sentence")]:  # fmt: skip
        file.write_text(content)
        with pytest.raises(UserError, match=message):
            covid_rural.read(root, phrases=file)
    with pytest.raises(UserError, match="exclude each other"):
        evaluate("covid-rural", "--data", root, "--run", "r", "--out", "o", "--phrase", "a", "--phrases", file)
