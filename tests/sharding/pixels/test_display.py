"""The display chain, step by step and in its order (DICOM PS3.4 N.2), and against its plain twin."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, Sequence

from sharding import pixels
from sharding.contract import Rejected
from tests.sharding.conftest import dicom_bytes as make
from tests.sharding.pixels import plain_display
from tests.sharding.pixels.coded import saved


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


def test_a_modality_lut_that_does_not_rise_still_shows_what_the_window_shows(dicom_bytes):
    """The ends of the stored values meet in one grey, but what lies between does not."""
    data = dicom_bytes(
        row([0, 1, 2]), ModalityLUTSequence=lut(0, [100, 200, 100], 16), WindowCenter=150.5, WindowWidth=101
    )
    assert pixels.read(data).grey_HW.tolist() == [[0, 255, 0]]


def test_the_window_serves_where_the_table_beside_it_is_damaged(dicom_bytes):
    data = dicom_bytes(row([0, 1, 2]), VOILUTSequence=lut(0, [1, 2, 3], 10), WindowCenter=1, WindowWidth=2)
    place = data.index(bytes.fromhex("28000230")) + 8
    picture = pixels.read(data[:place] + b"\x09\0" + data[place + 2 :])  # nine entries, it says
    assert picture.provenance["voi"] == "1 of 1, LINEAR, unusable lookup table"
    assert picture.grey_HW.tolist() == [[0, 255, 255]]


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2048, "WindowWidth": 4096}])
@pytest.mark.parametrize(("first", "lowest"), [(20000, 0), (0, 20000)])
def test_a_table_beside_all_values_falls_back(dicom_bytes, first, lowest, window):
    stored_HW = np.linspace(lowest, lowest + 4095, 4800).astype(np.uint16).reshape(60, 80)
    table = lut(first, [*range(4096)], 12)
    window = {name: value + (lowest if name == "WindowCenter" else 0) for name, value in window.items()}
    picture = pixels.read(dicom_bytes(stored_HW, VOILUTSequence=table, **window))
    assert picture.provenance["voi_source"] == ("window" if window else "percentile")
    assert "lookup table beside all values" in picture.provenance["voi"]
    assert picture.grey_HW.max() - picture.grey_HW.min() > 250


def test_a_modality_table_that_cannot_be_used_is_named(dicom_bytes):
    data = dicom_bytes(row([0, 1, 2]), ModalityLUTSequence=lut(0, [1, 2, 3], 10))
    place = data.index(bytes.fromhex("28000230")) + 8
    with pytest.raises(Rejected, match="modality lookup table"):
        pixels.read(data[:place] + b"\x09\0" + data[place + 2 :])


def test_a_sequence_of_empty_items_is_none(dicom_bytes):
    shown = pixels.read(dicom_bytes(row([0, 9]), ModalityLUTSequence=[Dataset()], VOILUTSequence=[Dataset()]))
    assert shown.provenance["modality"] == "no"
    assert shown.provenance["voi"] == "no window"


@pytest.mark.parametrize(("written", "read"), [("1,5", "1.5"), ("abc", None)])
def test_a_number_that_cannot_be_read_is_not_absent(dicom_bytes, written, read):
    data = dicom_bytes(row([0, 1, 2]), RescaleSlope="7.25", RescaleIntercept="0", WindowCenter="7.25", WindowWidth="2")
    data = data.replace(b"7.25", written.ljust(4).encode())
    if read is None:
        with pytest.raises(Rejected, match="RescaleSlope cannot be read"):
            pixels.read(data)
    else:
        same = dicom_bytes(row([0, 1, 2]), RescaleSlope=read, RescaleIntercept="0", WindowCenter=read, WindowWidth="2")
        assert pixels.read(data).grey_HW.tolist() == pixels.read(same).grey_HW.tolist()


def test_an_unreadable_window_is_said(dicom_bytes):
    data = dicom_bytes(row([0, 1, 2]), WindowCenter="7.25", WindowWidth="2").replace(b"7.25", b"abcd")
    assert pixels.read(data).provenance["voi"] == "unreadable window"


def test_tables_without_end_are_refused_unread(dicom_bytes):
    item = lut(0, list(range(30000)), 16)[0]
    with pytest.raises(Rejected, match="more lookup tables"):
        pixels.read(dicom_bytes(row([0, 1]), VOILUTSequence=Sequence([item] * 36)))


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"WindowCenter": [100, 5], "WindowWidth": [50, 10]}, {"voi_source": "window", "voi": "1 of 2, LINEAR"}),
        ({"WindowCenter": 100, "WindowWidth": 50, "VOILUTFunction": "SIGMOID"}, {"voi": "1 of 1, SIGMOID"}),
        ({"WindowCenter": 9e6, "WindowWidth": 1}, {"voi_source": "percentile", "voi": "window beside all values"}),
        ({"VOILUTSequence": lut(0, [1, 900], 10)}, {"voi_source": "lut", "voi": "1 of 1"}),
        ({"VOILUTSequence": lut(0, [1, 90], 10)}, {"voi": "1 of 1, of 8 bits and not as said"}),
        ({"RescaleSlope": 2, "RescaleIntercept": 0}, {"modality": "rescale", "voi": "no window"}),
        ({"RescaleSlope": 1, "RescaleIntercept": 0}, {"modality": "no", "padding": "no", "aspect": "square"}),
        ({"PixelPaddingValue": 0}, {"padding": "black"}),
        ({"PixelPaddingValue": 7}, {"padding": "no"}),
        ({"PixelSpacing": [2, 1]}, {"aspect": "rows enlarged"}),
        ({"PixelSpacing": [1, 2]}, {"aspect": "columns enlarged"}),
        ({"PresentationIntentType": "FOR PRESENTATION"}, {"voi_source": "none", "voi": "full range"}),
    ],
)
def test_every_choice_stands_in_the_provenance(dicom_bytes, elements, expected):
    provenance = pixels.read(dicom_bytes(row([0, 100, 200]), **elements)).provenance
    assert provenance | expected == provenance
    assert provenance["decoder"] == "numpy"


def test_overlays_are_left_out(dicom_bytes):
    data = dicom_bytes(row([0, 100, 200, 300] * 4))
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.add_new(0x60003000, "OW", b"\xff\xff")
    picture = pixels.read(saved(dataset))
    assert picture.grey_HW.tolist() == pixels.read(data).grey_HW.tolist()
    assert picture.provenance["overlays"] == "left out"


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


def tables(first: int, size: int) -> st.SearchStrategy[Sequence]:
    bits = st.sampled_from([10, 12, 16])
    return bits.flatmap(
        lambda depth: st.lists(st.integers(0, 2**depth - 1), min_size=size, max_size=size).map(
            lambda values: lut(first, values, depth)
        )
    )


@st.composite
def headers(draw):
    """Bits 8 to 16, signed or not, and any of the elements that decide about the display."""
    bits, signed = draw(st.integers(8, 16)), draw(st.booleans())
    low = -(2 ** (bits - 1)) if signed else 0
    start = draw(st.integers(low, low + 2**bits - 1))
    span = draw(st.sampled_from([0, 1, 20, 300, 2**16]))
    dtype = f"{'i' if signed else 'u'}{1 if bits == 8 else 2}"
    random = np.random.default_rng(draw(st.integers(0, 99)))
    stored_HW = random.integers(start, min(start + span, low + 2**bits - 1) + 1, (20, 24)).astype(dtype)
    chosen = {"BitsStored": bits, "HighBit": bits - 1}
    chosen["PhotometricInterpretation"] = draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))
    if draw(st.booleans()):
        chosen |= {
            "RescaleSlope": draw(st.integers(1, 900).map(lambda share: share / 100)),
            "RescaleIntercept": draw(st.integers(-300_000, 300_000)) / 100,
        }
    elif draw(st.booleans()) and not signed:  # pydicom's own table of signed values overflows
        chosen["ModalityLUTSequence"] = draw(tables(min(start, 32000), 40))
    if draw(st.booleans()):
        chosen |= {"WindowCenter": draw(st.integers(-(2**15), 2**16)), "WindowWidth": draw(st.integers(1, 10_000)) / 2}
        chosen["VOILUTFunction"] = draw(st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]))
    elif draw(st.booleans()) and "RescaleSlope" not in chosen and not signed:
        chosen["VOILUTSequence"] = draw(tables(min(start, 32000), 30))
    if draw(st.booleans()):
        chosen["PixelPaddingValue"] = int(stored_HW[0, 0])
        if draw(st.booleans()):
            chosen["PixelPaddingRangeLimit"] = min(int(stored_HW[0, 0]) + 5, int(np.iinfo(dtype).max))
    if draw(st.booleans()):
        chosen["PresentationLUTShape"] = draw(st.sampled_from(["INVERSE", "IDENTITY"]))
    if draw(st.booleans()):
        chosen["PresentationIntentType"] = draw(st.sampled_from(["FOR PRESENTATION", "FOR PROCESSING"]))
    return stored_HW, chosen


@settings(max_examples=300)
@given(headers())
def test_the_chain_by_table_is_the_chain_by_pixel(given_header):
    stored_HW, elements = given_header
    data = make(stored_HW, **elements)
    expected_HW = plain_display.grey(pydicom.dcmread(io.BytesIO(data)))
    np.testing.assert_array_equal(pixels.read(data).grey_HW, expected_HW)
