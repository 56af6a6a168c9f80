"""Lesions: boxes tight, of a fitting size, on the right side and zone, and visible."""

from __future__ import annotations

import numpy as np
import pytest

from sentalign.phantom.anatomy import SIDES, Chest, draw_body, draw_chest, draw_pose
from sentalign.phantom.lesions import ALLOWED_ZONES, KINDS, LARGEST_SHARE, SMALLEST_SHARE, Lesion, paint
from sentalign.phantom.study import stream


def painted(kind: str, side: str, number: int) -> tuple[Chest, np.ndarray, Lesion] | None:
    rng = stream(9, number)
    chest = draw_chest(rng, draw_body(rng), draw_pose(rng, 256))
    before_HW = chest.picture_HW.copy()
    zones = ALLOWED_ZONES[kind]
    lesion = paint(rng, chest, kind, side, zones[number % len(zones)], [])
    return None if lesion is None else (chest, chest.picture_HW - before_HW, lesion)


def lesions_of(kind: str, side: str, tries: int = 12) -> list[tuple[Chest, np.ndarray, Lesion]]:
    return [drawn for number in range(tries) if (drawn := painted(kind, side, number))]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", KINDS)
def test_boxes_hold_the_visible_change(kind: str, side: str) -> None:
    drawn = lesions_of(kind, side)
    assert len(drawn) >= 8
    for chest, change_HW, lesion in drawn:
        x, y, width, height = lesion.box_xywh
        share = width * height / change_HW.size
        assert SMALLEST_SHARE <= share <= LARGEST_SHARE
        assert 0 <= x <= chest.pose.columns - width
        assert 0 <= y <= chest.pose.rows - height
        inside = np.abs(change_HW[y : y + height, x : x + width])
        assert inside.sum() > 0.80 * np.abs(change_HW).sum()
        assert np.percentile(inside, 95) > 0.10


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", KINDS)
def test_side_and_zone_are_where_the_words_say(kind: str, side: str) -> None:
    for chest, _, lesion in lesions_of(kind, side):
        x, y, width, height = lesion.box_xywh
        row, column = y + height // 2, x + width // 2
        assert float(chest.x_HW[row, column]) * SIDES[side] > 0.03
        level = float(chest.y_HW[row, column])
        lowest, highest = {
            "upper": (-0.30, -0.08),
            "mid": (-0.16, 0.09),
            "lower": (0.0, 0.24),
            "base": (0.0, 0.30),
            "apex": (-0.36, -0.10),
        }[lesion.zone]
        assert lowest < level < highest


def test_pneumothorax_is_dark_and_the_others_are_bright() -> None:
    for kind in KINDS:
        _, change_HW, lesion = lesions_of(kind, "right", tries=3)[0]
        x, y, width, height = lesion.box_xywh
        assert (change_HW[y : y + height, x : x + width].mean() < 0) == (kind == "pneumothorax")


def test_lesions_stay_clear_of_each_other() -> None:
    rng = stream(9, 77)
    chest = draw_chest(rng, draw_body(rng), draw_pose(rng, 256))
    taken: list[Lesion] = []
    for kind in KINDS:
        lesion = paint(rng, chest, kind, "left", ALLOWED_ZONES[kind][0], taken)
        taken += [lesion] if lesion else []
    assert len(taken) >= 3
    seen_HW = np.zeros(chest.picture_HW.shape, int)
    for x, y, width, height in (lesion.box_xywh for lesion in taken):
        seen_HW[y : y + height, x : x + width] += 1
    assert seen_HW.max() == 1


def test_without_room_nothing_is_painted() -> None:
    rng = stream(9, 5)
    chest = draw_chest(rng, draw_body(rng), draw_pose(rng, 256))
    everything = Lesion("nodule", "left", "mid", (0, 0, 256, 256), 0.1)
    before_HW = chest.picture_HW.copy()
    assert paint(rng, chest, "nodule", "left", "mid", [everything]) is None
    np.testing.assert_array_equal(chest.picture_HW, before_HW)
