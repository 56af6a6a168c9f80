"""Maps of sentences → one DICOM Segmentation, a segment for each sentence.

In: the header of the source image and a map of its size for each sentence. Out: a dataset to be saved. BINARY: the
pixels above min + level · (max - min), which boxes lie around. FRACTIONAL: (map - min) / (max - min), 255 steps.
"""

# N sentences, h w rows and columns of the image

from __future__ import annotations

from collections.abc import Iterable, Sequence

import highdicom
import numpy as np
import pydicom
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom.sr.codedict import codes

from sentalign.localize.dicom_out import source_header
from sentalign.localize.findings_overlay import COLOURS
from sentalign.localize.maps.heatmap import Array, is_flat

LABEL, DESCRIPTION = 64, 1024  # bytes of a segment's texts: the standard counts characters, some readers bytes
SERIES = 9001  # far above those of a study


def segmentation(
    source: pydicom.Dataset, maps: Iterable[Array], sentences: Sequence[str], level: float, fractional: bool = False
) -> Segmentation:
    """The object; its UIDs are new. A constant map has an empty segment. The maps are taken one by one."""
    pixels_hwN = np.zeros((source.Rows, source.Columns, len(sentences)), np.float32 if fractional else bool)
    for number, map_hw in enumerate(maps):
        scaled_hw = _scaled(map_hw)
        pixels_hwN[..., number] = scaled_hw if fractional else scaled_hw >= level
    made = Segmentation(
        [source],
        pixels_hwN[None],
        "FRACTIONAL" if fractional else "BINARY",
        [_segment(number, sentence) for number, sentence in enumerate(sentences, 1)],
        highdicom.UID(),
        SERIES,
        highdicom.UID(),
        1,
        content_label="RESEARCH",
        content_description=source_header.NOTICE,
        content_creator_name=f"{source_header.NAME}^",
        omit_empty_frames=False,
        **source_header.equipment(),
    )
    source_header.mark(made, source, "regions of sentences")
    return made


def _scaled(map_hw: Array) -> NDArray[np.float64]:
    """From 0 to 1; a constant map is 0."""
    return np.zeros(map_hw.shape) if is_flat(map_hw) else (map_hw - map_hw.min()) / (map_hw.max() - map_hw.min())


def _segment(number: int, sentence: str) -> SegmentDescription:
    segment = SegmentDescription(
        number,
        # A backslash would make two labels of one.
        sentence.replace("\\", "/").encode()[:LABEL].decode(errors="ignore"),
        codes.SCT.MorphologicallyAbnormalStructure,
        codes.SCT.Lesion,
        "AUTOMATIC",
        source_header.algorithm(),
        tracking_uid=highdicom.UID(),
        tracking_id=f"{number}",
        display_color=CIELabColor.from_rgb(*COLOURS[(number - 1) % len(COLOURS)]),
    )
    segment.SegmentDescription = sentence.encode()[:DESCRIPTION].decode(errors="ignore")
    return segment
