"""The names, ids and places of a header are found in it, however deep they lie."""

from __future__ import annotations

import io

import pytest
from pydicom import Dataset, dcmread, uid

from sharding.deid.header_identifiers import identifiers
from sharding.deid.reports.masking import mask
from sharding.pixels import header

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, for values that break the standard


def named(dicom_bytes, **elements) -> Dataset:
    return header.parse(dicom_bytes(**elements))


@pytest.mark.parametrize(
    ("elements", "name"),
    [
        ({"PatientName": "Zimmermann^Ida"}, "Zimmermann"),
        ({"OperatorsName": ["Roe^Jane", "Hartley^Tom"]}, "Hartley"),
        ({"OtherPatientNames": "Dubois^Ida"}, "Dubois"),
        ({"PatientBirthName": "Okafor"}, "Okafor"),
        ({"NameOfPhysiciansReadingStudy": "van der Berg^Jan"}, "Berg"),
        ({"PatientID": "K-4412"}, "K4412"),
        ({"AccessionNumber": "0031177"}, "31177"),
        ({"InstitutionName": "Northfield Clinic"}, "Northfield"),
        ({"PatientAddress": "12 Mapleton Street"}, "Mapleton"),
        ({"CurrentPatientLocation": "Ward 3B"}, "Ward 3B"),
        ({"DeviceSerialNumber": "SN88A1203"}, "SN88A1203"),
    ],
)
def test_what_the_header_names_is_masked(dicom_bytes, elements, name):
    masked, counts = mask(f"Seen by {name} today.", identifiers(named(dicom_bytes, **elements)))
    assert name not in masked
    assert counts["known"] == 1


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_names_in_sequences_are_found(dicom_bytes, syntax):
    dataset = dcmread(io.BytesIO(dicom_bytes()))
    operator, other = Dataset(), Dataset()
    operator.PersonName = "Tlaloc^Ada"
    other.PatientID, other.OtherPatientIDsSequence = "Q8841", [operator]
    dataset.RequestAttributesSequence = [other]
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dataset.save_as(buffer, implicit_vr=syntax.is_implicit_VR)
    found = identifiers(header.parse(buffer.getvalue()))
    assert ("tlaloc", "ada") in found.persons
    assert "q8841" in found.ids


def test_names_in_private_elements_are_found(dicom_bytes):
    dataset = dcmread(io.BytesIO(dicom_bytes()))
    block = dataset.private_block(0x0099, "MAKER", create=True)
    block.add_new(0x01, "PN", "Tlaloc^Ada")
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    assert ("tlaloc", "ada") in identifiers(header.parse(buffer.getvalue())).persons


def test_words_that_every_header_has_mask_nothing(dicom_bytes):
    dataset = named(
        dicom_bytes,
        PatientName="Anonymous^Patient",
        PatientID="PATIENT0017",
        StudyID="1",
        InstitutionalDepartmentName="Chest Radiology",
        StationName="CHEST1",
        RequestingService="Emergency",
    )
    text = "The patient of study 1: chest 1 in radiology, an emergency."
    assert mask(text, identifiers(dataset))[0] == text


def test_a_header_that_says_nothing_and_a_damaged_name_mask_nothing(dicom_bytes):
    assert identifiers(named(dicom_bytes)).find("Heart") == ([], 0)
    dataset = named(dicom_bytes, PatientName="Zimmermann")
    dataset.SpecificCharacterSet = "nonsense"
    assert identifiers(dataset).find("Heart") == ([], 0)


@pytest.mark.realdata
def test_headers_of_real_files_are_read_whole(realdata):
    read = 0
    for path in sorted((realdata / "dicom").rglob("*.dcm")):
        if path.parent.name != "malformed":
            read += bool(identifiers(header.parse(path.read_bytes())).persons)
    assert read >= 20
