"""Copies agree however they were made, different pictures do not."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from sharding import pixels
from sharding.leaks import alignment
from tests.sharding.leaks.pictures import COPIES, again_as_jpeg, bordered, cloudy, cropped, darker, scaled, windowed


def agreement(one_HW, other_HW):
    return alignment.agreement(alignment.thumbnail(one_HW), alignment.thumbnail(other_HW))


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_agrees(copy):
    for seed in range(4):
        assert agreement(cloudy(seed), copy(cloudy(seed))) >= alignment.SAME


def test_a_copy_of_a_copy_agrees():
    grey_HW = cloudy(5)
    assert agreement(grey_HW, again_as_jpeg(scaled(windowed(cropped(grey_HW))))) >= alignment.SAME
    assert agreement(grey_HW, darker(bordered(grey_HW))) >= alignment.SAME


def test_a_picture_agrees_with_itself_fully():
    assert agreement(cloudy(3), cloudy(3)) > 0.999


def test_the_overlay_is_found_to_a_part_of_a_pixel():
    """Turned by two degrees, nothing but the last steps can bring the two together."""
    from PIL import Image

    grey_HW = cloudy(8, 300, 300)
    turned_HW = np.asarray(Image.fromarray(grey_HW).rotate(2, Image.Resampling.BILINEAR))[20:-20, 20:-20]
    small, other = alignment.thumbnail(grey_HW), alignment.thumbnail(turned_HW)
    assert alignment._coarse(small, other)[0] < 0.8 < alignment.agreement(small, other)


def test_other_pictures_do_not_agree():
    pictures = [alignment.thumbnail(cloudy(seed)) for seed in range(8)]
    others = [alignment.agreement(one, other) for i, one in enumerate(pictures) for other in pictures[:i]]
    assert max(others) < alignment.REFINE_FROM + 0.1


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 2), (64, 64)])
def test_pictures_without_structure_or_size_agree_with_nothing(shape):
    plain_HW = np.full(shape, 77, np.uint8)
    assert agreement(plain_HW, cloudy(1)) < alignment.SAME
    assert agreement(plain_HW, plain_HW) < alignment.SAME


@pytest.mark.realdata
def test_real_pictures(realdata):
    """Copies of real chests agree; the most alike chests of different people do not; one case stands there twice."""
    folder = realdata / "cxr_notes"
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        names = {row["filename"]: row["patientid"] for row in csv.DictReader(file)}
    twice = ("pneumonia-7.jpg", "streptococcus-pneumoniae-pneumonia-temporal-evolution-1-day1.jpg")
    chosen = [*list(names)[::9], *twice]
    pictures = {name: pixels.read((folder / "images" / name).read_bytes()).grey_HW for name in chosen}
    small = {name: alignment.thumbnail(grey_HW) for name, grey_HW in pictures.items()}
    assert names[twice[0]] != names[twice[1]]
    assert alignment.agreement(small[twice[0]], small[twice[1]]) >= alignment.SAME
    for number, one in enumerate(chosen[:-2]):
        copy = COPIES[number % len(COPIES)]
        assert agreement(pictures[one], copy(pictures[one])) >= alignment.SAME
        for other in chosen[:number]:
            assert names[one] == names[other] or alignment.agreement(small[one], small[other]) < 0.65
