"""Depth that contradicts itself: the picture is shown as it was meant; provenance says what was contradicted."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid

from sharding import pixels
from sharding.contract import Rejected
from sharding.pixels.decode.layout import AS_SAID, PixelLayout, used_bits
from tests.sharding.conftest import dicom_bytes as make
from tests.sharding.pixels.coded import by_gdcm, by_pydicom, frame_of, with_frame

ROW_HW, COLUMN_HW = np.mgrid[:48, :64]
PICTURE_HW = (ROW_HW * 2.6 + COLUMN_HW * 2).astype(np.uint8)  # 0 to 248, smooth
WIDE_HW = PICTURE_HW.astype(np.uint16) * 16 + ROW_HW.astype(np.uint16) % 16
WINDOW_12 = {"WindowCenter": 2048, "WindowWidth": 4096}
WINDOW_8 = {"WindowCenter": 128, "WindowWidth": 256}
PRESENTATION = {"PresentationIntentType": "FOR PRESENTATION"}
CODINGS = (uid.JPEGBaseline8Bit, uid.JPEG2000Lossless, uid.JPEGLSLossless)


def header(stored: int, allocated: int = 16, **elements) -> dict[str, object]:
    return {"BitsAllocated": allocated, "BitsStored": stored, "HighBit": stored - 1, **elements}


def eight_bit_frame(syntax) -> bytes:
    if syntax != uid.JPEGBaseline8Bit:
        return frame_of(by_pydicom(PICTURE_HW, syntax))
    buffer = io.BytesIO()
    Image.fromarray(PICTURE_HW).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def assert_shows(picture: pixels.Picture, meant_HW: np.ndarray) -> None:
    """The greys span the display and follow what was meant."""
    assert np.ptp(picture.grey_HW) > 200
    assert np.corrcoef(picture.grey_HW.ravel(), meant_HW.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("window", [{}, WINDOW_12, WINDOW_8, PRESENTATION], ids=["none", "12", "8", "presentation"])
@pytest.mark.parametrize("stored", [12, 16])
@pytest.mark.parametrize("syntax", CODINGS, ids=lambda syntax: syntax.name[:12])
def test_a_frame_of_8_bits_under_a_deeper_header(syntax, stored, window):
    picture = pixels.read(with_frame(PICTURE_HW, eight_bit_frame(syntax), syntax, **header(stored), **window))
    assert_shows(picture, PICTURE_HW)
    assert picture.provenance["depth"] == f"8 bits in the frame, {stored} said"
    assert picture.provenance["bits"] == "8"
    assert abs(picture.grey_HW.astype(int) - PICTURE_HW).max() <= 3
    if window == WINDOW_12:
        assert picture.provenance["voi"] == "full range, window of another depth"


@pytest.mark.parametrize("window", [{}, WINDOW_12, WINDOW_8, PRESENTATION], ids=["none", "12", "8", "presentation"])
@pytest.mark.parametrize("allocated", [8, 16])
@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.JPEGLosslessSV1], ids=str)
def test_a_frame_of_12_bits_under_an_8_bit_header(syntax, allocated, window):
    coder = by_gdcm if syntax == uid.JPEGLosslessSV1 else by_pydicom
    name = "JPEGLosslessProcess14_1" if syntax == uid.JPEGLosslessSV1 else syntax
    frame = frame_of(coder(WIDE_HW, name, **header(12)))
    picture = pixels.read(with_frame(PICTURE_HW, frame, syntax, **header(8, allocated), **window))
    assert_shows(picture, WIDE_HW)
    assert "8" in picture.provenance["depth"]
    assert picture.provenance["bits"] == ("16" if syntax == uid.JPEGLosslessSV1 else "12")  # what the encoder writes
    if window == WINDOW_8:
        assert picture.provenance["voi"] == "window beside all values"


@pytest.mark.parametrize("window", [{}, WINDOW_12, PRESENTATION], ids=["none", "12", "presentation"])
def test_values_at_the_bottom_of_a_word_that_are_said_to_be_at_the_top(window):
    right = pixels.read(make(WIDE_HW, **header(12), **window))
    picture = pixels.read(make(WIDE_HW, BitsStored=12, HighBit=15, **window))
    assert picture.grey_HW.tolist() == right.grey_HW.tolist()
    assert picture.provenance["depth"] == "values in the low bits, said to be in the high ones"


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("window", [{}, WINDOW_12, PRESENTATION], ids=["none", "12", "presentation"])
def test_values_at_the_top_of_a_word_that_are_said_to_be_at_the_bottom(window, signed):
    values_HW = WIDE_HW.astype(np.int16) - 2048 if signed else WIDE_HW
    window = window | ({"WindowCenter": 0} if signed and "WindowCenter" in window else {})
    right = pixels.read(make(values_HW, **header(12), **window))
    picture = pixels.read(make(values_HW << 4, **header(12), **window))
    assert picture.grey_HW.tolist() == right.grey_HW.tolist()
    assert picture.provenance["depth"] == "values in the high bits, said to be in the low ones"


def test_values_where_the_header_says_are_as_said():
    for data in (make(WIDE_HW << 4, BitsStored=12, HighBit=15), make(WIDE_HW, **header(12)), make(PICTURE_HW)):
        assert pixels.read(data).provenance["depth"] == AS_SAID


def test_values_of_more_bits_than_are_stored():
    deep_HW = WIDE_HW * 16 + 5
    picture = pixels.read(make(deep_HW, **header(12)))
    assert_shows(picture, deep_HW)
    assert picture.provenance["depth"] == "values of more than 12 bits"


@pytest.mark.parametrize("elements", [{}, WINDOW_12, PRESENTATION])
def test_more_bits_stored_than_allocated(elements):
    picture = pixels.read(make(PICTURE_HW, BitsStored=12, HighBit=11, **elements))
    assert_shows(picture, PICTURE_HW)
    assert picture.provenance["depth"] == "8 bits allocated, 12 said"


def test_no_bits_stored_is_a_missing_tag():
    with pytest.raises(Rejected, match="BitsStored"):
        pixels.read(make(PICTURE_HW, BitsStored=None))


@pytest.mark.parametrize("top", [255, 1000])
def test_few_bits_of_a_deep_word_are_stretched_and_said(top):
    values_HW = (PICTURE_HW.astype(np.uint32) * top // 255).astype(np.uint16)
    picture = pixels.read(make(values_HW, **PRESENTATION))
    assert_shows(picture, values_HW)
    assert picture.provenance | {"voi_source": "percentile", "voi": "values of less depth than said"} == (
        picture.provenance
    )


def test_colour_of_few_bits_in_a_deep_word_is_stretched_and_said():
    rgb_HWC = np.stack([PICTURE_HW, PICTURE_HW // 2, PICTURE_HW // 3], axis=-1).astype(np.uint16)
    picture = pixels.read(make(rgb_HWC, PhotometricInterpretation="RGB", PlanarConfiguration=0))
    assert_shows(picture, PICTURE_HW)
    assert picture.provenance["voi"] == "values of less depth than said"


def test_an_unexposed_picture_stays_as_it_is():
    noise_HW = np.random.default_rng(0).integers(20, 28, (60, 80)).astype(np.uint16)
    picture = pixels.read(make(noise_HW, **header(12), **PRESENTATION))
    assert picture.grey_HW.max() <= 2
    assert picture.provenance["voi"] == "full range"


@given(st.integers(0, 2**32 - 1), st.integers(2, 15), st.booleans(), st.integers(0, 1))
def test_values_that_fit_are_never_changed(seed, bits, signed, at_top):
    """The twin: each value by itself, with Python's integers."""
    below = (16 - bits) * at_top
    low = -(2 ** (bits - 1)) if signed else 0
    values_HW = np.random.default_rng(seed).integers(low, low + 2**bits, (6, 7))
    stored_HW = (values_HW << below).astype(np.int16 if signed else np.uint16)
    layout = PixelLayout(6, 7, 1, 16, bits, below, signed, "MONOCHROME2")
    found_HW, held = used_bits(stored_HW, layout, 16)
    assert held.depth == AS_SAID
    assert found_HW.tolist() == [[int(value) // 2**below for value in row] for row in stored_HW.tolist()]


CENTRES = st.sampled_from([None, (128, 256), (2048, 4096), (32768, 65536), (400, 300)])


@settings(max_examples=200)
@given(
    st.integers(8, 16), st.booleans(), st.integers(1, 20), st.integers(0, 20), st.booleans(), CENTRES, st.booleans()
)  # fmt: skip
def test_no_header_makes_a_picture_nearly_black_in_silence(bits, at_top, said, high, signed, centre, presentation):
    """A smooth picture of `bits` at one end of the word, under any header: it is shown, or something is said."""
    values_HW = (PICTURE_HW.astype(np.uint32) * (2**bits - 1) // 248).astype(np.uint16) << (16 - bits) * at_top
    elements: dict[str, object] = {"BitsStored": said, "HighBit": high, "PixelRepresentation": int(signed)}
    elements |= PRESENTATION if presentation else {}
    elements |= {"WindowCenter": centre[0], "WindowWidth": centre[1]} if centre else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = pixels.read(make(values_HW, **elements))
    said_something = picture.provenance["depth"] != AS_SAID or picture.provenance["voi_source"] == "percentile"
    dark, bright = np.percentile(picture.grey_HW, [0.5, 99.5])
    assert said_something or bright - dark >= 60
