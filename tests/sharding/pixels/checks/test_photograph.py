"""Photographs are told from X-rays in colour files: grey, tinted, with coloured marks."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw
from pydicom import uid

from sharding import pixels
from sharding.pixels.checks.photograph import is_photograph
from sharding.pixels.decode import codestream
from tests.sharding.conftest import dicom_bytes
from tests.sharding.pixels.checks.chests import chest
from tests.sharding.pixels.coded import by_pydicom, with_frame


def scene() -> np.ndarray:
    """A face before a green wall, in a blue coat: (H, W, 3), with the noise of a camera."""
    y_HW, x_HW = np.mgrid[:240, :200] / 200
    rgb_HWC = np.empty((240, 200, 3))
    rgb_HWC[:] = (90, 130, 95)
    rgb_HWC[(x_HW - 0.5) ** 2 + (y_HW - 0.45) ** 2 < 0.09] = (215, 165, 140)
    rgb_HWC[y_HW > 0.85] = (40, 60, 140)
    rgb_HWC *= (0.8 + 0.4 * x_HW)[..., None]
    return np.clip(rgb_HWC + np.random.default_rng(0).normal(0, 5, rgb_HWC.shape), 0, 255).astype(np.uint8)


def skin() -> np.ndarray:
    shade_HW = np.mgrid[:240, :200][0] / 240 * 0.5 + 0.6
    return np.clip(shade_HW[..., None] * (225, 160, 125), 0, 255).astype(np.uint8)


def grey() -> np.ndarray:
    return np.repeat(chest(240, 200)[..., None], 3, axis=2)


def blue_film() -> np.ndarray:
    """As on a light box: every grey has its blue."""
    return np.stack([grey()[..., 0] * share // 100 for share in (60, 85, 100)], axis=-1).astype(np.uint8)


def marked() -> np.ndarray:
    """With the coloured arrows and letters of a viewer, 2% of the picture."""
    image = Image.fromarray(grey())
    draw = ImageDraw.Draw(image)
    draw.rectangle((5, 5, 35, 19), fill=(255, 220, 0))
    draw.line((50, 90, 90, 140), fill=(255, 0, 0), width=4)
    return np.asarray(image)


PICTURES = {scene: True, skin: True, grey: False, blue_film: False, marked: False}


def file_of(rgb_HWC: np.ndarray, kind: str) -> bytes:
    image, buffer = Image.fromarray(rgb_HWC), io.BytesIO()
    if kind == "png":
        image.save(buffer, "PNG")
    elif kind == "palette":
        image.quantize(64).save(buffer, "PNG")
    elif kind == "rgba":
        image.convert("RGBA").save(buffer, "PNG")
    elif kind == "cmyk":
        image.convert("CMYK").save(buffer, "JPEG")
    else:
        image.save(buffer, "JPEG", quality=80, progressive=kind == "progressive")
    return buffer.getvalue()


def dicom_of(rgb_HWC: np.ndarray, kind: str) -> bytes:
    colour = {"PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    if kind == "jpeg":
        return with_frame(rgb_HWC, file_of(rgb_HWC, "jpeg"), uid.JPEGBaseline8Bit, **colour)
    if kind == "16 bits":
        return dicom_bytes(rgb_HWC.astype(np.uint16) * 257, **colour)
    if kind == "ybr":
        ybr_HWC = np.asarray(Image.fromarray(rgb_HWC).convert("YCbCr"))
        return dicom_bytes(ybr_HWC, **colour | {"PhotometricInterpretation": "YBR_FULL"})
    if kind == "palette":
        image = Image.fromarray(rgb_HWC).quantize(64)
        entries_EC = np.zeros((256, 3), np.uint16)
        used = np.array(image.getpalette(), np.uint16).reshape(-1, 3)
        entries_EC[: len(used)] = used * 257
        tables = {"PhotometricInterpretation": "PALETTE COLOR"}
        for channel, name in enumerate(("Red", "Green", "Blue")):
            tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
            tables[f"{name}PaletteColorLookupTableData"] = entries_EC[:, channel].astype("<u2").tobytes()
        return dicom_bytes(np.asarray(image), **tables)
    return by_pydicom(rgb_HWC, uid.JPEG2000Lossless, **colour)


@pytest.mark.parametrize("kind", ["png", "palette", "rgba", "jpeg", "progressive", "cmyk"])
@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.__name__)
def test_files(picture, kind):
    raw = pixels.open_image(file_of(picture(), kind))
    raw.picture()  # as a build does, which may leave the colours out
    assert raw.is_photograph() == PICTURES[picture]


@pytest.mark.parametrize("kind", ["jpeg", "j2k", "16 bits", "ybr", "palette"])
@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.__name__)
def test_dicom(picture, kind):
    raw = pixels.open_image(dicom_of(picture(), kind))
    raw.picture()
    assert raw.is_photograph() == PICTURES[picture]


@pytest.mark.parametrize("data", [dicom_bytes(), file_of(grey(), "png")[:200]], ids=["grey", "cut off"])
def test_grey_and_damaged_files_are_none(data):
    assert not pixels.open_image(data).is_photograph()


def plain(rgb_NC: np.ndarray) -> bool:
    """The twin: pixel by pixel, in exact fractions."""
    colours = [[Fraction(int(one)) for one in colour] for colour in rgb_NC]
    count = len(colours)
    strengths = sorted(max(colour) - min(colour) for colour in colours)
    if (strengths[(count - 1) // 2] + strengths[count // 2]) / 2 >= 80:
        return True
    brightness = [(299 * red + 587 * green + 114 * blue) / 1000 for red, green, blue in colours]
    middle = sum(brightness) / count
    spread = sum((one - middle) ** 2 for one in brightness)
    off = [Fraction(0)] * count
    for channel in range(3):
        beside = [colour[channel] - bright for colour, bright in zip(colours, brightness, strict=True)]
        mean = sum(beside) / count
        slope = sum((b - middle) * c for b, c in zip(brightness, beside, strict=True)) / spread if spread else 0
        rest = [abs(c - mean - slope * (b - middle)) for b, c in zip(brightness, beside, strict=True)]
        off = [max(pair) for pair in zip(off, rest, strict=True)]
    return sum(one > 16 for one in off) / count >= 0.05


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 60), st.just(3))))
def test_any_colours_as_by_the_twin(rgb_NC):
    assert is_photograph(rgb_NC) == plain(rgb_NC)


@given(st.binary(max_size=200), st.integers(0, 2000), st.booleans())
def test_damaged_jpeg_headers_are_no_trouble(noise, place, is_progressive):
    frame = bytearray(file_of(grey(), "progressive" if is_progressive else "jpeg"))
    frame[place : place + len(noise)] = noise
    strip = codestream.cut_to_rows(bytes(frame), 16)
    assert strip is None or len(strip) == len(frame)
    assert 0 <= codestream.colour_share(bytes(frame)) <= 1


def test_the_first_rows_are_those_of_the_whole():
    frame = file_of(grey(), "jpeg")
    strip = Image.open(io.BytesIO(codestream.cut_to_rows(frame, 16)))
    assert strip.size == (200, 16)
    np.testing.assert_array_equal(np.asarray(strip), np.asarray(Image.open(io.BytesIO(frame)))[:16])


def test_scans_of_colours_weigh_nothing_in_a_grey_jpeg():
    shares = [codestream.colour_share(file_of(picture(), "progressive")) for picture in (grey, scene)]
    assert shares[0] < 0.03 < 0.1 < shares[1]
    assert codestream.colour_share(file_of(scene(), "jpeg")) == 0


@pytest.mark.realdata
def test_no_real_x_ray_is_called_a_photograph(realdata):
    """144 of them are in colour files, one has the blue of a light box, several have coloured marks."""
    for path in sorted((realdata / "cxr_notes" / "images").iterdir()):
        raw = pixels.open_image(path.read_bytes())
        raw.picture()
        assert not raw.is_photograph(), path.name
