"""Files are told by content, refused with the first reason, and never crash the reader."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from sharding import pixels
from sharding.contract import Reason, Rejected
from tests.sharding.pixels.coded import saved


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


def test_messages_hold_no_header_value(dicom_bytes):
    data = dicom_bytes(np.zeros((64, 64), np.uint16), PatientName="Zimmermann^Otto", PatientID="4711")[:-100]
    assert "Zimmermann" not in reason_of(data)[1]


ROWS = bytes.fromhex("28001000")  # the tag, before which others are put


def before_rows(data: bytes, inserted: bytes) -> bytes:
    place = data.index(ROWS)
    return data[:place] + inserted + data[place:]


def test_an_element_longer_than_the_file_is_a_parse_fault(dicom_bytes):
    """Not a missing element: pydicom takes what is there for the value and says nothing."""
    data = before_rows(dicom_bytes(), struct.pack("<HH2sHI", 0x19, 0x1000, b"OB", 0, 10**6))
    assert reason_of(data) == (Reason.PARSE, "the DICOM file cannot be parsed to its end")


def test_padding_behind_the_last_element_is_no_fault(dicom_bytes):
    assert pixels.read(dicom_bytes() + b"\0" * 5).grey_HW.shape == (8, 8)


def deflated(data: bytes, level: int = 9) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return saved(dataset)


def test_a_deflated_file_is_read(dicom_bytes):
    picture = pixels.read(deflated(dicom_bytes()))
    assert picture.grey_HW.tolist() == pixels.read(dicom_bytes()).grey_HW.tolist()
    assert picture.provenance["codec"].startswith("Deflated")


def test_a_deflated_file_that_is_cut_off_is_a_parse_fault(dicom_bytes):
    assert reason_of(deflated(dicom_bytes())[:-20]) == (Reason.PARSE, "the deflated file is cut off")


def test_a_deflated_bomb_is_not_inflated(dicom_bytes):
    data = deflated(dicom_bytes())
    stream = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    header = data[: data.index(b"1.2.840.10008.1.2.1.99") + 400]
    meta_end = 144 + pydicom.dcmread(io.BytesIO(data)).file_meta.FileMetaInformationGroupLength
    bomb = header[:meta_end] + b"".join(stream.compress(bytes(2**24)) for _ in range(20)) + stream.flush()
    tracemalloc.start()
    assert reason_of(bomb)[1] == "the deflated file inflates to more than any image file has"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(bomb) < 400_000
    assert peak < 3 * 2**27


@pytest.mark.parametrize("depth", [300, 30_000])
def test_sequences_without_a_bottom_are_a_parse_fault(dicom_bytes, depth):
    level = struct.pack("<HH2sHI", 0x19, 0x1000, b"SQ", 0, 0xFFFFFFFF) + bytes.fromhex("feff00e0ffffffff")
    assert reason_of(before_rows(dicom_bytes(), level * depth))[0] == Reason.PARSE


def test_items_without_end_are_refused(dicom_bytes):
    """Each would cost a hundred times its bytes in memory."""
    items = bytes.fromhex("feff00e000000000") * 260_000 + bytes.fromhex("feffdde000000000")
    sequence = struct.pack("<HH2sHI", 0x19, 0x1000, b"SQ", 0, 0xFFFFFFFF) + items
    assert reason_of(before_rows(dicom_bytes(), sequence))[0] == Reason.PARSE
