"""Every transfer syntax decodes to the values that were encoded; what is damaged, cut off or too large is refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate, encapsulate_extended

from sharding import pixels
from sharding.contract import Reason, Rejected
from sharding.pixels import header
from sharding.pixels.decode import codecs
from tests.sharding.conftest import dicom_bytes
from tests.sharding.pixels.coded import (
    EXTENDED_12,
    EXTENDED_12_FIRST_ROW,
    HTJ2K_12,
    LOSSLESS_12,
    LOSSLESS_16,
    by_gdcm,
    by_pydicom,
    frame_of,
    pattern,
    saved,
    with_frame,
)

NOISE = np.random.default_rng(0)
PYDICOM = (uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless)
JPEG_LOSSLESS = ("JPEGLosslessProcess14", "JPEGLosslessProcess14_1")


def stored(data: bytes) -> codecs.StoredPixels:
    return codecs.stored_values(header.parse(data))


def refused(data: bytes) -> str:
    with pytest.raises(Rejected) as caught:
        pixels.read(data)
    assert caught.value.reason == Reason.DECODE
    return caught.value.message


def noise(bits: int, signed: bool = False) -> np.ndarray:
    low = -(2 ** (bits - 1)) if signed else 0
    dtype = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
    return NOISE.integers(low, low + 2**bits, (40, 34)).astype(dtype)


@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", PYDICOM, ids=lambda syntax: syntax.name[:16])
def test_lossless_codings_are_exact(syntax, bits, signed):
    values_HW = noise(bits, signed)
    found = stored(by_pydicom(values_HW, syntax, BitsStored=bits, HighBit=bits - 1))
    assert found.values.tolist() == values_HW.tolist()


@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16])
@pytest.mark.parametrize("syntax", JPEG_LOSSLESS)
def test_lossless_jpeg_is_exact(syntax, bits):
    values_HW = noise(bits)
    found = stored(by_gdcm(values_HW, syntax, BitsStored=bits, HighBit=bits - 1))
    assert found.values.tolist() == values_HW.tolist()
    assert found.decoder == "gdcm"


@pytest.mark.parametrize(
    ("frame", "syntax", "bits"),
    [
        (LOSSLESS_12, uid.JPEGLosslessSV1, 12),
        (LOSSLESS_16, uid.JPEGLossless, 16),
        (HTJ2K_12, uid.HTJ2KLossless, 12),
        (HTJ2K_12, uid.HTJ2KLosslessRPCL, 12),
        (HTJ2K_12, uid.HTJ2K, 12),
    ],
)
def test_frames_of_other_encoders_are_exact(frame, syntax, bits):
    values_HW = pattern(bits)
    found = stored(with_frame(values_HW, frame, syntax, BitsStored=bits, HighBit=bits - 1))
    assert found.values.tolist() == values_HW.tolist()


def test_twelve_bit_jpeg_is_read_as_its_own_library_reads_it(capfd):
    data = with_frame(pattern(12), EXTENDED_12, uid.JPEGExtended12Bit, BitsStored=12, HighBit=11)
    assert stored(data).values[0].tolist() == EXTENDED_12_FIRST_ROW
    assert capfd.readouterr() == ("", "")  # gdcm would print that it has tried 8 bits first


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit])
def test_eight_bit_jpeg_is_that_of_pillow(syntax):
    buffer = io.BytesIO()
    Image.fromarray(pattern(8)).save(buffer, "JPEG", quality=90)
    found = stored(with_frame(pattern(8), buffer.getvalue(), syntax))
    assert found.values.tolist() == np.asarray(Image.open(buffer)).tolist()


def test_near_lossless_jpeg_ls_stays_within_its_bound():
    values_HW = noise(12)
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(values_HW, BitsStored=12, HighBit=11)))
    dataset.compress(uid.JPEGLSNearLossless, jls_error=3)
    assert 0 < abs(stored(saved(dataset)).values.astype(int) - values_HW).max() <= 3


@pytest.mark.parametrize("syntax", PYDICOM, ids=lambda syntax: syntax.name[:16])
def test_colour_is_exact(syntax):
    rgb_HWC = NOISE.integers(0, 256, (36, 48, 3)).astype(np.uint8)
    found = stored(by_pydicom(rgb_HWC, syntax, PhotometricInterpretation="RGB", PlanarConfiguration=0))
    assert found.values.tolist() == rgb_HWC.tolist()


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "RGB"])
@pytest.mark.parametrize("options", [{}, {"keep_rgb": True}], ids=["YCbCr", "RGB"])
def test_colour_jpeg_becomes_the_luminance_of_what_was_coded(photometric, options):
    row_HW, column_HW = np.mgrid[:32, :48]
    channels = (100 + 80 * np.sin(row_HW / 9), 120 + 90 * np.cos(column_HW / 11), 60 + row_HW)
    rgb = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=95, **options)
    data = with_frame(
        np.asarray(rgb), buffer.getvalue(), uid.JPEGBaseline8Bit, PhotometricInterpretation=photometric,
        PlanarConfiguration=0,
    )  # fmt: skip
    assert abs(stored(data).values.astype(int) - np.asarray(rgb.convert("L"))).max() <= 3


def test_colour_jpeg_without_a_marker_is_what_the_header_says():
    grey = Image.fromarray(pattern(8)).resize((48, 32))
    rgb = Image.merge("RGB", (grey, grey.point(lambda value: value // 2), grey.point(lambda value: value // 3)))
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=95, keep_rgb=True)
    frame = without_marker(buffer.getvalue(), 0xEE).replace(b"R\x11", b"\1\x11").replace(b"G\x11", b"\2\x11")
    frame = frame.replace(b"B\x11", b"\3\x11").replace(b"\3R\0G\0B\0", b"\3\1\0\2\0\3\0")
    elements = {"PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    found = stored(with_frame(np.asarray(rgb), frame, uid.JPEGBaseline8Bit, **elements))
    assert abs(found.values.astype(int) - np.asarray(rgb)).max() <= 6


def without_marker(frame: bytes, marker: int) -> bytes:
    place = frame.index(bytes((0xFF, marker)))
    return frame[:place] + frame[place + 2 + int.from_bytes(frame[place + 2 : place + 4], "big") :]


def test_values_at_the_top_of_the_word(dicom_bytes):
    values_HW = noise(12)
    found = stored(dicom_bytes(values_HW << 4, BitsStored=12, HighBit=15))
    assert found.values.tolist() == values_HW.tolist()


@pytest.mark.parametrize("signed", [False, True])
def test_an_overlay_in_the_unused_bits_is_left_out(dicom_bytes, signed):
    values_HW = noise(12, signed)
    overlay_HW = np.full(values_HW.shape, 0b0101 << 12)
    mixed_HW = ((values_HW & 0xFFF) | overlay_HW).astype(values_HW.dtype)
    assert stored(dicom_bytes(mixed_HW, BitsStored=12, HighBit=11)).values.tolist() == values_HW.tolist()


def test_loss_beyond_the_stored_bits_does_not_turn_white_to_black():
    data = with_frame(pattern(12), EXTENDED_12, uid.JPEGExtended12Bit, BitsStored=11, HighBit=10)
    assert stored(data).values.max() > 2**11


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["cut", "cut and closed"])
@pytest.mark.parametrize("kind", [*PYDICOM, *JPEG_LOSSLESS], ids=lambda kind: str(kind)[-12:])
def test_a_frame_that_is_cut_is_refused_quietly(kind, share, end, capfd):
    values_HW = noise(12)
    whole = (by_gdcm if isinstance(kind, str) and kind in JPEG_LOSSLESS else by_pydicom)(
        values_HW, kind, BitsStored=12, HighBit=11
    )
    frame, syntax = frame_of(whole), pydicom.dcmread(io.BytesIO(whole)).file_meta.TransferSyntaxUID
    cut = frame[: int(len(frame) * share)] + end
    refused(with_frame(values_HW, cut, syntax, BitsStored=12, HighBit=11))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "kind", [uid.JPEGLSLossless, uid.JPEG2000Lossless, *JPEG_LOSSLESS], ids=lambda kind: str(kind)[-12:]
)
@pytest.mark.parametrize("shape", [(34, 40), (41, 34), (8, 8)])
def test_a_frame_of_another_size_than_the_header_says_is_refused(kind, shape):
    whole = (by_gdcm if kind in JPEG_LOSSLESS else by_pydicom)(noise(12), kind, BitsStored=12, HighBit=11)
    syntax = pydicom.dcmread(io.BytesIO(whole)).file_meta.TransferSyntaxUID
    data = with_frame(np.zeros(shape, np.uint16), frame_of(whole), syntax, BitsStored=12, HighBit=11)
    assert "differs in size" in refused(data)


def test_a_frame_that_claims_to_be_huge_is_refused_before_decoding():
    frame = bytearray(frame_of(by_pydicom(noise(12), uid.JPEG2000Lossless)))
    frame[8:16] = (60000).to_bytes(4, "big") * 2
    assert "differs in size" in refused(with_frame(noise(12), bytes(frame), uid.JPEG2000Lossless))


def test_a_scan_against_the_standard_is_refused():
    place = EXTENDED_12.index(b"\xff\xda")
    broken = EXTENDED_12[: place + 8] + b"\0" + EXTENDED_12[place + 9 :]
    assert "standard" in refused(with_frame(pattern(12), broken, uid.JPEGExtended12Bit, BitsStored=12, HighBit=11))


def test_a_progressive_jpeg_of_countless_scans_is_refused():
    buffer = io.BytesIO()
    Image.fromarray(pattern(8)).save(buffer, "JPEG", progressive=True)
    frame = buffer.getvalue()
    scan = frame[frame.rindex(b"\xff\xda") : -2]
    bomb = frame[:-2] + scan * 200 + frame[-2:]
    assert "scans" in refused(with_frame(pattern(8), bomb, uid.JPEGBaseline8Bit))


@pytest.mark.filterwarnings("ignore:Invalid value for VR")  # says pydicom as it writes
@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"NumberOfFrames": 2}, "multi-frame"),
        ({"NumberOfFrames": 999_999_999}, "multi-frame"),
        ({"Rows": 60000, "Columns": 60000}, "decompression bomb"),
        ({"Rows": 4200, "Columns": 4200, "BitsAllocated": 32, "BitsStored": 32}, "decompression bomb"),
        ({"Rows": 9}, "cut off"),
        ({"Rows": 4}, "twice as long"),
        ({"BitsStored": 0}, "no bits"),
        ({"SamplesPerPixel": 3, "PlanarConfiguration": 0}, "photometric"),
        ({"PhotometricInterpretation": "RGB"}, "photometric"),
        ({"PhotometricInterpretation": "DOE^JOHN"}, "photometric"),
    ],
)
def test_headers_that_contradict_their_data_are_refused_by_name(dicom_bytes, elements, words):
    message = refused(dicom_bytes(**elements))
    assert words in message
    assert "JOHN" not in message
    assert "999" not in message


@pytest.mark.parametrize("extended", [False, True])
def test_one_frame_may_lie_in_several_fragments(extended):
    values_HW = noise(12)
    dataset = pydicom.dcmread(io.BytesIO(by_pydicom(values_HW, uid.JPEG2000Lossless, BitsStored=12, HighBit=11)))
    frame = frame_of(saved(dataset))
    if extended:
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(
            [frame]
        )
    else:
        dataset.PixelData = encapsulate([frame], fragments_per_frame=4)
    assert stored(saved(dataset)).values.tolist() == values_HW.tolist()


def test_a_frame_in_the_boxes_of_jp2_is_read():
    values_HW = noise(12)
    frame = frame_of(by_pydicom(values_HW, uid.JPEG2000Lossless, BitsStored=12, HighBit=11))
    boxed = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x08free" + (len(frame) + 8).to_bytes(4, "big") + b"jp2c" + frame
    data = with_frame(values_HW, boxed, uid.JPEG2000Lossless, BitsStored=12, HighBit=11)
    assert stored(data).values.tolist() == values_HW.tolist()


@pytest.mark.filterwarnings("ignore:A value of '0'")
def test_a_frame_count_of_nought_is_one_frame(dicom_bytes):
    assert stored(dicom_bytes(NumberOfFrames=0)).values.shape == (8, 8)


def test_an_unknown_transfer_syntax_is_refused():
    data = with_frame(pattern(8), b"\0" * 100, uid.MPEG2MPML)
    assert refused(data) == "no decoder for the transfer syntax (MPEG2 Main Profile / Main Level)"


def test_a_lossless_jpeg_of_seven_bits_does_not_end_the_process():
    data = by_gdcm(pattern(8), "JPEGLosslessProcess14_1")
    place = data.index(b"\xff\xc3") + 4
    assert "depth" in refused(data[:place] + b"\7" + data[place + 1 :])


def test_an_unknown_unit_of_resolution_does_not_end_the_process():
    place = EXTENDED_12.index(b"JFIF") + 7
    frame = EXTENDED_12[:place] + b"\xff" + EXTENDED_12[place + 1 :]
    data = with_frame(pattern(12), frame, uid.JPEGExtended12Bit, BitsStored=12, HighBit=11)
    assert stored(data).values[0].tolist() == EXTENDED_12_FIRST_ROW


def test_what_libraries_print_is_caught_also_where_nobody_listens(tmp_path):
    """With the error stream closed there is no descriptor to keep; the picture is the same."""
    path = tmp_path / "x.dcm"
    path.write_bytes(with_frame(pattern(12), EXTENDED_12, uid.JPEGExtended12Bit, BitsStored=12, HighBit=11))
    code = "import sys; from sharding import pixels; print(pixels.read(open(sys.argv[1], 'rb').read()).grey_HW.sum())"
    outputs = [
        subprocess.run(
            [*shell, sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        ).stdout
        for shell in ([], ["sh", "-c", 'exec "$@" 2>&-', "sh"])
    ]
    assert outputs[0] == outputs[1] == f"{pixels.read(path.read_bytes()).grey_HW.sum()}\n"


def test_no_descriptor_is_left_open():
    data = by_gdcm(noise(12), "JPEGLosslessProcess14_1", BitsStored=12, HighBit=11)
    stored(data)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        stored(data)
    assert len(os.listdir("/proc/self/fd")) == before
