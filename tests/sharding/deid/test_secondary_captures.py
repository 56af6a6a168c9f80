"""Images that may show identity are refused by what their header says; silence passes unless the rules are strict."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from sharding.contract import Rejected
from sharding.deid import secondary_captures
from sharding.pixels import header

CR, SC = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.7"


def dataset(**elements) -> Dataset:
    found = Dataset()
    for name, value in ({"SOPClassUID": CR, "Modality": "CR"} | elements).items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    "elements",
    [
        {"BurnedInAnnotation": "YES"},
        {"BurnedInAnnotation": "Y"},
        {"RecognizableVisualFeatures": "YES"},
        {"ConversionType": "SD"},
        {"ConversionType": "SI"},
        {"ConversionType": "DRW"},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREENSHOT"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "PATIENT_PROTOCOL"]},
        {"ImageType": ["DERIVED", "SECONDARY", "OTHER", "CSA REPORT"]},
        {"ImageType": ["DERIVED", "PRIMARY", "DOSE_INFO"]},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"},
        {"Modality": "DOC"},
    ],
)
def test_a_flag_in_the_header_refuses_an_image(elements):
    assert secondary_captures.refusal(dataset(**elements))
    assert secondary_captures.refusal(dataset(**elements), strict=True)


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"BurnedInAnnotation": "NO", "RecognizableVisualFeatures": "NO"},
        {"SOPClassUID": SC, "ConversionType": "WSD"},
        {"SOPClassUID": SC, "ConversionType": "SYN", "Modality": "OT"},
        {"ConversionType": "DF"},
        {"ImageType": ["DERIVED", "PRIMARY", "POST_PROCESSED", "", "SCREENING"]},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.1", "Modality": "RTIMAGE"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1", "Modality": "DX"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1", "Modality": "US"},
    ],
)
def test_what_nothing_speaks_against_passes(elements):
    assert secondary_captures.refusal(dataset(**elements)) == ""


@pytest.mark.parametrize(
    ("elements", "passes"),
    [
        ({"BurnedInAnnotation": "NO"}, True),
        ({}, False),
        ({"BurnedInAnnotation": "NO", "SOPClassUID": SC}, False),
        ({"BurnedInAnnotation": "NO", "SOPClassUID": SC + ".2"}, False),
        ({"BurnedInAnnotation": "NO", "ConversionType": "WSD"}, False),
    ],
)
def test_strict_rules_take_only_what_a_modality_made_and_says_no(elements, passes):
    message = secondary_captures.refusal(dataset(**elements), strict=True)
    assert (message == "") == passes
    assert passes or "--captures flagged" in message


@pytest.mark.parametrize("name", ["ImageType", "BurnedInAnnotation"])
def test_no_message_and_no_warning_holds_a_value_of_the_header(dicom_bytes, recwarn, name):
    data = dicom_bytes(**{name: "JANEROES REPORT"}).replace(b"JANEROES REPORT", b"Jane Roe REPORT")
    recwarn.clear()
    found = header.parse(data)
    message = secondary_captures.refusal(found, strict=True)
    assert message
    assert "Roe" not in message
    assert secondary_captures.counted(found)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("elements", "kinds"),
    [
        ({}, {"burned_in_not_said"}),
        ({"BurnedInAnnotation": "NO"}, {"burned_in_no"}),
        ({"SOPClassUID": SC}, {"burned_in_not_said", "secondary_capture"}),
        ({"ConversionType": "DF"}, {"burned_in_not_said", "secondary_capture", "digitized_film"}),
    ],
)
def test_what_the_header_says_is_counted(elements, kinds):
    found = secondary_captures.counted(dataset(**elements))
    assert set(found) == kinds
    assert kinds <= set(secondary_captures.COUNTED)


def test_pictures_without_a_header_are_counted():
    assert secondary_captures.counted(None) == ("no_dicom_header",)


@pytest.mark.realdata
def test_every_valid_real_file_passes_and_few_are_strict(realdata):
    parsed = []
    for path in sorted((realdata / "dicom").rglob("*.dcm")):
        if path.parent.name != "malformed":
            parsed.append(header.parse(path.read_bytes()))
    assert len(parsed) == 28
    assert [secondary_captures.refusal(found) for found in parsed] == [""] * 28
    assert sum(secondary_captures.refusal(found, strict=True) == "" for found in parsed) == 2


@pytest.mark.realdata
def test_malformed_files_that_can_be_parsed_break_nothing(realdata):
    for path in sorted((realdata / "dicom" / "malformed").iterdir()):
        try:
            found = header.parse(path.read_bytes())
        except Rejected:
            continue
        assert isinstance(secondary_captures.refusal(found, strict=True), str)
        assert secondary_captures.counted(found)
