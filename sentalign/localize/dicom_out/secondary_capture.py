"""Overlays → DICOM Secondary Captures, for viewers that show no segmentation.

In: the header of the source image and drawn pictures. Out: a dataset for each, of one series, to be saved. That it is
research output stands in the picture too.
"""

from __future__ import annotations

from collections.abc import Sequence

import highdicom
import numpy as np
import pydicom
from highdicom.sc import SCImage
from PIL import Image, ImageDraw

from sentalign.localize import overlay
from sentalign.localize.dicom_out import source_header

SERIES = 9002
BAR = 36  # pixels below the picture


def secondary_captures(source: pydicom.Dataset, pictures: Sequence[Image.Image]) -> list[SCImage]:
    """One object a picture, in order; their UIDs are new."""
    series = highdicom.UID()
    return [_capture(source, picture, series, number) for number, picture in enumerate(pictures, 1)]


def _capture(source: pydicom.Dataset, picture: Image.Image, series: str, number: int) -> SCImage:
    made = SCImage.from_ref_dataset(
        source,
        pixel_array=np.asarray(_noted(picture)),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=series,
        series_number=SERIES,
        sop_instance_uid=highdicom.UID(),
        instance_number=number,
        manufacturer=source_header.NAME,
        patient_orientation=("L", "F"),  # required here; `mark` replaces it by what the source says
    )
    made.ImageType = ["DERIVED", "SECONDARY"]
    # Text of the source's pixels is in these too; of our own there is no identity.
    if source.get("BurnedInAnnotation"):
        made.BurnedInAnnotation = source.BurnedInAnnotation
    made.SourceImageSequence = [_reference(source)]
    made.ImageComments = source_header.NOTICE
    made.Laterality = source.get("Laterality") or ""
    source_header.mark(made, source, "overlays of sentences")
    return made


def _reference(source: pydicom.Dataset) -> pydicom.Dataset:
    """What refers to the image that a capture was made of."""
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    return item


def _noted(picture: Image.Image) -> Image.Image:
    sheet = Image.new("RGB", (picture.width, picture.height + BAR), (17, 17, 17))
    sheet.paste(picture, (0, 0))
    font = overlay.font(max(12, min(20, picture.width // 30)))
    ImageDraw.Draw(sheet).text((10, picture.height + 6), source_header.NOTICE, font=font, fill=overlay.TRUTH)
    return sheet
