"""Rows of numbers are no sentences; a line of prose never is a row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.text import table_rows
from sharding.text.readable import readable
from sharding.text.sentences import split


def left(text: str) -> list[str]:
    found = split(text)
    assert all(" ".join(text[one.start : one.end].split()) == one.text for one in found)
    return [one.text for one in found]


@pytest.mark.parametrize(
    "table",
    [
        "Structure    Now     Prior\nAorta        3.2 cm  3.1 cm\nNodule RUL   8 mm    6 mm",
        "Aorta\t3.2\t3.1",
        "| Vessel | Size |\n|---|---|\n| Aorta | 3.2 |\n| PA | 2.8 |",
        "Measurements:\nLVEF: 55%\nAortic root: 3.2 cm\nIVC diameter: < 2 cm",
        "3.2   3.1   2.9",
        "kVp    mAs    Dose\n------------------\n120    2.5    0.1 mGy",
        "Vital signs\nHR   88 bpm\nTemp   37.2\nSpO2   95 %",
        "Aorta   3.2 x 3.1 cm   n/a\nArch:    2.8-3.0 cm   -",
    ],
)
def test_tables_yield_no_sentence_and_what_is_around_them_does(table):
    text = f"The heart is large.\n{table}\nNo effusion is\nseen."
    assert left(text) == ["The heart is large.", "No effusion is seen."]
    rows = table_rows.spans(text)
    assert [text[start:end] for start, end in rows] == table.split("\n")


@pytest.mark.parametrize(
    "text",
    [
        "There is a nodule measuring  5 mm.  The heart is\n normal in  size.",
        "The nodule is now  8 mm\nand was  6 mm.",
        "1   Nodule left\n2   Cardiomegaly",
        "1)  Nodule of 5 mm\n2)  No effusion",
        "Cardiothoracic ratio: 0.55",
        "Cardiothoracic ratio   0.55",
        "FINDINGS:  Clear.  IMPRESSION:  1.  Normal.  2.  Nodule.",
        "Heart size   normal\nLungs   clear",
        "Nodule of the right upper lobe of   5 mm\nMass of the left lower lobe of   3 cm",
        "T12   compression fracture",
        "Opacity in the right base   ___   ___.",
        "Right pleural effusion: 2 cm\nLeft pneumothorax: 8 mm",
        "Right pleural effusion   2 cm\nLeft pneumothorax\t8 mm",
        "Nodule: 8 mm\nMediastinal shift: 1.5 cm\nLymphadenopathy: 12 mm",
        "Left: 2 cm\nRight: 3 cm",
    ],
)
def test_prose_has_no_rows(text):
    assert table_rows.spans(text) == []


def test_each_finding_with_its_measurement_is_a_sentence():
    text = "The heart is large\nRight pleural effusion: 2 cm\n  Left pneumothorax: 8 mm\r\nLungs are clear"
    assert left(text) == [
        "The heart is large",
        "Right pleural effusion: 2 cm",
        "Left pneumothorax: 8 mm",
        "Lungs are clear",
    ]
    assert left("Right pleural effusion: 2 cm\nin depth") == ["Right pleural effusion: 2 cm in depth"]


def test_a_finding_between_measurements_is_a_sentence():
    text = "Measurements:\nLVEF: 55%\nAortic root: 3.2 cm\nLeft pneumothorax: 8 mm\nTrachea: 18 mm\nArch: 2.8 cm\n"
    assert left(text) == ["Left pneumothorax: 8 mm"]
    table = "Structure    Now     Prior\nNodule RUL   8 mm    6 mm\nMass LLL   3 cm   2 cm"  # each has its columns
    assert left(f"Clear.\n{table}") == ["Clear."]


def test_cells_of_html_stay_together():
    html = (
        "<p>The heart is large.</p><table><tr><th>Structure</th><th>Now</th></tr>"
        "<tr><td>Aorta</td><td>3.2 cm</td></tr><tr><td>Arch</td> <td align='right'>2.8 cm</td></tr></table>"
        "<table><tr><td>FINDINGS</td><td>Clear lungs.</td></tr></table>"
    )
    assert left(readable(html)) == ["The heart is large.", "Clear lungs."]


PIECES = st.sampled_from(
    ["Aorta", "3.2 cm", "   ", "\t", "|", "\n", ": ", "---", "No effusion.", "5", "is", "measurements", "\r"]
)


@given(st.one_of(st.lists(PIECES).map("".join), st.text()))
def test_rows_are_whole_lines_in_order_whatever_the_text(text):
    spans = table_rows.spans(text)
    assert spans == sorted(set(spans))
    assert all("\n" not in text[start:end] and start < end for start, end in spans)
    assert all((start == 0 or text[start - 1] == "\n") and text[end : end + 1] in ("", "\n") for start, end in spans)
    blanked = table_rows.blanked(text, spans)
    assert len(blanked) == len(text)
    assert [i for i, sign in enumerate(text) if sign == "\n"] == [i for i, sign in enumerate(blanked) if sign == "\n"]


@pytest.mark.parametrize("piece", ["3  4\n", "a  b\n", "a: 3\n", "3", "  ", "a  ", "|", "-", "_ \n"])
def test_a_long_text_takes_no_longer_by_the_character(piece):
    table_rows.spans(piece * (200_000 // len(piece)))
