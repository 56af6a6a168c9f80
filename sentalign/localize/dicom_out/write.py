"""Which DICOM objects are written beside overlays and boxes, and under which names.

In: the header of the source image, the grids, drawings and localizations of its sentences. Out: files in a folder. The
files of the study are never touched.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import pydicom
from PIL import Image

from sentalign.localize.boxes import Localization
from sentalign.localize.dicom_out import source_header
from sentalign.localize.dicom_out.report import report
from sentalign.localize.dicom_out.secondary_capture import secondary_captures
from sentalign.localize.dicom_out.segmentation import segmentation
from sentalign.localize.files.failed import FailedPictureError
from sentalign.localize.maps.heatmap import Array, clean_map
from sharding.pixels import Geometry, Picture


@dataclass(frozen=True)
class DicomOut:
    """The kinds of objects that are asked for: seg, seg-fractional, sc, sr; and the header of the source image."""

    kinds: Sequence[str]
    source: pydicom.Dataset

    @classmethod
    def of(cls, kinds: Sequence[str], data: bytes, picture: Picture) -> Self:
        """Raises FailedPictureError where objects cannot refer to the file of these bytes, which `picture` shows."""
        source = source_header.read(data)
        if (picture.geometry.rows, picture.geometry.columns) != (source.Rows, source.Columns):
            raise FailedPictureError("no DICOM objects: the picture in the file has another size than its header says")
        return cls(kinds, source)

    def write(
        self,
        out: Path,
        grids: Sequence[Array],
        geometry: Geometry,
        found: Sequence[Localization],
        drawings: Sequence[Image.Image],
        level: float,
    ) -> None:
        """Writes the files. Raises OSError, and FailedPictureError where the header has values that cannot be kept."""
        _save(self._made(grids, geometry, found, drawings, level), lambda name: out / name)

    def encoded(self, grids: Sequence[Array], geometry: Geometry, found: Sequence[Localization], level: float) -> bytes:
        """The file of a single kind that needs no drawings. Raises FailedPictureError as `write` does."""
        file = io.BytesIO()
        _save(self._made(grids, geometry, found, (), level), lambda name: file)
        return file.getvalue()

    def _made(
        self,
        grids: Sequence[Array],
        geometry: Geometry,
        found: Sequence[Localization],
        drawings: Sequence[Image.Image],
        level: float,
    ) -> Iterator[tuple[str, pydicom.Dataset]]:
        sentences = [one.sentence for one in found]
        for kind, name in (("seg", "segmentation.dcm"), ("seg-fractional", "segmentation-fractional.dcm")):
            if kind in self.kinds:
                maps = (clean_map(grid_HW, geometry) for grid_HW in grids)
                yield name, segmentation(self.source, maps, sentences, level, fractional=kind == "seg-fractional")
        if "sc" in self.kinds:
            for number, capture in enumerate(secondary_captures(self.source, drawings), 1):
                yield f"overlay-{number:02d}.dcm", capture
        if "sr" in self.kinds and any(one.boxes for one in found):  # TID 1500 needs a measurement
            yield "report.dcm", report(self.source, found)


def _save(objects: Iterator[tuple[str, pydicom.Dataset]], place: Callable[[str], Path | BinaryIO]) -> None:
    """Makes the objects one by one and saves them. Raises OSError, and FailedPictureError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # highdicom's texts quote the patient's name
        try:
            for name, made in objects:
                made.save_as(place(name))
        except OSError:
            raise
        except Exception:  # of nearly any type, with texts that quote values of the header
            raise FailedPictureError("no DICOM objects: the header has a value that none can be made with") from None
