"""Palettes of every kind and byte order give the colours that they hold, never a nearly black picture."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import uid
from pydicom.pixels import apply_color_lut

from sharding import pixels
from sharding.contract import Reason, Rejected
from sharding.pixels.decode import palette
from tests.sharding.conftest import dicom_bytes
from tests.sharding.pixels.coded import saved

VALUES_HW = np.arange(256, dtype=np.uint8).reshape(16, 16)
RAMPS = (np.arange(256), np.arange(255, -1, -1), np.arange(256) // 2)  # red, green, blue of 8 bits


def stored_as(entries_E: np.ndarray, kind: str, order: str) -> bytes:
    if kind == "16 bits":
        return (entries_E * 257).astype(f"{order}u2").tobytes()
    if kind == "8 bits, a word each":
        return entries_E.astype(f"{order}u2").tobytes()
    # Two to a word, the first in its low byte.
    words = entries_E[::2] + 256 * entries_E[1::2]
    return words.astype(f"{order}u2").tobytes()


def palette_file(kind: str, big_endian: bool, said: int, values_HW=VALUES_HW, first: int = 0, **elements) -> bytes:
    tables: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, entries_E in zip(palette.COLOURS, RAMPS, strict=True):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, first, said]
        tables[f"{name}PaletteColorLookupTableData"] = stored_as(entries_E, kind, ">" if big_endian else "<")
    data = dicom_bytes(values_HW, **tables, **elements)
    return in_big_endian(data) if big_endian else data


def in_big_endian(data: bytes) -> bytes:
    """The same file in Explicit VR Big Endian, its bytes of 8-bit pixels and tables as they are."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    if dataset.BitsAllocated == 16:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    for element in dataset.iterall():
        assert element.value is not None  # converts all before the byte order changes
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=False, enforce_file_format=True)
    return buffer.getvalue()


def luminance() -> list[list[int]]:
    red, green, blue = (ramp.astype(int) for ramp in RAMPS)
    return (((19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16).reshape(16, 16)).tolist()


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    ("kind", "said", "note"),
    [
        ("16 bits", 16, None),
        ("16 bits", 8, "palette of 16 bits, 8 said"),
        ("8 bits, packed", 8, None),
        ("8 bits, packed", 16, "palette of 8 bits, 16 said"),
        ("8 bits, a word each", 8, None),
        ("8 bits, a word each", 16, "palette of 8 bits, 16 said"),
    ],
)
def test_entries_of_every_size_and_byte_order(kind, said, note, big_endian):
    picture = pixels.read(palette_file(kind, big_endian, said))
    assert abs(picture.grey_HW.astype(int) - luminance()).max() <= 1  # of 16 bits, rounded once more
    assert picture.provenance.get("voi") == note


@pytest.mark.parametrize("big_endian", [False, True])
def test_pixels_beyond_a_table_of_8_bits_have_its_last_colour(big_endian):
    values_HW = np.array([[0, 255, 256, 300, 65535]], np.uint16)
    picture = pixels.read(palette_file("8 bits, packed", big_endian, 8, values_HW))
    flat = [grey for row in luminance() for grey in row]
    assert picture.grey_HW.tolist() == [[flat[0], flat[255], flat[255], flat[255], flat[255]]]


def test_a_palette_from_below_zero():
    values_HW = np.array([[-10, -9, 0]], np.int16)
    picture = pixels.read(palette_file("8 bits, packed", False, 8, values_HW, first=-10))
    flat = [grey for row in luminance() for grey in row]
    assert picture.grey_HW.tolist() == [[flat[0], flat[1], flat[10]]]


def test_a_negative_first_value_that_is_written_as_unsigned():
    dataset = pydicom.Dataset()
    for tag, name in ((0x00281101, "Red"), (0x00281102, "Green"), (0x00281103, "Blue")):
        dataset.add_new(tag, "US", [256, 2**16 - 10, 8])
        setattr(dataset, f"{name}PaletteColorLookupTableData", np.arange(256).astype(np.uint8).tobytes())
    found = palette.Palette.of(dataset)
    rgb_VC = found.colours(np.array([-10, -9, 0], np.int16))
    assert (rgb_VC[:, 0].tolist(), found.white, found.note) == ([0, 1, 10], 255, "")


def test_a_palette_that_is_too_short_is_named():
    data = palette_file("8 bits, packed", False, 8)
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.GreenPaletteColorLookupTableData = b"\0" * 100
    with pytest.raises(Rejected, match="palette is shorter") as caught:
        pixels.read(saved(dataset))
    assert caught.value.reason == Reason.DECODE


@given(st.integers(2, 300), st.sampled_from([8, 16]), st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_little_endian_tables_as_pydicom_reads_them(count, bits, first, seed):
    """pydicom's own, where it can be: neither 8-bit tables of odd length nor values beyond 255 in them."""
    random = np.random.default_rng(seed)
    dataset = pydicom.Dataset()
    count -= count % 2
    for colour in palette.COLOURS:
        table = random.integers(0, 2**bits, count).astype(f"<u{bits // 8}")
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [count, first, bits])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", table.tobytes())
    values_V = random.integers(0, 256 if bits == 8 else 600, 50).astype(np.uint16)
    if bits == 8 and count > 256:
        return
    found = palette.Palette.of(dataset)
    assert found.colours(values_V).tolist() == apply_color_lut(values_V, dataset).tolist()
    assert found.white in (255, 2**bits - 1)


@given(st.binary(min_size=2, max_size=80), st.integers(1, 90), st.booleans())
def test_any_bytes_are_entries_or_too_few(data, count, little_endian):
    found = palette.entries(data, count, little_endian)
    assert len(found) in (len(data), len(data) // 2)
