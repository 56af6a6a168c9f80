"""Files are told by content, refused with the first reason, and never crash the reader."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sharding import pixels
from sharding.contract import Reason, Rejected


def reason_of(data: bytes, name: str = "x.dcm") -> tuple[Reason, str]:
    with pytest.raises(Rejected) as caught:
        pixels.read(data, name)
    return caught.value.reason, caught.value.message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE HTML>\n<html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"\x08\x00\x05\x00" * 100, "preamble"),
        (b"\xff\xd8\xff\xe0", "header cannot be read"),
    ],
)
def test_what_is_no_image_is_a_parse_fault(data, words):
    reason, message = reason_of(data)
    assert reason == Reason.PARSE
    assert words in message


def test_missing_elements_are_named(dicom_bytes):
    assert reason_of(dicom_bytes(Rows=None)) == (Reason.REQUIRED_TAGS, "missing or empty: Rows")
    assert reason_of(dicom_bytes(PixelData=None)) == (Reason.REQUIRED_TAGS, "missing or empty: PixelData")


@pytest.mark.parametrize("share", [0.05, 0.4, 0.7, 0.9])
def test_a_file_that_stops_early_is_refused(dicom_bytes, share):
    data = dicom_bytes(np.zeros((64, 64), np.uint16))
    assert reason_of(data[: int(len(data) * share)])[0] in (Reason.PARSE, Reason.REQUIRED_TAGS, Reason.DECODE)


def test_cut_off_pixel_data_is_a_decode_fault(dicom_bytes):
    assert reason_of(dicom_bytes(np.zeros((64, 64), np.uint16))[:-100])[0] == Reason.DECODE


@given(st.integers(0, 2**32 - 1))
def test_damaged_files_are_read_or_rejected_quietly(seed):
    from pydicom.data import get_testdata_file

    random = np.random.default_rng(seed)
    with open(str(get_testdata_file("MR_small_RLE.dcm")), "rb") as file:
        data = bytearray(file.read())
    for place in random.integers(132, len(data), 8):
        data[place] = random.integers(256)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(Rejected):
            assert pixels.read(bytes(data)).grey_HW.dtype == np.uint8


def test_messages_hold_no_header_value(dicom_bytes):
    data = dicom_bytes(np.zeros((64, 64), np.uint16), PatientName="Zimmermann^Otto", PatientID="4711")[:-100]
    assert "Zimmermann" not in reason_of(data)[1]


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_of_png_becomes_the_same_grey(mode):
    grey_HW = np.array([[0, 255], [255, 0]], np.uint8)
    picture = pixels.read(encoded(Image.fromarray(grey_HW).convert(mode)))
    assert picture.grey_HW.tolist() == grey_HW.tolist()
    assert picture.provenance["codec"] == "PNG"


def test_what_is_transparent_is_black():
    rgba_HWC = np.array([[[255, 255, 255, 255], [255, 255, 255, 0]]], np.uint8)
    assert pixels.read(encoded(Image.fromarray(rgba_HWC))).grey_HW.tolist() == [[255, 0]]


def test_sixteen_bit_png_is_stretched():
    picture = pixels.read(encoded(Image.fromarray(np.arange(1000, 3000, dtype=np.uint16).reshape(40, 50))))
    assert (picture.grey_HW.min(), picture.grey_HW.max()) == (0, 255)
    assert picture.provenance["voi_source"] == "percentile"


def test_jpeg_is_turned_as_its_exif_flag_says():
    image = Image.fromarray(np.zeros((8, 16), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    picture = pixels.read(encoded(image, "JPEG", exif=exif))
    assert picture.grey_HW.shape == (16, 8)
    assert (picture.geometry.rows, picture.geometry.columns) == (16, 8)


def test_a_cut_off_jpeg_is_a_decode_fault():
    noise_HW = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    assert reason_of(encoded(Image.fromarray(noise_HW), "JPEG")[:-500], "x.jpg")[0] == Reason.DECODE


def test_a_picture_bomb_is_refused_before_decoding(dicom_bytes):
    png = b"\x89PNG\r\n\x1a\n"
    for chunk in (b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(b"\0" * 99)):
        png += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    assert reason_of(png, "x.png") == reason_of(dicom_bytes(Rows=60000, Columns=60000))
