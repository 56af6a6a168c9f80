"""Of several examinations in one report the chest X-ray is taken, where headings make it clear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.text.examinations import several
from sharding.text.table_rows import blanked

CHEST = "FINDINGS: Lungs are clear.\nIMPRESSION: No acute disease."
OTHER = "FINDINGS: The liver is large.\nIMPRESSION: Hepatomegaly."


def kept(text: str) -> str | None:
    spans = several(text)
    return None if spans is None else " ".join(blanked(text, spans).split())


@pytest.mark.parametrize(
    "other",
    [
        "CT ABDOMEN AND PELVIS WITH CONTRAST",
        "EXAMINATION: CT abdomen",
        "MRI OF THE BRAIN:",
        "ABDOMEN, 2 VIEWS",
        "2. LUMBAR SPINE RADIOGRAPHS",
        "CT CHEST WITHOUT CONTRAST",
        "US ABDOMEN",
    ],
)
@pytest.mark.parametrize("chest", ["CHEST RADIOGRAPH", "CHEST, PA AND LATERAL", "EXAM: Chest", "PORTABLE CHEST X-RAY"])
def test_the_chest_is_taken_before_and_after(other, chest):
    wanted = " ".join(CHEST.split())
    assert kept(f"{other}\n\n{OTHER}\n\n{chest}\n\n{CHEST}\n") == wanted
    assert kept(f"{chest}\n\n{CHEST}\n\n{other}\n\n{OTHER}\n") == wanted


def test_headings_inside_lines_and_reports_without_sections():
    assert kept("Chest radiograph: The lungs are clear.\n\nCT abdomen: The liver is large.") == "The lungs are clear."
    text = "CT HEAD: No bleed is seen. CHEST RADIOGRAPH: The lungs are clear. CT ABDOMEN: The liver is large."
    assert kept(text) == "CHEST RADIOGRAPH: The lungs are clear."  # a header of findings


def test_an_impression_at_the_end_may_be_that_of_all():
    text = "CHEST X-RAY\nFINDINGS: Lungs are clear.\n\nABDOMEN, 2 VIEWS\nFINDINGS: No free air seen.\n"
    text += "IMPRESSION: 1. No pneumonia."
    assert kept(text) == "FINDINGS: Lungs are clear. IMPRESSION: 1. No pneumonia."


@pytest.mark.parametrize(
    "tail",
    [
        "IMPRESSION: Right pneumothorax.",
        "IMPRESSION: 1. Right pneumothorax. 2. Hepatomegaly.",
        "ADDENDUM: There is a right pneumothorax.",
        "ADDENDUM: On the chest radiograph there is a right pneumothorax.",
    ],
)
@pytest.mark.parametrize("joint", ["\n\n", "\n", " "])
def test_a_second_impression_and_an_addendum_are_kept(tail, joint):
    chest, other = f"CHEST RADIOGRAPH\n{CHEST}", f"CT ABDOMEN\n{OTHER}"
    wanted = " ".join(CHEST.split())
    assert kept(f"{chest}\n\n{other}{joint}{tail}") == f"{wanted} {tail}"
    assert kept(f"{other}{joint}{tail}\n\n{chest}") == f"{tail} {wanted}"
    both = f"{chest}\n\n{other}\n\nMRI OF THE BRAIN\n{OTHER}{joint}{tail}\n{OTHER}"
    assert kept(both) == f"{wanted} {tail} {' '.join(OTHER.split())}"


@pytest.mark.parametrize(
    "words",
    ["The chest shows a nodule.", "Compared with the X-ray", "On the radiograph, edema.", "Lower thorax: Edema."],
)
def test_nothing_is_cut_that_names_the_chest_or_its_x_ray(words):
    report = f"CHEST RADIOGRAPH\n{CHEST}\n\nCT ABDOMEN\n{{}}FINDINGS: The liver is large.{{}}\nIMPRESSION: Liver.\n"
    assert several(report.format("", f" {words}")) == []
    assert several(report.format("", f"\n{words}")) == []
    assert kept(report.format(f"COMPARISON: {words}\n", "")) == " ".join(CHEST.split())  # another examination


def test_a_ct_of_the_chest_is_cut_for_its_heading_alone():
    report = f"CHEST RADIOGRAPH\n{CHEST}\n\nCT CHEST\nFINDINGS: There is a mass{{}}.\nIMPRESSION: Mass."
    assert kept(report.format("")) == " ".join(CHEST.split())
    assert several(report.format(" of the chest wall")) == []


@pytest.mark.parametrize(
    "text",
    [
        "EXAM: CT HEAD\nEXAM: CHEST RADIOGRAPH\nFINDINGS: Lungs clear. Brain normal.",
        "CHEST RADIOGRAPH\nLungs are clear today.\nCT ABDOMEN\n\nFINDINGS: The liver is large.",
        "CHEST RADIOGRAPH\n\nFINDINGS: Lungs are clear.\n\nCT ABDOMEN\n\nThe liver is large.",
    ],
)
def test_what_cannot_be_told_apart_is_taken_whole(text):
    assert several(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        CHEST,
        f"EXAMINATION: CHEST (PA AND LAT)\n\nCOMPARISON:\nCT CHEST ___\n\n{CHEST}",
        f"CHEST, PA AND LATERAL\n\nCOMPARISON: Chest radiograph of ___,\nCT ABDOMEN\n\n{CHEST}",
        "CHEST AND ABDOMEN RADIOGRAPHS\n\nFINDINGS: Clear.",
        "CHEST RADIOGRAPH\n\nCHEST: Clear lungs.\n\nABDOMEN: No free air.\n\nHEART: Normal.",
        "CHEST RADIOGRAPH\n\nFINDINGS: CT CHEST is recommended. CT chest showed a nodule.",
        "PORTABLE AP CHEST\n\nFINDINGS: Clear.\n\nCHEST, PA AND LATERAL\n\nFINDINGS: Clear.",
        f"CT CHEST\n\n{OTHER}",
        f"CT ABDOMEN AND CHEST RADIOGRAPH\n\n{CHEST}",
    ],
)
def test_one_examination_stays_as_it_is(text):
    assert several(text) is None


PIECES = st.sampled_from(
    [
        "CT ABDOMEN",
        "CHEST RADIOGRAPH",
        "Chest radiograph:",
        "EXAM: ",
        "\n",
        "\n\n",
        "FINDINGS: ",
        "IMPRESSION:",
        "The lungs are clear.",
        "COMPARISON:",
        "ADDENDUM: ",
        "CT HEAD: ",
        " ",
        ". ",
    ]
)


@given(st.one_of(st.lists(PIECES).map("".join), st.text()))
def test_spans_are_in_order_and_never_all_of_the_text(text):
    spans = several(text) or []
    ends = [0]
    for start, end in spans:
        assert ends[-1] <= start < end <= len(text)
        ends.append(end)
    assert not spans or blanked(text, spans).strip()


@pytest.mark.parametrize(
    "piece", ["CT ABDOMEN\n", "CHEST X-RAY\nCT HEAD\na b c\n", "A ", "A. CT HEAD:", "EXAM: ", "\n", " "]
)
def test_a_long_text_takes_no_longer_by_the_character(piece):
    several(piece * (100_000 // len(piece)))
