"""What identifies is masked in reports at its length, and what does not is left alone."""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.deid.reports.identifiers import identifiers_of
from sharding.deid.reports.identity_patterns import GROUPS, KINDS
from sharding.deid.reports.masking import mask

HERE = Path(__file__).parent
KNOWN = identifiers_of(
    persons=["Zimmermann^Jörg^A"], ids=["A1234567"], places=["Northfield Clinic"], files=["john-doe.png"]
)


def lines(name: str) -> list[str]:
    return [line for line in (HERE / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def unmarked(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """The sentence without its braces, and where they stood."""
    pieces = re.split(r"[{}]", marked)
    ends = [sum(map(len, pieces[: number + 1])) for number in range(len(pieces))]
    return "".join(pieces), list(zip(ends[0::2], ends[1::2], strict=False))


PLANTED = [line.split(" | ", 1) for line in lines("planted_identities.txt")]


@pytest.mark.parametrize(("kind", "marked"), PLANTED, ids=range(len(PLANTED)))
def test_a_planted_identity_is_masked(kind, marked):
    text, places = unmarked(marked)
    masked, counts = mask(text)
    assert places
    for first, last in places:
        assert not re.search(r"[^\W_]", masked[first:last])
    assert sum(counts.values()) > 0
    assert kind in KINDS


def test_little_else_is_masked_beside_a_planted_identity():
    beside = hidden = 0
    for _, marked in PLANTED:
        text, places = unmarked(marked)
        inside = {place for first, last in places for place in range(first, last)}
        masked = mask(text)[0]
        outside = [place for place in range(len(text)) if place not in inside and text[place].isalnum()]
        beside += len(outside)
        hidden += sum(masked[place] == "_" for place in outside)
    assert hidden < 0.02 * beside


@pytest.mark.parametrize("text", lines("plain_phrases.txt"))
def test_a_plain_phrase_of_reports_is_left_alone(text):
    assert mask(text) == (text, {})


@pytest.mark.parametrize(
    ("text", "masked", "kind"),
    [
        ("Told Dr. Smith.", "Told Dr. _____.", "name"),
        ("Since 3 March 2019.", "Since ____________.", "date"),
        ("Call (617) 555-0123.", "Call ______________.", "phone"),
        ("MRN: A1234.", "MRN: _____.", "number"),
        ("A 92-year-old man.", "A __-year-old man.", "age"),
        ("J. Zimmermann was seen.", "_____________ was seen.", "known"),
    ],
)
def test_a_mask_has_the_length_and_the_kind_of_what_it_hides(text, masked, kind):
    assert mask(text, KNOWN) == (masked, {kind: 1})


@pytest.mark.parametrize("text", ["Prior films at Beth Israel.", "Pemberton arrived by ambulance."])
def test_a_name_that_nothing_announces_stays_unless_the_header_gives_it(text):
    assert mask(text)[0] == text
    name = "Pemberton^Ada" if "Pemberton" in text else "Beth^Israel"
    assert mask(text, identifiers_of(persons=[name]))[1] == {"known": 1}


def test_a_name_that_was_announced_once_is_masked_wherever_it_stands():
    masked, counts = mask("Told Dr. Huitzil. Huitzil agrees, and T. Huitzil signed; Dr. Long saw a long line.")
    assert masked == "Told Dr. _______. _______ agrees, and T. _______ signed; Dr. ____ saw a long line."
    assert counts == {"name": 4}


@pytest.mark.parametrize("text", ["Dr. ___ and Dr. XXXX XXXX", "Seen on ___ at XXXX hours by ___, M.D."])
def test_what_the_source_removed_is_not_counted_again(text):
    assert mask(text) == (text, {})


def test_line_breaks_and_the_headers_behind_them_stay():
    text = "Dictated by: John\n Smith\nFINDINGS: Clear.\nAttending: Roe\nIMPRESSION: Normal."
    masked, counts = mask(text)
    assert masked == "Dictated by: ____\n______\nFINDINGS: Clear.\nAttending: ___\nIMPRESSION: Normal."
    assert counts == {"name": 2}


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_masking_keeps_every_offset_and_changes_nothing_but_what_it_masks(text):
    masked = mask(text, KNOWN)[0]
    assert len(masked) == len(text)
    assert all(now in (was, "_") for was, now in zip(text, masked, strict=True))


WORDS = st.sampled_from(
    ["Dr.", "Smith", "Smith,", "John", "MD", "called", "617", "555-0123", "on", "3/12", "at", "14:20", "March", "3,"]
    + [
        "2019",
        "MRN",
        "12345",
        "T12",
        "rib",
        "room",
        "4",
        "A.",
        "_",
        "the",
        "and",
        "signed",
        "by:",
        "Patient",
        "\n",
        "92",
    ]
    + [
        "year",
        "old",
        "St.",
        "Mary's",
        "Hospital",
        "x@y.org",
        "Zimmermann",
        "www.a.com",
        "12-34-5678",
        "ext",
        "12",
        "Jan",
    ]
)


def hide(text: str, spans) -> str:
    for first, last in spans:
        if not re.fullmatch(r"(?:[\W_]|X{2,}|\bI\b)*", text[first:last]):
            text = text[:first] + re.sub(r"[^\n\r]", "_", text[first:last]) + text[last:]
    return text


@given(st.lists(WORDS, max_size=25).map(" ".join))
def test_nothing_more_is_found_when_every_pattern_is_tried(text):
    slow, names = text, []
    for group in GROUPS:
        for pattern in group.patterns:
            for match in list(pattern.finditer(slow)):
                spans = [span for span in match.regs[1:] if span[0] >= 0] or [match.span()]
                names += [slow[first:last] for first, last in spans if group.kind == "name"]
                slow = hide(slow, spans)
    slow = hide(slow, identifiers_of(persons=[name for name in names if re.search(r"[^\W_]", name)]).find(slow)[0])
    assert mask(text)[0] == slow


@pytest.mark.parametrize("unit", ["_", "1", "A", "A-", "1-", "Ab ", "A. ", "Dr. ", "MRN 1-", "a@", "3 March ", "@"])
def test_a_long_dull_text_comes_to_an_end(unit):
    text = unit * (20_000 // len(unit)) + " MD Hospital Jan 12 _ 1999 day"
    assert len(mask(text, KNOWN)[0]) == len(text)


@pytest.mark.realdata
def test_reports_without_identity_keep_every_word(realdata):
    counts: Counter[str] = Counter()
    with tarfile.open(next((realdata / "openi").glob("*.tgz"))) as archive:
        documents = [archive.extractfile(member).read() for member in archive if member.name.endswith(".xml")]
    for document in documents:
        for part in ElementTree.fromstring(document).iter("AbstractText"):
            counts += mask(" ".join("".join(part.itertext()).split()))[1]
    assert len(documents) > 2000
    assert sum(counts.values()) <= 2
