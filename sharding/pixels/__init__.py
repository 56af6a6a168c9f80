"""DICOM, PNG or JPEG bytes → a grey image in display space with its geometry.

In: the bytes of one file. Out: `Picture`, or `contract.Rejected` with the first reason that applies. Read `header` and
`examination` (view and part of the body), then `display` (the display chain of DICOM, with `codecs`, `codestream`,
`value_table` and `transforms`), `raster` (PNG and JPEG), `full_depth` (8 bits or all), `blank` and `picture` (the
geometry). The build decides which images are taken.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from dataclasses import dataclass, field

from PIL import Image
from pydicom import Dataset

from sharding.contract import Reason, Rejected
from sharding.pixels import display, examination, functional_groups, header, raster
from sharding.pixels.checks import photograph
from sharding.pixels.full_depth import FullDepthPicture
from sharding.pixels.picture import Geometry, Picture, letterbox, resize, shrink

__all__ = [
    "FullDepthPicture",
    "Geometry",
    "Picture",
    "RawImage",
    "letterbox",
    "open_image",
    "read",
    "read_full_depth",
    "resize",
    "shrink",
]

SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
# A file without the name or the content of an image is none; one with such a name is damaged.
IMAGE_NAME = re.compile(r"(?:^|\.(?:dcm|dicom|ima|png|jpe?g)(?:\.gz)?)$", re.I)
# Files that are often found in place of an image, and their names in messages.
OTHER_SIGNATURES = (
    (b"<!doctype", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML document"),
    (b"version https://git-lfs", "a Git LFS pointer"),
    (b"../", "an annex or link pointer"),
    (b"/annex/", "an annex or link pointer"),
)


@dataclass(frozen=True)
class RawImage:
    """A file with its header parsed and its pixels not decoded yet.

    `modality` and `dataset` are None for formats that have no header (PNG, JPEG).
    """

    modality: str | None
    patient: str = ""
    study: str = ""
    view: str = ""
    other_body: str = ""
    dataset: Dataset | None = field(default=None, repr=False)
    raster: Image.Image | None = field(default=None, repr=False)
    data: bytes = field(default=b"", repr=False)

    @property
    def size(self) -> int:
        """The number of its pixels, as the header says."""
        if self.raster is not None:
            return self.raster.width * self.raster.height
        assert self.dataset is not None
        return round((header.number(self.dataset, "Rows") or 0) * (header.number(self.dataset, "Columns") or 0))

    def picture(self) -> Picture:
        """The decoded picture; raises Rejected(DECODE)."""
        if self.dataset is not None:
            return display.decode(self.dataset)
        assert self.raster is not None
        return raster.decode(self.raster)

    def is_photograph(self) -> bool:
        """Whether its colours are those of a photograph, not of an X-ray, as far as they can be decoded."""
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            if self.dataset is not None:
                return photograph.is_photograph_dicom(self.dataset)
            assert self.raster is not None
            return photograph.is_photograph_file(self.raster, self.data)
        return False

    def full_depth_picture(self) -> FullDepthPicture:
        """The decoded picture with all that its window cuts off, for viewers; raises Rejected(DECODE)."""
        if self.dataset is not None:
            return display.decode_full_depth(self.dataset)
        assert self.raster is not None
        return raster.decode_full_depth(self.raster)


def read(data: bytes, name_hint: str = "") -> Picture:
    """The picture in the bytes of a DICOM, PNG or JPEG file, recognised by content (`name_hint` is for messages).

    Raises Rejected with PARSE, REQUIRED_TAGS or DECODE.
    """
    return open_image(data, name_hint).picture()


def read_full_depth(data: bytes, name_hint: str = "") -> FullDepthPicture:
    """`read` with all that the window of the file cuts off, for viewers in which a person sets the window."""
    return open_image(data, name_hint).full_depth_picture()


def open_image(data: bytes, name_hint: str = "") -> RawImage:
    """The header of the file; raises Rejected with PARSE or REQUIRED_TAGS (a decompression bomb: DECODE)."""
    if header.is_dicom(data):
        return _open_dicom(data)
    if data.startswith(SIGNATURES):
        return RawImage(None, raster=raster.open_raster(data), data=data)
    reason = Reason.PARSE if not data or IMAGE_NAME.search(name_hint) else Reason.NO_IMAGE
    raise Rejected(reason, _why_not_an_image(data, name_hint))


def _open_dicom(data: bytes) -> RawImage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's texts quote values of the header
        dataset = header.parse(data)
        functional_groups.lift(dataset)
        return RawImage(
            modality=header.modality(dataset),
            patient=header.patient_id(dataset),
            study=header.study_id(dataset),
            view=examination.view(dataset),
            other_body=examination.other_than_chest(dataset),
            dataset=dataset,
        )


def _why_not_an_image(data: bytes, name_hint: str) -> str:
    head = data[:512].lstrip().lower()
    for signature, name in OTHER_SIGNATURES:
        if head.startswith(signature):
            return f"not an image but {name}"
    if not data:
        return "the file is empty"
    if name_hint.lower().endswith((".dcm", ".dicom")) or "." not in name_hint:
        return "no DICOM preamble (DICM at byte 128), and neither PNG nor JPEG"
    return "neither DICOM, PNG nor JPEG"
