"""The functional groups of an enhanced object with one frame → elements of its own, where the display chain reads them.

In: a parsed dataset. Out: the same dataset with rescale, window, spacing and anatomy of its frame (PS3.3 C.7.6.16). The
frame's own group goes before the one that frames share, and both after what the dataset has itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset

from sharding.contract import Reason, Rejected
from sharding.pixels.header import is_present

GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
# Macro → its elements that a single image has at the top.
LIFTED = {
    "PixelValueTransformationSequence": ("RescaleIntercept", "RescaleSlope", "RescaleType"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    "PixelMeasuresSequence": ("PixelSpacing",),
    "FramePixelDataPropertiesSequence": ("ImagerPixelSpacing", "PixelIntensityRelationship"),
    "FrameAnatomySequence": ("AnatomicRegionSequence",),
}


def lift(dataset: Dataset) -> None:
    """Adds the elements; raises Rejected(PARSE) for groups that cannot be read, DECODE for those of several frames."""
    if not any(name in dataset for name in GROUPS):
        return
    try:
        frames = len(dataset.get(GROUPS[0]) or ())
        found = list(_elements(dataset)) if frames <= 1 else []
    except Exception:  # pydicom raises any type for an element that cannot be read
        raise Rejected(Reason.PARSE, "the functional groups of the enhanced object cannot be read") from None
    if frames > 1:
        raise Rejected(Reason.DECODE, "multi-frame: functional groups of several frames, and one image is expected")
    for item, name in found:
        if not is_present(dataset, name):
            dataset.add(item[name])


def _elements(dataset: Dataset) -> Iterator[tuple[Dataset, str]]:
    for group in GROUPS:
        for macro, names in LIFTED.items():
            for item in (dataset.get(group) or [Dataset()])[0].get(macro) or ():
                yield from ((item, name) for name in names if is_present(item, name))
