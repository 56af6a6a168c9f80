"""Single values of a header: read where they can be, never guessed."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset, Sequence

from sharding import pixels
from sharding.contract import Reason, Rejected
from sharding.pixels import examination, header

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
    assert examination.view(dataset(ViewPosition=written)) == view


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


def coded(code: str, scheme: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, scheme, meaning
    return Sequence([item])


@pytest.mark.parametrize(
    ("item", "view"),
    [
        (("399348003", "SCT", "antero-posterior"), "AP"),
        (("R-10206", "SRT", "x"), "AP"),
        (("272479007", "SCT", ""), "PA"),
        (("R-10214", "SNM3", "postero-anterior"), "PA"),
        (("399173006", "SCT", "left lateral"), "LL"),
        (("R-10232", "SRT", "right lateral"), "RL"),
        (("1", "99X", "Posteroanterior projection"), "PA"),
        (("1", "99X", "lateral"), "LATERAL"),
        (("1", "99X", "Jane Roe"), ""),
    ],
)
def test_the_view_of_a_code_sequence(dicom_bytes, item, view):
    data = dicom_bytes(ViewCodeSequence=coded(*item))
    assert pixels.open_image(data).view == view
    assert pixels.open_image(dicom_bytes(ViewCodeSequence=coded(*item), ViewPosition="AP")).view == "AP"


@pytest.mark.parametrize(
    ("uid", "words"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.11", "Basic Text SR"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "Presentation State"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "Key Object"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF"),
    ],
)
def test_an_object_without_pixels_is_called_what_it_is(dicom_bytes, uid, words):
    data = dicom_bytes(SOPClassUID=uid, PixelData=None, Rows=None)
    with pytest.raises(Rejected, match=words) as caught:
        pixels.open_image(data)
    assert caught.value.reason == Reason.MODALITY


def test_colour_without_a_planar_configuration_lacks_a_tag(dicom_bytes):
    rgb_HWC = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(Rejected, match="missing or empty: PlanarConfiguration") as caught:
        pixels.open_image(dicom_bytes(rgb_HWC, PhotometricInterpretation="RGB"))
    assert caught.value.reason == Reason.REQUIRED_TAGS
    assert pixels.open_image(dicom_bytes(rgb_HWC, PhotometricInterpretation="RGB", PlanarConfiguration=0))
