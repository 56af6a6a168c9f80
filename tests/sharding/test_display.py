"""The display chain, step by step and in its order (DICOM PS3.4 N.2)."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset, Sequence

from sharding import pixels
from sharding.contract import Reason, Rejected
from sharding.display import stretch, window


def lut(first: int, values: list[int], bits: int) -> Sequence:
    item = Dataset()
    item.add_new(0x00283002, "US", [len(values), first, bits])
    item.add_new(0x00283003, "LO", "test")
    item.add_new(0x00283006, "US", values)
    return Sequence([item])


def row(values, dtype=np.uint16):
    return np.array([values], dtype)


def test_the_window_is_linear_between_its_ends(dicom_bytes):
    picture = pixels.read(dicom_bytes(row([0, 100, 150, 200, 4095]), WindowCenter=150.5, WindowWidth=101))
    assert picture.grey_HW.tolist() == [[0, 0, 128, 255, 255]]
    assert picture.provenance["voi_source"] == "window"


def test_the_first_of_several_windows_serves(dicom_bytes):
    stored_HW = row([0, 100, 200])
    first = pixels.read(dicom_bytes(stored_HW, WindowCenter=[100, 5], WindowWidth=[50, 10]))
    alone = pixels.read(dicom_bytes(stored_HW, WindowCenter=100, WindowWidth=50))
    assert first.grey_HW.tolist() == alone.grey_HW.tolist()


def test_window_functions_of_the_standard():
    values_HW = np.array([[0, 100, 200]], np.float32)
    assert window(values_HW, 100, 200, "LINEAR_EXACT").tolist() == [[0, 0.5, 1]]
    np.testing.assert_allclose(window(values_HW, 100, 200, "SIGMOID"), [[0.1192, 0.5, 0.8808]], atol=1e-4)
    assert window(values_HW, 100, 1, "LINEAR").tolist() == [[0, 1, 1]]


def test_rescale_comes_before_the_window(dicom_bytes):
    rescaled = dicom_bytes(row([0, 50, 100]), RescaleSlope=2, RescaleIntercept=-100, WindowCenter=0.5, WindowWidth=201)
    assert pixels.read(rescaled).grey_HW.tolist() == [[0, 128, 255]]


def test_a_modality_lut_comes_before_the_window(dicom_bytes):
    data = dicom_bytes(
        row([0, 1, 2]), ModalityLUTSequence=lut(0, [100, 200, 300], 16), WindowCenter=200.5, WindowWidth=201
    )
    assert pixels.read(data).grey_HW.tolist() == [[0, 128, 255]]


def test_a_voi_lut_goes_before_a_window(dicom_bytes):
    data = dicom_bytes(row([0, 1, 2, 3]), VOILUTSequence=lut(0, [0, 1023, 511, 0], 10), WindowCenter=1, WindowWidth=2)
    picture = pixels.read(data)
    assert picture.grey_HW.tolist() == [[0, 255, 127, 0]]
    assert picture.provenance["voi_source"] == "lut"


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME2", "IDENTITY", False),
    ],
)
def test_inversion_is_the_last_step_and_happens_once(dicom_bytes, photometric, shape, inverted):
    elements = {"PresentationLUTShape": shape} if shape else {}
    data = dicom_bytes(
        row([0, 100]), PhotometricInterpretation=photometric, WindowCenter=50.5, WindowWidth=101, **elements
    )
    picture = pixels.read(data)
    assert picture.grey_HW.tolist() == ([[255, 0]] if inverted else [[0, 255]])
    assert picture.provenance["inverted"] == ("yes" if inverted else "no")


def test_padding_is_black_after_inversion_and_outside_the_percentiles(dicom_bytes):
    values = [0] * 10 + list(range(1000, 1100))
    padded = pixels.read(dicom_bytes(row(values), PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0))
    assert padded.grey_HW[0, :10].max() == 0
    assert padded.grey_HW[0, 10] == 255
    assert padded.grey_HW[0, -1] == 0
    assert padded.grey_HW[0, 60] == pytest.approx(128, abs=3)


def test_a_range_of_padding_values(dicom_bytes):
    values = [-2000, -1990, 0, 100]
    picture = pixels.read(
        dicom_bytes(
            row(values, np.int16),
            PixelPaddingValue=-2000,
            PixelPaddingRangeLimit=-1990,
            WindowCenter=-900,
            WindowWidth=4000,
        )
    )
    assert picture.grey_HW[0, :2].tolist() == [0, 0]
    assert picture.grey_HW[0, 2] > 0


@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
def test_ready_for_presentation_spans_the_stored_bits(dicom_bytes, bits):
    top = 2**bits - 1
    picture = pixels.read(
        dicom_bytes(
            row([0, top // 2, top]), BitsStored=bits, HighBit=bits - 1, PresentationIntentType="FOR PRESENTATION"
        )
    )
    assert picture.grey_HW.tolist() == [[0, 127, 255]]
    assert picture.provenance | {"bits": str(bits), "voi_source": "none"} == picture.provenance


def test_without_a_window_percentiles_serve(dicom_bytes):
    picture = pixels.read(dicom_bytes(np.arange(1000, 2000, dtype=np.uint16).reshape(10, 100)))
    assert picture.provenance["voi_source"] == "percentile"
    assert (picture.grey_HW.min(), picture.grey_HW.max()) == (0, 255)


def test_a_window_beside_the_values_is_not_followed_into_blackness(dicom_bytes):
    picture = pixels.read(dicom_bytes(row([40000, 50000, 60000]), WindowCenter=100, WindowWidth=50))
    assert picture.provenance["voi_source"] == "percentile"
    assert len(np.unique(picture.grey_HW)) == 3


def test_a_constant_image_is_black():
    assert stretch(np.full((2, 2), 7, np.float32), None).max() == 0


def test_rgb_becomes_luminance(dicom_bytes):
    rgb_HWC = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    picture = pixels.read(dicom_bytes(rgb_HWC, PhotometricInterpretation="RGB", PlanarConfiguration=0))
    assert picture.grey_HW.tolist() == [[76, 150, 29]]
    assert picture.provenance["luminance"] == "Rec. 601"


def test_a_palette_becomes_luminance(dicom_bytes):
    tables = {}
    for colour, values in (("Red", [0, 65535]), ("Green", [0, 65535]), ("Blue", [0, 0])):
        tables[f"{colour}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        tables[f"{colour}PaletteColorLookupTableData"] = np.array(values, np.uint16).tobytes()
    picture = pixels.read(dicom_bytes(row([0, 1], np.uint8), PhotometricInterpretation="PALETTE COLOR", **tables))
    assert picture.grey_HW.tolist() == [[0, 226]]


@pytest.mark.parametrize("element", ["PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"])
def test_pixels_become_square_by_enlarging_the_coarser_axis(dicom_bytes, element):
    picture = pixels.read(dicom_bytes(np.zeros((10, 8), np.uint16), **{element: [2, 1]}))
    assert picture.grey_HW.shape == (20, 8)
    np.testing.assert_allclose(picture.geometry.to_original(np.array([[8, 20]])), [[8, 10]])
    assert picture.geometry.spacing == (None if element == "PixelAspectRatio" else (2, 1))


def test_several_frames_are_refused(dicom_bytes):
    with pytest.raises(Rejected, match="multi-frame") as caught:
        pixels.read(dicom_bytes(NumberOfFrames=2))
    assert caught.value.reason == Reason.DECODE
