"""Copies of a picture keep its hash, other pictures have others, and every machine finds the same digits."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding.leaks import perceptual_hash
from tests.sharding.leaks.pictures import COPIES, cloudy


def plain_of(grey_HW):
    """The hash in Python's integers, box by box."""
    small = plain_boxes(grey_HW.tolist(), 128)
    coarse = plain_boxes(small, 64)
    top, bottom = plain_busy(coarse)
    left, right = plain_busy([list(line) for line in zip(*coarse[top:bottom], strict=True)])
    rows, columns, height, width = len(coarse), len(coarse[0]), len(small), len(small[0])
    inside = [
        line[left * width // columns : right * width // columns]
        for line in small[top * height // rows : bottom * height // rows]
    ]
    cells = plain_sampled(inside)
    if max(map(max, cells)) - min(map(min, cells)) < 48:
        return ""
    middle = plain_blurred(cells)
    detail = [[a - b for a, b in zip(*lines, strict=True)] for lines in zip(cells, middle, strict=True)]
    power = plain_blurred([[value * value for value in line] for line in detail])
    contrast = [
        [(value << 8) // math.isqrt(around + 48 * 48) for value, around in zip(*lines, strict=True)]
        for lines in zip(detail, power, strict=True)
    ]
    return plain_digits(contrast)


def plain_boxes(image, cells):
    down, across = max(1, len(image) // cells), max(1, len(image[0]) // cells)
    lines = [
        [sum(column) // down for column in zip(*image[first : first + down], strict=True)]
        for first in range(0, len(image) // down * down, down)
    ]
    columns = range(0, len(image[0]) // across * across, across)
    return [[sum(line[first : first + across]) // across for first in columns] for line in lines]


def plain_busy(lines):
    ordered = [sorted(line) for line in lines]
    cells, count = len(ordered[0]), len(ordered)
    spread = [line[cells * 85 // 100] - line[cells * 5 // 100] for line in ordered]
    usual = sorted(spread)[count * 5 // 8]
    busy = [place for place, value in enumerate(spread) if 4 * value > max(usual, 12)]
    return (busy[0], busy[-1] + 1) if len(busy) > count // 4 else (0, count)


def plain_sampled(image):
    height, width = len(image), len(image[0])

    def share(cell, side, place):
        return max(0, min((cell + 1) * side, (place + 1) * 32) - max(cell * side, place * 32))

    along = [
        [sum(share(row, height, y) * image[y][x] for y in range(height) if share(row, height, y)) for x in range(width)]
        for row in range(32)
    ]
    return [
        [
            16 * sum(share(cell, width, x) * line[x] for x in range(width) if share(cell, width, x)) // (height * width)
            for cell in range(32)
        ]
        for line in along
    ]


def plain_blurred(cells):
    def sums(lines):
        return [[sum(line[min(31, max(0, x + d))] for d in range(-3, 4)) for x in range(32)] for line in lines]

    def turned(lines):
        return [list(line) for line in zip(*lines, strict=True)]

    return [[value // 7**4 for value in line] for line in turned(sums(sums(turned(sums(sums(cells))))))]


def plain_digits(contrast):
    places = sorted((y * y + x * x, y, x) for y in range(32) for x in range(32))[1:97]
    cosines = [[round(math.cos(math.pi * k * (2 * n + 1) / 64) * 4096) for n in range(32)] for k in range(32)]
    half = [[sum(cosines[u][n] * contrast[n][x] for n in range(32)) for x in range(32)] for u in range(12)]
    waves = [sum(half[y][n] * cosines[x][n] for n in range(32)) >> 20 for _, y, x in places]
    length = max(1, math.isqrt(sum(wave * wave for wave in waves)))
    steps = [4 * wave * math.isqrt(96 << 20) // (length << 10) for wave in waves]
    return "".join(f"{min(15, max(0, step + 8)):x}" for step in steps)


@pytest.mark.parametrize(("height", "width"), [(40, 33), (129, 260)])
def test_it_is_what_whole_numbers_of_python_give(height, width):
    grey_HW = cloudy(height, height, width)
    assert perceptual_hash.of(grey_HW) == plain_of(grey_HW)


@settings(max_examples=10)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_any_small_picture_has_the_digits_of_the_plain_one(height, width, seed):
    grey_HW = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    found = perceptual_hash.of(grey_HW)
    assert found == plain_of(grey_HW)
    assert found == "" or re.fullmatch(perceptual_hash.PATTERN, found)


def test_the_digits_of_a_known_picture_are_these():
    rows_H1, columns_1W = np.arange(300)[:, None], np.arange(200)[None, :]
    grey_HW = ((rows_H1 * columns_1W) // 40 % 256).astype(np.uint8)
    assert perceptual_hash.of(grey_HW) == (
        "333445583355aa2266bbb2aa277cc6772188bb44442197955a933dd11abbb76a55ccee22bb52254489cb61442cc3200d"
    )


@pytest.mark.parametrize("value", [0, 90, 255])
def test_a_picture_without_structure_has_no_hash(value):
    assert perceptual_hash.of(np.full((200, 300), value, np.uint8)) == ""


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_nearer_than_any_other_picture(copy):
    pictures = [cloudy(seed) for seed in range(12)]
    digits = [perceptual_hash.of(grey_HW) for grey_HW in pictures]
    nearest_other = min(perceptual_hash.distance(one, other) for one in digits for other in digits if one != other)
    assert max(
        perceptual_hash.distance(digit, perceptual_hash.of(copy(p))) for digit, p in zip(digits, pictures, strict=True)
    ) < (0.6 * nearest_other)


def test_the_border_goes_with_what_is_written_in_it():
    grey_HW = cloudy(1)
    framed_HW = np.pad(grey_HW, [(40, 20), (30, 50)])
    framed_HW[5:15, 10:40] = 255
    rows, columns = perceptual_hash.content(framed_HW).shape
    assert abs(rows - grey_HW.shape[0]) <= 6
    assert abs(columns - grey_HW.shape[1]) <= 6


def test_a_picture_that_is_mostly_border_is_not_cut_to_its_marks():
    grey_HW = np.zeros((300, 300), np.uint8)
    grey_HW[100:130, 100:260] = 200
    assert perceptual_hash.content(grey_HW).shape == (300, 300)


def test_distances_are_those_of_the_vectors():
    one, other = perceptual_hash.of(cloudy(1)), perceptual_hash.of(cloudy(2))
    a_F, b_F = perceptual_hash.vectors([one, other])
    assert a_F.tolist() == [int(digit, 16) - 7.5 for digit in one]
    cosine = (a_F * b_F).sum() / math.sqrt((a_F**2).sum() * (b_F**2).sum())
    assert perceptual_hash.distance(one, other) == pytest.approx(1 - cosine)
    assert perceptual_hash.distance(one, one) == pytest.approx(0, abs=1e-12)


def test_what_has_no_structure_is_like_nothing():
    with pytest.raises(ValueError, match="without structure"):
        perceptual_hash.distance("", perceptual_hash.of(cloudy(1)))
