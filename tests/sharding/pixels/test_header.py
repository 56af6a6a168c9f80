"""Single values of a header: read where they can be, never guessed."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from sharding.pixels import header

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, for values that break the standard


def dataset(**elements) -> Dataset:
    found = Dataset()
    for name, value in elements.items():
        setattr(found, name, value)
    return found


def test_the_ids_and_the_modality_are_text():
    found = dataset(Modality="cr", PatientID=" K1 ", StudyInstanceUID="1.2.3")
    assert header.modality(found) == "CR"
    assert header.patient_id(found) == "K1"
    assert header.study_id(found) == "1.2.3"
    assert header.modality(Dataset()) == header.patient_id(Dataset()) == header.study_id(Dataset()) == ""


@pytest.mark.parametrize(("written", "view"), [("PA", "PA"), ("ap ", "AP"), ("LATERAL", "LATERAL"), ("Jane Roe", "")])
def test_a_view_is_one_of_the_codes_of_the_standard(written, view):
    assert header.view(dataset(ViewPosition=written)) == view


def test_several_values_are_one_text():
    assert header.text(dataset(ImageType=["ORIGINAL", "PRIMARY"]), "ImageType") == "ORIGINAL PRIMARY"
    assert header.text(Dataset(), "ImageType") == ""


@pytest.mark.parametrize(
    ("spacing", "found"),
    [(["0.1", "0.2"], (0.1, 0.2)), (["0", "0.2"], None), (["-1", "1"], None), (["0.1"], None), (None, None)],
)
def test_a_pair_is_two_positive_numbers(spacing, found):
    assert header.pair(dataset(PixelSpacing=spacing), "PixelSpacing") == found


@pytest.mark.parametrize(("value", "found"), [("40", 40.0), (["40", "80"], 40.0), (None, None), ("nan", None)])
def test_a_number_is_the_first_of_several_and_finite(value, found):
    assert header.number(dataset(WindowCenter=value), "WindowCenter") == found


def test_a_file_without_prefix_is_no_dicom():
    assert header.is_dicom(bytes(128) + b"DICM")
    assert not header.is_dicom(b"DICM")
