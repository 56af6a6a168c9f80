"""Which DICOM objects are written beside overlays and boxes, and under which names.

In: the header of the source image, the maps, drawings and localizations of its sentences. Out: files in a folder. The
files of the study are never touched.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pydicom
from PIL import Image

from sentalign.localize.boxes import Localization
from sentalign.localize.dicom_out import source as of_source
from sentalign.localize.dicom_out.report import report
from sentalign.localize.dicom_out.secondary_capture import secondary_captures
from sentalign.localize.dicom_out.segmentation import segmentation
from sentalign.localize.maps.heatmap import Array
from sharding.contract import UserError
from sharding.pixels import Picture
from sharding.store import locations


@dataclass(frozen=True)
class DicomOut:
    """The kinds of objects that are asked for: seg, seg-fractional, sc, sr; and the header of the source image."""

    kinds: Sequence[str]
    source: pydicom.Dataset

    @classmethod
    def of(cls, kinds: Sequence[str], location: str, picture: Picture) -> Self:
        """Raises UserError where objects cannot refer to the file that the picture was read from."""
        source = of_source.read(locations.read(location))
        if (picture.geometry.rows, picture.geometry.columns) != (source.Rows, source.Columns):
            raise UserError("--dicom: the picture in the file has another size than its header says")
        return cls(kinds, source)

    def write(
        self,
        out: Path,
        maps: Sequence[Array],
        found: Sequence[Localization],
        drawings: Sequence[Image.Image],
        level: float,
    ) -> None:
        """Writes the files; `maps` (rows, columns) are on the pixels of the file. Raises OSError."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # highdicom's texts quote the patient's name
            for name, made in self._made(maps, found, drawings, level):
                made.save_as(out / name)

    def _made(
        self, maps: Sequence[Array], found: Sequence[Localization], drawings: Sequence[Image.Image], level: float
    ) -> Iterator[tuple[str, pydicom.Dataset]]:
        sentences = [one.sentence for one in found]
        if "seg" in self.kinds:
            yield "segmentation.dcm", segmentation(self.source, maps, sentences, level)
        if "seg-fractional" in self.kinds:
            yield "segmentation-fractional.dcm", segmentation(self.source, maps, sentences, level, fractional=True)
        if "sc" in self.kinds:
            for number, capture in enumerate(secondary_captures(self.source, drawings), 1):
                yield f"overlay-{number:02d}.dcm", capture
        if "sr" in self.kinds:
            yield "report.dcm", report(self.source, found)
