"""Pictures with all that their window cuts off: windowed again they are the 8-bit ones."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image

from sharding import pixels
from tests.sharding.conftest import dicom_bytes as make
from tests.sharding.pixels.test_display import headers, lut, row


def windowed(deep):
    """What a viewer draws: the values between black and white, in 8 bits."""
    shares_HW = (deep.values_HW.astype(np.float64) - deep.black) / (deep.white - deep.black)
    return np.floor(np.clip(shares_HW, 0, 1) * 255 + 0.5)


def test_nothing_is_cut_off_and_the_units_are_those_of_the_window(dicom_bytes):
    deep = pixels.read_full_depth(dicom_bytes(row([0, 100, 150, 200, 4095]), WindowCenter=150.5, WindowWidth=101))
    assert windowed(deep).tolist() == [[0, 0, 128, 255, 255]] == deep.picture.grey_HW.tolist()
    assert len(set(deep.values_HW[0].tolist())) == 5
    assert deep.units == pytest.approx((100, 200), abs=1e-3)


def test_dense_is_bright_and_units_are_rescaled(dicom_bytes):
    """A 12-bit MONOCHROME1 image with a rescale intercept: low values are dense."""
    deep = pixels.read_full_depth(
        dicom_bytes(
            row([0, 1000, 2000, 4095]),
            PhotometricInterpretation="MONOCHROME1",
            RescaleSlope=1,
            RescaleIntercept=-1000,
            WindowCenter=0.5,
            WindowWidth=2001,
        )
    )
    assert deep.units == pytest.approx((1000, -1000), abs=1e-2)
    assert (np.diff(deep.values_HW[0].astype(int)) < 0).all()


def test_a_lookup_table_has_no_units(dicom_bytes):
    deep = pixels.read_full_depth(dicom_bytes(row([0, 1, 2, 3]), VOILUTSequence=lut(0, [0, 1023, 511, 0], 10)))
    assert deep.units is None
    assert windowed(deep).tolist() == [[0, 255, 127, 0]]


def test_padding_is_black_and_outside_the_units(dicom_bytes):
    deep = pixels.read_full_depth(
        dicom_bytes(
            row([10, 20, 30, 4000]),
            PhotometricInterpretation="MONOCHROME1",
            PixelPaddingValue=4000,
            WindowCenter=20.5,
            WindowWidth=21,
        )
    )
    assert windowed(deep)[0, 3] == 0
    assert deep.units == pytest.approx((30, 10), abs=1e-3)


def test_pixels_that_are_not_square_are_enlarged_in_both_depths(dicom_bytes):
    stored_HW = (np.arange(80).reshape(10, 8) * 50).astype(np.uint16)
    deep = pixels.read_full_depth(dicom_bytes(stored_HW, PixelSpacing=[2, 1]))
    assert deep.values_HW.shape == deep.picture.grey_HW.shape == (20, 8)
    assert np.abs(windowed(deep) - deep.picture.grey_HW).max() <= 1


def test_an_8_bit_picture_keeps_its_values():
    grey_HW = np.arange(256, dtype=np.uint8).reshape(16, 16)
    file = io.BytesIO()
    Image.fromarray(grey_HW).save(file, "PNG")
    deep = pixels.read_full_depth(file.getvalue())
    assert (deep.values_HW == grey_HW.astype(np.uint16) * 257).all()
    assert (deep.black, deep.white, deep.units) == (0, 65535, (0, 255))


def test_a_16_bit_picture_keeps_what_the_stretch_cuts_off():
    values_HW = np.concatenate([np.arange(1000), [60000]]).astype(np.uint16).reshape(1, -1)
    file = io.BytesIO()
    Image.fromarray(values_HW).save(file, "PNG")
    deep = pixels.read_full_depth(file.getvalue())
    assert np.abs(windowed(deep) - deep.picture.grey_HW).max() <= 1
    assert deep.values_HW[0, -1] > 2 * deep.values_HW[0, -2] > 0


@settings(max_examples=150, deadline=None)
@given(headers())
def test_windowed_again_it_is_the_picture_whatever_the_header(given_header):
    stored_HW, elements = given_header
    data = make(stored_HW, **elements)
    deep, picture = pixels.read_full_depth(data), pixels.read(data)
    assert (deep.picture.grey_HW == picture.grey_HW).all()
    # A window of a few values in a range of 65,536 has few steps in 16 bits.
    step = 255 / max(1.0, deep.white - deep.black)
    assert np.abs(windowed(deep) - picture.grey_HW).max() <= 1 + step
