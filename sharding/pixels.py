"""DICOM, PNG or JPEG bytes → a grey image in display space with its geometry.

In: the bytes of one file. Out: `Picture`, or `contract.Rejected` with the first reason that applies. `display`
holds the display chain of DICOM, `picture` the geometry. Which modality is wanted and what may leave is not
decided here.
"""

# H rows, W columns
from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from pydicom import Dataset

from sharding import display, header
from sharding.contract import Reason, Rejected
from sharding.picture import Geometry, Grey, Picture, letterbox, resize, shrink

__all__ = ["Geometry", "Picture", "RawImage", "letterbox", "open_image", "read", "resize", "shrink"]

SIGNATURES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}
# What pretends to be an image file often enough to deserve its name in the message.
PRETENDERS = (
    (b"<!doctype", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML document"),
    (b"version https://git-lfs", "a Git LFS pointer"),
    (b"../", "an annex or link pointer"),
    (b"/annex/", "an annex or link pointer"),
)
WIDE_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True)
class RawImage:
    """A file whose header was read and whose pixels were not: what decides about it before the costly decoding.

    `modality` is None for formats that have none (PNG, JPEG). `identifiers` are the names and numbers of people in the
    header; they live in memory only, for the scan of the report.
    """

    modality: str | None
    burned_in: bool
    identifiers: tuple[str, ...] = ()
    patient: str = ""
    study: str = ""
    view: str = ""
    dataset: Dataset | None = field(default=None, repr=False)
    raster: Image.Image | None = field(default=None, repr=False)

    def picture(self) -> Picture:
        """The decoded picture; raises Rejected(DECODE)."""
        if self.dataset is not None:
            return display.decode(self.dataset)
        assert self.raster is not None
        return _decode_raster(self.raster)


def read(data: bytes, name_hint: str = "") -> Picture:
    """The picture in the bytes of a DICOM, PNG or JPEG file, told apart by content (`name_hint` is never trusted).

    Raises Rejected with PARSE, REQUIRED_TAGS or DECODE.
    """
    return open_image(data, name_hint).picture()


def open_image(data: bytes, name_hint: str = "") -> RawImage:
    """The header of the file; raises Rejected with PARSE or REQUIRED_TAGS (a picture bomb: DECODE)."""
    if header.is_dicom(data):
        return _open_dicom(data)
    if any(data.startswith(signature) for signature in SIGNATURES):
        return RawImage(None, False, raster=_open_raster(data))
    raise Rejected(Reason.PARSE, _what_it_is(data, name_hint))


def _open_dicom(data: bytes) -> RawImage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's texts quote values of the header
        dataset = header.parse(data)
        return RawImage(
            modality=header.modality(dataset),
            burned_in=header.burned_in(dataset),
            identifiers=header.identifiers(dataset),
            patient=header.patient_id(dataset),
            study=header.study_id(dataset),
            view=header.view(dataset),
            dataset=dataset,
        )


def _what_it_is(data: bytes, name_hint: str) -> str:
    head = data[:512].lstrip().lower()
    for signature, name in PRETENDERS:
        if head.startswith(signature):
            return f"not an image but {name}"
    if not data:
        return "the file is empty"
    if name_hint.lower().endswith((".dcm", ".dicom")) or "." not in name_hint:
        return "no DICOM preamble (DICM at byte 128), and neither PNG nor JPEG"
    return "neither DICOM, PNG nor JPEG"


def _open_raster(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Rejected(Reason.DECODE, "more pixels than any X-ray has: refused as a decompression bomb") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise Rejected(Reason.PARSE, "the PNG or JPEG header cannot be read") from None


def _decode_raster(image: Image.Image) -> Picture:
    codec, mode = str(image.format), image.mode
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The display turns by the EXIF flag, so "original" is what a viewer shows.
            upright = ImageOps.exif_transpose(image)
            grey_HW, voi_source = _to_grey(upright)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise Rejected(Reason.DECODE, f"the {codec} data is damaged or cut off") from None
    colour = mode not in ("1", "L", "LA", *WIDE_MODES)
    provenance = {
        "codec": codec,
        "photometric": mode,
        "bits": "1" if mode == "1" else "16" if mode in WIDE_MODES else "8",
        "voi_source": voi_source,
        "inverted": "no",
        "luminance": "Rec. 601" if colour else "no",
    }
    return Picture(grey_HW, Geometry.identity(*grey_HW.shape), provenance)


def _to_grey(image: Image.Image) -> tuple[Grey, str]:
    """8-bit luminance (Rec. 601) over black, and where the grey range comes from."""
    if image.mode in WIDE_MODES:
        values_HW = np.asarray(image).astype(np.float32)
        return display.to_8_bit(display.stretch(values_HW, None)), "percentile"
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return np.asarray(image.convert("L")), "none"
