"""Compressed frames are measured by their own headers, and nothing in them makes the measuring fail."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid

from sharding.pixels.decode import codestream
from sharding.pixels.decode.codestream import Codestream, bare_j2k, has_too_many_scans, of_j2k, of_jpeg
from tests.sharding.pixels.coded import EXTENDED_12, HTJ2K_12, LOSSLESS_12, LOSSLESS_16, by_pydicom, frame_of

GREY = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)


def jpeg(mode: str = "L", **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (50, 40), 7).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (LOSSLESS_12, Codestream(8, 12, 1, 12, lossless=True)),
        (LOSSLESS_16, Codestream(8, 12, 1, 16, lossless=True)),
        (EXTENDED_12, Codestream(8, 12, 1, 12)),
        (jpeg(), Codestream(40, 50, 1, 8)),
        (jpeg("RGB"), Codestream(40, 50, 3, 8)),
        (jpeg("RGB", progressive=True), Codestream(40, 50, 3, 8, one_pass=False)),
        (jpeg(comment=b"\xff\xc0" * 20), Codestream(40, 50, 1, 8)),
        (frame_of(by_pydicom(GREY, uid.JPEGLSLossless)), Codestream(40, 50, 1, 16)),
    ],
)
def test_jpeg_headers(frame, expected):
    assert of_jpeg(frame) == expected


def test_j2k_headers():
    assert of_j2k(HTJ2K_12) == Codestream(8, 12, 1, 16)  # of 12 bits in use
    assert of_j2k(frame_of(by_pydicom(GREY, uid.JPEG2000Lossless))) == Codestream(40, 50, 1, 16)


def test_the_boxes_of_jp2_are_left_out():
    assert bare_j2k(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(3000) + HTJ2K_12) == HTJ2K_12
    assert bare_j2k(HTJ2K_12) is HTJ2K_12
    assert of_j2k(bare_j2k(b"\0\0\0\x0cjP  \r\n\x87\n")) is None


def test_j2k_of_unequal_components_has_no_header():
    rgb_HWC = np.zeros((40, 50, 3), np.uint8)
    frame = frame_of(by_pydicom(rgb_HWC, uid.JPEG2000Lossless, PhotometricInterpretation="RGB", PlanarConfiguration=0))
    assert of_j2k(frame) == Codestream(40, 50, 3, 8)
    assert of_j2k(frame[:46] + b"\2" + frame[47:]) is None  # the second component at half the width


def test_fill_bytes_and_single_markers_are_stepped_over():
    assert of_jpeg(b"\xff\xd8\xff\xff\xff\xd0" + EXTENDED_12[2:]) == of_jpeg(EXTENDED_12)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\xd8\xff\xda\0\2"]))
@example(b"", b"\xff\xd8\xff\xc0\0\x0b\x08\0\x08\0\x08\x01\x01\x11\0\xff\xda\0\2")
def test_any_bytes_can_be_asked(tail, head):
    for read in (of_jpeg, of_j2k):
        found = read(head + tail)
        assert found is None or found.samples >= 0
    assert not has_too_many_scans(head + tail)


def test_scans_are_counted_where_there_may_be_many():
    scans = b"\xff\xda\0\2" * (codestream.MAX_SCANS + 1)
    assert has_too_many_scans(jpeg("RGB", progressive=True) + scans)
    assert not has_too_many_scans(jpeg("RGB", progressive=True))
    assert not has_too_many_scans(jpeg("L") + scans)  # one scan is read, the rest is not looked at


def test_remarks_are_left_out_and_nothing_else():
    plain = jpeg("RGB")
    remarked = plain[:2] + b"\xff\xe1\0\x06ab\xff\xda" + b"\xff\xfe\0\4no" + plain[2:]
    kept = codestream.without_metadata(remarked)
    assert b"JFIF" in remarked
    assert b"JFIF" not in kept
    assert of_jpeg(kept) == of_jpeg(plain)
    assert Image.open(io.BytesIO(kept)).tobytes() == Image.open(io.BytesIO(plain)).tobytes()
    assert codestream.without_metadata(kept) is kept
