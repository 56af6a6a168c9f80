"""Boxes of sentences → a DICOM structured report by template TID 1500 (DICOM PS3.16).

In: the header of the source image and localizations. Out: a dataset to be saved. Every box is a planar region of the
image with its sentence as tracking identifier, and two measurements: the score of the sentence and that of the box.
"""

from __future__ import annotations

from collections.abc import Sequence

import highdicom
import numpy as np
import pydicom
from highdicom import sr
from pydicom.sr.codedict import codes

from sentalign.localize.boxes import Box, Localization
from sentalign.localize.dicom_out import source_header

SERIES = 9003
SCHEME = "99SENTALIGN"
SENTENCE_SCORE = sr.CodedConcept("sentence-score", SCHEME, "Highest score of a region with the sentence")
BOX_SCORE = sr.CodedConcept("box-score", SCHEME, "Mean of the map in the box, 0 to 1")


def report(source: pydicom.Dataset, found: Sequence[Localization]) -> sr.ComprehensiveSR:
    """The object, of at least one box; its UIDs are new. A sentence without a box, of a constant map, has no region."""
    device = sr.DeviceObserverIdentifyingAttributes(
        highdicom.UID(), source_header.NAME, source_header.NAME, source_header.NAME
    )
    context = sr.ObserverContext(codes.DCM.Device, device)
    content = sr.MeasurementReport(
        sr.ObservationContext(observer_device_context=context),
        codes.cid100.XRUnspecifiedBodyRegion,
        [_region(source, one, box) for one in found for box in one.boxes],
        title=codes.DCM.ImagingMeasurementReport,
    )
    made = sr.ComprehensiveSR(
        [source],
        content[0],
        highdicom.UID(),
        SERIES,
        highdicom.UID(),
        1,
        manufacturer=source_header.NAME,
    )
    source_header.mark_research(made, "boxes of sentences")
    return made


def _region(source: pydicom.Dataset, one: Localization, box: Box) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    left, top, right, bottom = box.x, box.y, box.x + box.width, box.y + box.height
    corners_52 = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
    image = sr.SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID)
    scores = ((SENTENCE_SCORE, one.score), (BOX_SCORE, box.score))
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        sr.TrackingIdentifier(highdicom.UID(), one.sentence),
        referenced_region=sr.ImageRegion("POLYLINE", corners_52, image),
        finding_type=codes.SCT.Lesion,
        measurements=[sr.Measurement(name, value, codes.UCUM.NoUnits) for name, value in scores],
    )
