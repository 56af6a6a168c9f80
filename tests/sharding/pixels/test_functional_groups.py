"""Enhanced objects of one frame are shown by their functional groups; other objects are refused by name."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, Sequence

from sharding import pixels
from sharding.contract import Reason, Rejected
from sharding.pixels import functional_groups
from tests.sharding.conftest import dicom_bytes
from tests.sharding.pixels.coded import saved
from tests.sharding.pixels.display_cases import table

ENHANCED = "1.2.840.10008.5.1.4.1.1.12.1.1"  # Enhanced XA
STORED_HW = np.arange(400, dtype=np.uint16).reshape(20, 20)
FLAT = {
    "RescaleSlope": 2,
    "RescaleIntercept": -100,
    "WindowCenter": 300,
    "WindowWidth": 500,
    "PixelSpacing": [0.4, 0.2],
}
MACROS = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth"),
    "PixelMeasuresSequence": ("PixelSpacing",),
}


def group(**elements) -> Dataset:
    """A functional group with these elements in their macros."""
    found = Dataset()
    for macro, names in MACROS.items():
        held = Dataset()
        for name in names:
            if name in elements:
                setattr(held, name, elements[name])
        if len(held):
            setattr(found, macro, Sequence([held]))
    return found


def enhanced(shared: Dataset | None = None, frames: tuple[Dataset, ...] = (), **elements) -> bytes:
    if shared is not None:
        elements["SharedFunctionalGroupsSequence"] = Sequence([shared])
    if frames:
        elements["PerFrameFunctionalGroupsSequence"] = Sequence(frames)
    return dicom_bytes(STORED_HW, SOPClassUID=ENHANCED, NumberOfFrames=1, **elements)


@pytest.mark.parametrize("where", ["shared", "of the frame", "both"])
def test_groups_are_read_as_the_same_elements_at_the_top(where):
    first = {name: FLAT[name] for name in ("RescaleSlope", "RescaleIntercept", "PixelSpacing")}
    rest = {name: FLAT[name] for name in FLAT if name not in first}
    data = {
        "shared": lambda: enhanced(group(**FLAT)),
        "of the frame": lambda: enhanced(None, (group(**FLAT),)),
        "both": lambda: enhanced(group(**first), (group(**rest),)),
    }[where]()
    expected, picture = pixels.read(dicom_bytes(STORED_HW, **FLAT)), pixels.read(data)
    assert picture.grey_HW.tolist() == expected.grey_HW.tolist()
    assert picture.geometry == expected.geometry
    assert picture.provenance | {"voi_source": "window", "modality": "rescale"} == picture.provenance


def test_the_frame_goes_before_what_is_shared_and_the_top_before_both():
    narrow, wide = {"WindowCenter": 10, "WindowWidth": 20}, {"WindowCenter": 200, "WindowWidth": 401}
    shown = pixels.read(dicom_bytes(STORED_HW, **wide)).grey_HW.tolist()
    assert pixels.read(enhanced(group(**narrow), (group(**wide),))).grey_HW.tolist() == shown
    assert pixels.read(enhanced(group(**narrow), (group(**narrow),), **wide)).grey_HW.tolist() == shown


def test_a_lookup_table_of_the_frame_is_used():
    voi = Dataset()
    voi.VOILUTSequence = table(0, range(0, 1200, 3), 12)
    frame = Dataset()
    frame.FrameVOILUTSequence = Sequence([voi])
    assert pixels.read(enhanced(None, (frame,))).provenance["voi_source"] == "lut"


def test_the_anatomy_of_the_frame_counts():
    region, anatomy, frame = Dataset(), Dataset(), Dataset()
    region.CodeMeaning = "Knee"
    anatomy.AnatomicRegionSequence = Sequence([region])
    frame.FrameAnatomySequence = Sequence([anatomy])
    assert pixels.open_image(enhanced(frame)).other_body == "KNEE"


def refused(data: bytes) -> Rejected:
    with pytest.raises(Rejected) as caught:
        pixels.read(data)
    return caught.value


def test_several_frames_are_named():
    several = refused(enhanced(None, (group(**FLAT), group(**FLAT))))
    assert (several.reason, several.message) == (
        Reason.DECODE, "multi-frame: functional groups of several frames, and one image is expected",
    )  # fmt: skip
    assert refused(dicom_bytes(STORED_HW, NumberOfFrames=7)).message == ("multi-frame: one image is expected")


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        ("1.2.840.10008.5.1.4.1.1.66.4", "Segmentation"),
        ("1.2.840.10008.5.1.4.1.1.30", "Parametric Map"),
        ("1.2.840.10008.5.1.4.1.1.481.2", "RT Dose"),
    ],
)
def test_objects_whose_pixels_are_no_picture_are_named(uid, name):
    rejected = refused(dicom_bytes(STORED_HW, SOPClassUID=uid))
    assert rejected.reason == Reason.MODALITY
    assert rejected.message == f"no image but a DICOM object of another kind ({name})"


def test_a_transfer_syntax_without_a_decoder_is_named():
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(STORED_HW)))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0\0"])
    dataset["PixelData"].is_undefined_length = True
    assert "no decoder for the transfer syntax (MPEG2" in refused(saved(dataset)).message


NAMES = st.sampled_from([*functional_groups.LIFTED, "WindowCenter", "PixelSpacing", "PatientName", "RescaleSlope"])
ITEMS = st.recursive(
    st.just(Dataset()),
    lambda inner: st.dictionaries(NAMES, st.one_of(st.lists(inner, max_size=2), st.text(max_size=4)), max_size=3),
    max_leaves=8,
)


def as_dataset(made) -> Dataset:
    """Nested dictionaries as items; whatever pydicom does not take is left out."""
    dataset = Dataset()
    for name, value in made.items() if isinstance(made, dict) else ():
        try:
            setattr(dataset, name, Sequence([as_dataset(one) for one in value]) if isinstance(value, list) else value)
        except (TypeError, ValueError, AttributeError):
            continue
    return dataset


@pytest.mark.filterwarnings("ignore")
@given(st.lists(ITEMS, max_size=2), st.lists(ITEMS, max_size=2))
def test_any_groups_are_lifted_or_refused(shared, frames):
    dataset = Dataset()
    dataset.SharedFunctionalGroupsSequence = Sequence([as_dataset(one) for one in shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([as_dataset(one) for one in frames])
    with contextlib.suppress(Rejected):
        functional_groups.lift(dataset)
    assert "PatientName" not in dataset
