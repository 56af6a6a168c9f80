"""Sections have exact offsets and names of the table, and the part that describes the image is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.sources import open_i_xml
from sharding.text.headers import HEADERS, IMAGE_SECTIONS, WITHOUT_COLON
from sharding.text.sections import NAMES, is_preliminary, known_header, official, plain, sections

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  cough // pneumonia?

 FINDINGS:

 The heart is large.
 No effusion.

 IMPRESSION:

 Cardiomegaly.
"""
RULE = " ______________________________________________________________________________\n"
HEADERS_AND_SECTIONS = [(words, name) for name, several in HEADERS.items() for words in several]


def contents(text: str, found) -> dict[str, str]:
    return {section.name: text[section.start : section.end] for section in found}


def parts(text: str, found) -> list[tuple[str, str]]:
    return [(section.name, " ".join(text[section.start : section.end].split())) for section in found]


def test_the_sections_of_a_report():
    assert contents(REPORT, sections(REPORT)) == {
        "examination": "CHEST (PA AND LAT)",
        "indication": "cough // pneumonia?",
        "findings": "The heart is large.\n No effusion.",
        "impression": "Cardiomegaly.",
    }


@pytest.mark.parametrize(("words", "name"), HEADERS_AND_SECTIONS)
def test_every_header_of_the_table(words, name):
    for text in (
        f"{words}:\n Something here.",
        f" {words} : Something here.\n",
        f" Before.\n\n {words}\n Something here.",
    ):
        assert contents(text, sections(text))[name] == "Something here."


@pytest.mark.parametrize(("words", "name"), HEADERS_AND_SECTIONS)
def test_a_header_in_mixed_case_opens_the_same_section(words, name):
    text = f"Before.\n{words.capitalize()}: Something here."
    assert contents(text, sections(text))[name] == "Something here."


@pytest.mark.parametrize("words", WITHOUT_COLON)
def test_some_headers_need_no_colon_and_have_words_behind_them(words):
    text = f" IMPRESSION: Clear.\n {words} #1 9:34 PM\n Something here."
    assert parts(text, sections(text))[0] == ("impression", "Clear.")
    assert parts(text, sections(text))[1][1] == "#1 9:34 PM Something here."


CLEAR = [("findings", "Clear."), ("impression", "Normal.")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("INDICATION: cough. COMPARISON: none. FINDINGS: Clear. IMPRESSION: Normal.", CLEAR),
        ("Indication: cough. Comparison: none. Findings: Clear. Impression: Normal.", CLEAR),
        ("findings: Clear.\nimpression: Normal.\n", CLEAR),
        ("FINDINGS\n\nClear.\n\nIMPRESSION\n\nNormal.", CLEAR),
        (" Findings\n Clear.\n\n Impression\n Normal.", CLEAR),
        (" FINDINGS:\r\n \r\n Clear.\r\n \r\n IMPRESSION:\r\n Normal.\r\n", CLEAR),
        (" FINDINGS:  Clear.  IMPRESSION:1. Normal.", [("findings", "Clear."), ("impression", "1. Normal.")]),
        (
            " CHEST, 2 VIEWS:\n\n HISTORY: x\n\n PA AND LATERAL VIEWS OF THE CHEST:  Clear.\n\n IMPRESSION: Normal.",
            CLEAR,
        ),
        (" FINDINGS / IMPRESSION: Clear.", [("findings and impression", "Clear.")]),
        (" IMPRESSION: One.\n\n IMPRESSION: Two.", [("impression", "One."), ("impression", "Two.")]),
        (" IMPRESSION: Clear.\n WET READ VERSION #1 ___ 9:34 PM\n Effusion.\n", [("impression", "Clear.")]),
        (" FINDINGS: Clear.\n ADDENDUM: Phoned.\n" + RULE + " Dr. ___", [("findings", "Clear.")]),
    ],
)
def test_ways_to_write_headers(text, expected):
    assert parts(text, official(text)) == expected


@pytest.mark.parametrize(
    "findings",
    [
        "Comparison: none.\n The heart is large.",
        "Seen in comparison: nothing.\n No change at\n 10:15.",
        "As described in the\n impression: below.",
        "LUNGS: Clear.\n HEART AND MEDIASTINUM: Normal.\n TUBES AND LINES: None.",
        "THE FOLLOWING WAS\n SEEN TODAY: EFFUSION AND\n EDEMA.",
        "Chest: 2 images. Heart size is normal.",
        "The study\n STUDY was repeated.",
    ],
)
def test_words_of_a_sentence_are_no_header(findings):
    text = f" INDICATION: x\n FINDINGS:\n {findings}\n\n IMPRESSION: y"
    assert contents(text, sections(text))["findings"] == findings


@pytest.mark.parametrize("words", ["JOHN SMITH", "ORDERING PHYSICIAN", "DR. J. DOE", "MRN 123"])
def test_an_unknown_header_ends_a_section_and_its_words_go_nowhere(words):
    text = f" FINDINGS: Clear.\n {words}: Jane\n IMPRESSION: Normal."
    assert [section.name for section in sections(text)] == ["findings", "other", "impression"]
    assert parts(text, official(text)) == CLEAR
    assert parts(text, plain(text)) == [("findings", "Clear."), ("other", "Jane"), ("impression", "Normal.")]


def test_findings_and_impression_describe_the_image():
    assert list(contents(REPORT, official(REPORT))) == ["findings", "impression"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" FINAL REPORT\n INDICATION:  cough\n\n COMPARISON:  ___.\n\n The heart\n is large.\n", "The heart is large."),
        (" INDICATION:  cough\r\n \r\n The heart\r\n is large.\r\n", "The heart is large."),
        ("First.\n\n INDICATION: cough\n\n NOTIFICATION: Dr. ___ was called.", "First."),
        (" INDICATION: cough\n\n First.\n\n ORDERED BY: Jane", "First."),
        (" FINAL REPORT\n COMPARISON: ___. The heart is large.", "___. The heart is large."),
        ("The heart is large.", "The heart is large."),
    ],
)
def test_without_findings_and_impression_the_last_paragraph_serves(text, expected):
    assert parts(text, official(text)) == [("last paragraph", expected)]


@pytest.mark.parametrize("text", ["", " \n", " INDICATION: cough", " HISTORY: x\n\n TECHNIQUE: PA and lateral."])
def test_a_report_that_says_nothing_of_the_image_has_no_part(text):
    assert official(text) == []


@pytest.mark.parametrize(
    "before",
    [
        " ADDENDUM  FINDINGS:\n Wrong side.\n" + RULE,
        " WET READ: ___ 7:25 PM\n IMPRESSION: Wrong.\n" + RULE,
        " ADDENDUM  Dr. ___ was called.\n IMPRESSION: Wrong.\n" + RULE + " FINAL ADDENDUM\n Again.\n" + RULE,
        " ADDENDUM: IMPRESSION: Wrong.\n",
        RULE + " ADDENDUM\n IMPRESSION: Wrong.\n" + RULE,
    ],
)
def test_what_stands_before_the_report_is_passed_over(before):
    text = before + REPORT
    assert parts(text, official(text)) == [
        ("findings", "The heart is large. No effusion."),
        ("impression", "Cardiomegaly."),
    ]
    bare = before + " FINAL REPORT\n The heart is large.\n"
    assert parts(bare, official(bare)) == [("last paragraph", "The heart is large.")]


def test_an_addendum_alone_is_read():
    text = " ADDENDUM: IMPRESSION: Nodule.\n" + RULE
    assert parts(text, official(text))[0][1].startswith("Nodule.")


def test_plain_text_is_one_section():
    assert contents("  Edema. \n", plain("  Edema. \n")) == {"text": "Edema."}
    assert plain(" \n") == []


def test_plain_text_with_sections_loses_only_what_does_not_describe_the_image():
    text = "Film of the chest.\nHistory: cough.\nImpression: Edema."
    assert contents(text, plain(text)) == {"text": "Film of the chest.", "impression": "Edema."}
    assert contents("History: cough. Edema.", plain("History: cough. Edema.")) == {"text": "History: cough. Edema."}


def test_addenda_and_preliminary_readings_of_plain_text():
    text = "FINDINGS: Clear.\nADDENDUM: Nodule."
    assert contents(text, plain(text)) == {"findings": "Clear.", "addendum": "Nodule."}
    assert contents("ADDENDUM: Nodule.", plain("ADDENDUM: Nodule.")) == {"addendum": "Nodule."}
    assert contents("WET READ: Nodule.", plain("WET READ: Nodule.")) == {"preliminary": "Nodule."}
    text = "WET READ: Edema.\n FINAL REPORT\n No edema."
    assert contents(text, plain(text)) == {"report": "No edema."}


@pytest.mark.parametrize(
    ("text", "preliminary"),
    [
        ("WET READ: Edema.", True),
        ("PRELIMINARY REPORT\nINDICATION: x\nFINDINGS: Edema.", True),
        ("INDICATION: x\nPRELIMINARY REPORT\nEdema.", True),
        ("FINDINGS: Edema.\nWET READ: None.", False),
        ("WET READ: Edema.\n FINAL REPORT\n No edema.", False),
        ("ADDENDUM: The wet read was wrong.", False),
        ("Edema.", False),
        ("", False),
    ],
)
def test_what_is_nothing_but_a_preliminary_reading(text, preliminary):
    assert is_preliminary(text) is preliminary


def test_a_label_that_is_no_header_of_the_table_is_said_no_more():
    assert (known_header("Findings"), known_header(" impression "), known_header("John Smith"), known_header("")) == (
        *("FINDINGS", "IMPRESSION"),
        *("OTHER", "OTHER"),
    )


WORDS = st.sampled_from(
    [
        *("FINDINGS:", "IMPRESSION:", "Findings: ", "Comparison:", "JOHN SMITH:", "LUNGS:", "FINAL REPORT", "ADDENDUM"),
        *(
            "Heart.",
            "heart",
            "\n",
            "\n",
            "\n\n",
            "\r\n",
            " ",
            "  ",
            "\t",
            "____________",
            "10:15",
            ":",
            ".",
            "é",
            "\u2028",
        ),
    ]
)


@given(st.one_of(st.lists(WORDS).map("".join), st.text(), st.text(alphabet="AB :\n_\r\t.")))
def test_sections_are_exact_in_order_and_disjoint_whatever_the_text(text):
    for found in (sections(text), official(text), plain(text)):
        ends = [0]
        for section in found:
            assert ends[-1] <= section.start < section.end <= len(text)
            assert text[section.start : section.end].strip() == text[section.start : section.end]
            assert section.name in NAMES
            ends.append(section.end)
    assert {section.name for section in official(text)} <= {*IMAGE_SECTIONS, "last paragraph"}


@pytest.mark.parametrize("piece", [" ", "\n", "_" * 12 + "\n", "A", "A B: ", "ADDENDUM\n" + RULE, "FINDINGS: ", "a. "])
def test_a_long_text_takes_no_longer_by_the_character(piece):
    official(piece * (300_000 // len(piece)))  # ends only where no step grows with the square of the length


@pytest.mark.realdata
def test_the_labels_of_real_reports_are_found_again(realdata):
    from sharding.text import encoding

    archive = str(next((realdata / "openi").glob("*.tgz")))
    found = [open_i_xml.parse(data, name) for name, data in open_i_xml.members(encoding.read(archive), archive)]
    assert len(found) == 2633
    unlike = 0
    for report in found:
        labelled = {
            name.lower(): text for name, text in (part.split(": ", 1) for part in report.text.split("\n\n") if part)
        }
        merged: dict[str, str] = {}
        for name, text in parts(report.text, sections(report.text)):
            merged[name] = " ".join(filter(None, (merged.get(name), text)))
        assert all(merged.get(name) == labelled.get(name) for name in IMAGE_SECTIONS)
        unlike += merged != labelled
    # These repeat a header inside the part of that name, one has "COMPARISON :" inside the indication.
    assert unlike == 9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "EXAM: Chest HISTORY: cough FINDINGS: Right opacity IMPRESSION: Scar",
            {"findings": "Right opacity", "impression": "Scar"},
        ),
        ("HISTORY: COUGH FINDINGS: OPACITY IMPRESSION: SCAR", {"findings": "OPACITY", "impression": "SCAR"}),
        (
            "Two views, indication dyspnea FINDINGS: Opacity",
            {"text": "Two views, indication dyspnea", "findings": "Opacity"},
        ),
        (
            "Portable chest Findings: Opacity. Impression: Scar",
            {"text": "Portable chest", "findings": "Opacity.", "impression": "Scar"},
        ),
        ("EXAM: CHEST INDICATION: pain TECHNIQUE: two views FINDINGS: Clear", {"findings": "Clear"}),
        ("FINDINGS: The lungs: clear. Right lung: Scar.", {"findings": "The lungs: clear. Right lung: Scar."}),
        ("FINDINGS: Seen at 12:30 in Technique room", {"findings": "Seen at 12:30 in Technique room"}),
    ],
)
def test_a_report_on_one_line_keeps_its_findings(text, expected):
    assert {section.name: text[section.start : section.end] for section in plain(text)} == expected
