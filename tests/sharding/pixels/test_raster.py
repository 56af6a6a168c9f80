"""PNG and JPEG files of every mode become the grey that a viewer shows; bombs and damage are refused."""

from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin

from sharding import pixels
from sharding.contract import Reason, Rejected

PNG = b"\x89PNG\r\n\x1a\n"


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    return png[:33] + chunk(name, content) + png[33:]  # behind IHDR


def reason_of(data: bytes) -> tuple[Reason, str]:
    with pytest.raises(Rejected) as caught:
        pixels.read(data, "x.png")
    return caught.value.reason, caught.value.message


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_of_png_becomes_the_same_grey(mode):
    grey_HW = np.array([[0, 255], [255, 0]], np.uint8)
    picture = pixels.read(encoded(Image.fromarray(grey_HW).convert(mode)))
    assert picture.grey_HW.tolist() == grey_HW.tolist()
    assert picture.provenance["codec"] == "PNG"


def test_what_is_transparent_is_black():
    rgba_HWC = np.array([[[255, 255, 255, 255], [255, 255, 255, 0]]], np.uint8)
    picture = pixels.read(encoded(Image.fromarray(rgba_HWC)))
    assert picture.grey_HW.tolist() == [[255, 0]]
    assert picture.provenance["transparency"] == "over black"


def test_a_transparent_grey_value_is_black():
    picture = pixels.read(encoded(Image.fromarray(np.array([[9, 200]], np.uint8)), transparency=200))
    assert picture.grey_HW.tolist() == [[9, 0]]


def test_opaque_colour_is_read_as_if_it_had_no_transparency():
    rgba_HWC = noise(9, 11, 4)
    rgba_HWC[..., 3] = 255
    picture = pixels.read(encoded(Image.fromarray(rgba_HWC)))
    over_black = Image.alpha_composite(Image.new("RGBA", (11, 9), (0, 0, 0, 255)), Image.fromarray(rgba_HWC))
    assert picture.grey_HW.tolist() == np.asarray(over_black.convert("L")).tolist()
    assert picture.provenance["transparency"] == "no"


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1), st.integers(0, 99))
def test_sixteen_bit_png_is_stretched_as_numpy_would(low, high, seed):
    low, high = sorted((low, high))
    values_HW = np.random.default_rng(seed).integers(low, high + 1, (20, 31)).astype(np.uint16)
    picture = pixels.read(encoded(Image.fromarray(values_HW)))
    bottom, top = np.percentile(values_HW.astype(np.float32), (0.5, 99.5)).astype(np.float32)
    if top > bottom:
        expected_HW = np.clip((values_HW.astype(np.float32) - bottom) / (top - bottom), 0, 1)
        assert picture.grey_HW.tolist() == (expected_HW * np.float32(255) + np.float32(0.5)).astype(np.uint8).tolist()
    assert (picture.provenance["voi_source"], picture.provenance["bits"]) == ("percentile", "16")


@pytest.mark.parametrize("flag", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_exif_flag_turns_as_pillow_turns(flag, kind):
    image = Image.fromarray(np.add.outer(np.arange(8) * 20, np.arange(16) * 5).astype(np.uint8))
    exif = image.getexif()
    exif[0x0112] = flag
    data = encoded(image, kind, exif=exif)
    picture = pixels.read(data)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert picture.grey_HW.tolist() == np.asarray(expected).tolist()
    assert (picture.geometry.rows, picture.geometry.columns) == picture.grey_HW.shape
    assert picture.provenance["orientation"] == str(flag)


def test_an_exif_block_that_cannot_be_read_turns_nothing():
    entry = struct.pack(">HHII", 0x9286, 2, 2**20, 2**20)  # longer than the file: Pillow warns
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    for block in (exif, b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(9)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert pixels.read(encoded(Image.fromarray(noise(8, 16)), "JPEG", exif=block)).grey_HW.shape == (8, 16)


def test_grey_jpeg_is_exactly_that_of_pillow():
    data = encoded(Image.fromarray(noise(40, 50)), "JPEG", quality=80)
    assert pixels.read(data).grey_HW.tolist() == np.asarray(Image.open(io.BytesIO(data))).tolist()


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (5000, 4097)], ids=str)
def test_the_grey_of_a_picture_does_not_depend_on_how_its_memory_is_cut(shape):
    """Pillow keeps up to 16 MB in one piece, of which the pixels are taken as they lie."""
    grey_HW = noise(*shape)
    read_HW = pixels.read(encoded(Image.fromarray(grey_HW), compress_level=0)).grey_HW
    assert read_HW.flags.c_contiguous
    np.testing.assert_array_equal(read_HW, grey_HW)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"keep_rgb": True}])
def test_the_luminance_of_a_jpeg_is_that_of_its_colours(options):
    """The decoder leaves the colours out: equal to within 2 where the colours can be shown at all."""
    row_HW, column_HW = np.mgrid[:64, :80]
    rgb_HWC = np.stack([90 + row_HW, 60 + column_HW, 120 - row_HW // 2], axis=-1).astype(np.uint8)
    data = encoded(Image.fromarray(rgb_HWC), "JPEG", quality=95, **options)
    full_HW = np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int)
    picture = pixels.read(data)
    assert abs(picture.grey_HW - full_HW).max() <= 2
    assert picture.provenance["luminance"] == "Rec. 601"


def test_cmyk_jpeg_is_read():
    image = Image.fromarray(np.array([[0, 128, 255]] * 8, np.uint8)).resize((24, 8), Image.Resampling.NEAREST)
    picture = pixels.read(encoded(image.convert("CMYK"), "JPEG", quality=95))
    assert abs(picture.grey_HW.astype(int) - np.asarray(image)).max() <= 4


def test_a_colour_profile_changes_nothing():
    image = Image.fromarray(noise(8, 8))
    assert pixels.read(encoded(image, icc_profile=b"x" * 500)).grey_HW.tolist() == np.asarray(image).tolist()


def test_several_pictures_in_one_file_are_refused():
    frames = [Image.fromarray(noise(8, 8)), Image.fromarray(255 - noise(8, 8))]
    data = encoded(frames[0], save_all=True, append_images=frames[1:])
    assert reason_of(data) == (Reason.DECODE, "animated: one picture is expected")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_that_is_cut_off_is_a_decode_fault(kind, share):
    data = encoded(Image.fromarray(noise(64, 64)), kind)
    assert reason_of(data[: int(len(data) * share)])[0] == Reason.DECODE


def test_a_picture_bomb_is_refused_before_decoding(dicom_bytes):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0))
    png = PNG + header + chunk(b"IDAT", zlib.compress(b"\0" * 99))
    assert reason_of(png) == reason_of(dicom_bytes(Rows=60000, Columns=60000))


@pytest.mark.parametrize(
    ("name", "head"),
    [(b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0")],
    ids=["zTXt", "iTXt", "iCCP"],
)
def test_a_text_bomb_in_a_png_is_not_inflated(name, head):
    bomb = with_chunk(encoded(Image.fromarray(noise(8, 8))), name, head + zlib.compress(bytes(50_000_000)))
    assert PngImagePlugin.MAX_TEXT_CHUNK <= 2**20  # Pillow's own bound, which this test stands on
    tracemalloc.start()
    with contextlib.suppress(Rejected):
        pixels.read(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_jpeg_of_countless_scans_is_refused():
    data = encoded(Image.fromarray(noise(16, 16)), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert "scans" in reason_of(data[:-2] + scan * 200 + data[-2:])[1]
