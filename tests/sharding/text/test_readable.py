"""Markup and escapes are undone as their formats say; text without them stays as it is."""

from __future__ import annotations

import html
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.contract import Reason, Rejected
from sharding.text.readable import readable

REPORT = "FINDINGS:\nRight lower lobe opacity, <5 mm.\nNo effusion & no pneumothorax.\nIMPRESSION: Pneumonia."


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize(
    "stored",
    [
        "<html><head><style>b {x: y}</style></head><body><p><b>FINDINGS:</b><br/>Right lower lobe opacity, &lt;5 mm."
        "<div class='a'>No effusion &amp; no pneumothorax.</div><!-- Jane Roe -->"
        "IMPRESSION: Pneu<i>monia</i>.</body></html>",
        "FINDINGS:\\.br\\Right lower lobe opacity, <5 mm.\\.sp\\No effusion \\T\\ no pneumothorax.\\X0D0A\\"
        "\\H\\IMPRESSION:\\N\\ Pneumonia.",
        "FINDINGS:_x000D_\nRight lower lobe opacity, <5 mm._x000D__x000A_No effusion & no pneumothorax._x000D_\n"
        "IMPRESSION: Pneumonia.",
        REPORT.replace("\n", "\\r\\n"),
        REPORT.replace("\n", "\\n"),
        html.escape("<p>") + REPORT.replace("\n", "<BR>"),  # HTML that was escaped again
        "{\\rtf1\\ansi\\ansicpg1252{\\fonttbl{\\f0 Arial;}}\\f0\\fs20 FINDINGS:\\par Right lower lobe opacity, <5 "
        "mm.\\par\nNo effusion & no pneumothorax.\\line\\b IMPRESSION:\\b0  Pneumonia.\\par}",
        *(REPORT.replace("\n", end) for end in ("\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029", "\x1e")),
        "\ufeff" + REPORT.replace("Pneumonia", "Pneu\xadmo\u200bnia").replace(" ", "\xa0"),
    ],
)
def test_every_form_of_a_report_reads_the_same(stored):
    assert lines(readable(stored)) == lines(REPORT)


@pytest.mark.parametrize(
    "text",
    [
        REPORT,
        "",
        "CRP <5 mg/l, WBC > 12; nodule < 1 cm and > 3 mm.",
        "<name removed> was seen. A<B and B>A. <3",
        "AT&T; R&D; 5 & 6 &c.",
        "\\\\server\\new\\reports\\1.txt and C:\\temp",
        "Mass_x1 is _xyz_ of ___.",
        "Süß, Ørsted, 山田太郎さん, 38.9 °C, 10 µm, ≥2 – 3.",
    ],
)
def test_text_without_markup_is_left_alone(text):
    assert readable(text) == text


@pytest.mark.parametrize(
    "name", ["Mi<b>ll</b>er", "Mi\xadller", "Mi\u200bller", "Mi&#108;ler", "Mi\\X6C\\ler", "Mi_x006C_ler"]
)
def test_markup_cannot_hide_a_name(name):
    assert readable(f"Seen with {name}.") == "Seen with Miller."


@pytest.mark.parametrize(
    "text",
    [
        "<report><finding>Opacity.</finding></report>",
        "<?xml version='1.0'?>Opacity.",
        "Opacity. {\\rtf1 x}",
        "O\0p\0",
        "_x0000_Opacity",
        "Opacity\\X00\\",
    ],
)
def test_what_cannot_be_undone_is_refused(text):
    with pytest.raises(Rejected) as caught:
        readable(text)
    assert caught.value.reason == Reason.TEXT
    assert "pacity" not in caught.value.message


@given(st.text(st.sampled_from(string.printable + "\\<>&;{}äß\u2028\xad\0"), max_size=80))
def test_any_text_is_read_or_refused(text):
    try:
        found = readable(text)
    except Rejected:
        return
    assert "\0" not in found
    assert len(found) <= len(text) + 2


PIECES = ["<", ">", "<b>", "&amp;", "&lt;", "\\", "\\X0D\\", "_x005F_", "\\.br\\", "x", "\\n"]


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_pieces_of_markup_are_read_or_refused(pieces):
    test_any_text_is_read_or_refused.hypothesis.inner_test("".join(pieces))
