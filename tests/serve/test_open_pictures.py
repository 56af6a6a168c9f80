"""Pictures in memory: few, and forgotten soon."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from sentalign.serve.access import RefusedError
from sentalign.serve.open_pictures import MOST_FINDINGS, OpenPicture, OpenPictures
from sharding.pixels import FullDepthPicture, Geometry, Picture


def picture(side=10):
    grey_HW = np.zeros((side, side), np.uint8)
    shown = Picture(grey_HW, Geometry.identity(side, side), {})
    return OpenPicture(FullDepthPicture(shown, grey_HW.astype(np.uint16), 0, 1, None), "")


def test_a_picture_is_forgotten_after_its_time_without_use():
    now = [0.0]
    opened = OpenPictures(seconds=10, clock=lambda: now[0])
    first, second = opened.add(picture()), opened.add(picture())
    now[0] = 9
    opened.get(first)
    now[0] = 12
    opened.forget_unused()
    assert len(opened) == 1
    assert opened.get(first)
    with pytest.raises(RefusedError, match="no longer open"):
        opened.get(second)


def test_the_one_unused_for_longest_goes_first():
    opened = OpenPictures(most_bytes=3 * 100 * 2)
    names = [opened.add(picture()), opened.add(picture())]
    opened.get(names[0])
    opened.add(picture())
    assert opened.get(names[0])
    with pytest.raises(RefusedError):
        opened.get(names[1])


def test_nothing_of_a_closed_picture_is_held():
    opened, one = OpenPictures(), picture()
    gone, name = weakref.ref(one), opened.add(one)
    del one
    opened.close(name)
    gc.collect()
    assert gone() is None


def test_a_picture_larger_than_the_bound_is_open_alone():
    opened = OpenPictures(most_bytes=3 * 100 * 2)
    opened.add(picture())
    assert opened.get(opened.add(picture(side=100)))
    assert len(opened) == 1


def test_names_are_long_and_differ():
    opened = OpenPictures()
    names = {opened.add(picture()) for _ in range(10)}
    assert len(names) == 10
    assert min(map(len, names)) >= 20


def test_findings_of_a_picture_are_bounded():
    one = picture()
    for number in range(MOST_FINDINGS + 3):
        one.keep(str(number), None)  # type: ignore[arg-type]
    assert len(one.findings) == MOST_FINDINGS
    assert "0" not in one.findings
