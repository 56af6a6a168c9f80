"""Sections have exact offsets, and the part that describes the image is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.reports import HEADERS, official, plain, sections

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  cough // pneumonia?

 FINDINGS:

 The heart is large.
 No effusion.

 IMPRESSION:

 Cardiomegaly.
"""


def contents(text: str, found) -> dict[str, str]:
    return {section.name: text[section.start : section.end] for section in found}


def test_the_sections_of_a_report():
    assert contents(REPORT, sections(REPORT)) == {
        "examination": "CHEST (PA AND LAT)",
        "indication": "cough // pneumonia?",
        "findings": "The heart is large.\n No effusion.",
        "impression": "Cardiomegaly.",
    }


@pytest.mark.parametrize(
    ("name", "header"), [(name, header) for name, headers in HEADERS.items() for header in headers]
)
def test_every_header_of_the_table(name, header):
    text = f"{header}:\n Something here."
    assert contents(text, sections(text)) == {name: "Something here."}


def test_findings_and_impression_describe_the_image():
    assert list(contents(REPORT, official(REPORT))) == ["findings", "impression"]


def test_without_both_the_last_paragraph_serves():
    text = " FINAL REPORT\n INDICATION:  cough\n\n COMPARISON:  ___.\n\n The heart is large.\n No effusion.\n"
    assert contents(text, official(text)) == {"last paragraph": "The heart is large.\n No effusion."}


def test_a_header_that_opens_the_last_paragraph_is_left_out():
    text = " INDICATION:  cough\n\n PA AND LATERAL VIEWS OF THE CHEST:  The heart is large."
    assert contents(text, official(text)) == {"last paragraph": "The heart is large."}


def test_an_addendum_is_passed_over():
    text = f" ADDENDUM  FINDINGS:\n Wrong side.\n ______________________________________\n{REPORT}"
    assert contents(text, official(text))["findings"] == "The heart is large.\n No effusion."


def test_plain_text_is_one_section():
    assert contents("  Edema. \n", plain("  Edema. \n")) == {"text": "Edema."}
    assert plain(" \n") == []


@given(
    st.lists(
        st.sampled_from(["FINDINGS:", "IMPRESSION:", "Heart.", "\n", "\n\n", " ", "____________", "ADDENDUM"])
    ).map("".join)
)
def test_sections_stand_in_order_and_never_overlap(text):
    for found in (sections(text), official(text)):
        ends = [0]
        for section in found:
            assert ends[-1] <= section.start < section.end <= len(text)
            assert text[section.start : section.end].strip() == text[section.start : section.end]
            ends.append(section.end)
