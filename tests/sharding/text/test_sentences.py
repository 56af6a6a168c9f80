"""Sentences end where a radiologist's do, offsets are exact, and tags follow what is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.contract import normal_form
from sharding.text.sentences import HEADER_ALONE, split
from sharding.text.tags import REMOVED

WORDS = st.sampled_from(
    [
        *("Heart", "size", "normal", "clear.Heart", "no", "a", "Ä", "I", "T12.", "COPD", "Impression:"),
        *("1.5", "cm", "mm.", "Dr.", "J.", "St.", "e.g.", "p.m.", "No.", "M.D.", "1.2.", "7"),
        *("___.", "___", "_", "XXXX.", "XXXX", "1.", "2.", "(3)", "4)", "-", "\n", "\n\n", ".", "?", "...", '."', ";"),
    ]
)
REPORTS = st.lists(WORDS, max_size=30).map(" ".join)
ANYTHING = REPORTS | st.lists(WORDS, max_size=30).map("".join) | st.text(max_size=60)


def texts(text: str) -> list[str]:
    return [sentence.text for sentence in split(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A 1.5 cm nodule. No effusion.", ["A 1.5 cm nodule.", "No effusion."]),
        ("A 3mm. nodule. No effusion.", ["A 3mm. nodule.", "No effusion."]),
        ("It measures 3 cm. No effusion.", ["It measures 3 cm.", "No effusion."]),
        ("Cardiomegaly. Edema.", ["Cardiomegaly.", "Edema."]),
        ("Seen by Dr. Smith. Stable.", ["Seen by Dr. Smith.", "Stable."]),
        ("Seen by Dr. J. Smith. Stable.", ["Seen by Dr. J. Smith.", "Stable."]),
        ("Seen in St. Mary's. Stable.", ["Seen in St. Mary's.", "Stable."]),
        ("Opacity, e.g. pneumonia. Stable.", ["Opacity, e.g. pneumonia.", "Stable."]),
        ("Told at 5 p.m. on ___. Stable.", ["Told at 5 p.m. on ___.", "Stable."]),
        ("Told at 5 p.m. Stable.", ["Told at 5 p.m.", "Stable."]),
        ("Compared to XXXX. The heart is large.", ["Compared to XXXX.", "The heart is large."]),
        ("Edema vs. pneumonia.", ["Edema vs. pneumonia."]),
        ("Scar, esp. on the left. Post-op. chest.", ["Scar, esp. on the left.", "Post-op. chest."]),
        ("1. Nodule. 2. Edema.", ["Nodule.", "Edema."]),
        ("1) Nodule\n2) Edema", ["Nodule", "Edema"]),
        ("1. - Nodule\n - Edema", ["Nodule", "Edema"]),
        ("1.  Nodule.\n 2.  Large 1.2 cm mass.", ["Nodule.", "Large 1.2 cm mass."]),
        ("Fracture of T12. No edema.", ["Fracture of T12.", "No edema."]),
        ("The lungs\n are clear.", ["The lungs are clear."]),
        ("Clear lungs\n\nNormal heart", ["Clear lungs", "Normal heart"]),
        ("No pneumothorax.Clear lungs.", ["No pneumothorax.", "Clear lungs."]),
        ("No pneumothorax.PA view.XXXX scars.", ["No pneumothorax.", "PA view.", "XXXX scars."]),
        ("no edema. no effusion.", ["no edema.", "no effusion."]),
        ("Is it edema? Perhaps!", ["Is it edema?", "Perhaps!"]),
        ("Impression: 1. Lungs: Clear.", ["Lungs: Clear."]),
        ("___. XXXX. 12.", []),
        ("", []),
        ("Seen by __________.", ["Seen by ___."]),
        *(
            (f"{mark} Right opacity\n{mark} No effusion", ["Right opacity", "No effusion"])
            for mark in "-*•–—―◦●▪·‣■\uf0b7\uf0a7"
        ),
        *(
            (f"{mark}No pneumonia.\n{mark}Stable.", ["No pneumonia.", "Stable."])
            for mark in ("-", "•", "–", "▪", "1.", "2)")
        ),
        ("1.No pneumonia. 2.Stable heart.", ["No pneumonia.", "Stable heart."]),
        ("1. Cardiomegaly 2. Edema.", ["Cardiomegaly", "Edema."]),
        ("Question small effusions 2. Right opacity 3. Scar", ["Question small effusions", "Right opacity", "Scar"]),
        (
            "Grade 2. Fracture of rib 5. Level T 12. Stable.",
            ["Grade 2.", "Fracture of rib 5.", "Level T 12.", "Stable."],
        ),
        ("-5 degrees, 1.5 cm.", ["-5 degrees, 1.5 cm."]),
        *(
            (empty, [])
            for empty in (
                "None.",
                "N/A",
                "n.a.",
                "nil",
                "See impression.",
                "As above.",
                "None available",
                "nan",
                "NULL",
            )
        ),
        *(
            (empty, [])
            for empty in ("Chest.", "IMPRESSION.", "Please see the report below.", "Not applicable.", "Unavailable.")
        ),
        ("None of the lines has moved.", ["None of the lines has moved."]),
        ("Chest tube in place. As above, no edema.", ["Chest tube in place.", "As above, no edema."]),
    ],
)
def test_sentences(text, expected):
    assert texts(text) == expected


@given(ANYTHING)
def test_offsets_are_exact_and_in_order(text):
    end = 0
    for sentence in split(text):
        assert end <= sentence.start < sentence.end <= len(text)
        raw = text[sentence.start : sentence.end]
        assert raw == raw.strip()
        assert normal_form(raw.replace("_", " ")) == normal_form(sentence.text.replace("_", " "))
        assert sentence.text == " ".join(sentence.text.split())
        end = sentence.end


@given(ANYTHING)
def test_every_letter_is_in_a_sentence_but_those_of_headers_and_removal_tokens(text):
    ends = [0, *(place for s in split(text) for place in (s.start, s.end)), len(text)]
    for first, last in zip(ends[::2], ends[1::2], strict=True):
        assert not any(c.isalpha() for c in HEADER_ALONE.sub(" ", REMOVED.sub(" ", text[first:last])))


@given(ANYTHING)
def test_a_sentence_alone_is_one_sentence(text):
    for sentence in split(text):
        raw = text[sentence.start : sentence.end]
        assert [(s.start, s.end, s.tags) for s in split(raw)] == [(0, len(raw), sentence.tags)]


@given(ANYTHING, st.text(max_size=9), st.text(max_size=9))
def test_what_stands_around_the_section_changes_nothing(text, before, after):
    whole = split(before + text + after, "text", len(before), len(before) + len(text))
    assert [(s.start - len(before), s.end - len(before), s.text) for s in whole] == [
        (s.start, s.end, s.text) for s in split(text)
    ]


@given(st.text())
def test_the_normal_form_is_its_own_normal_form(text):
    once = normal_form(text)
    assert normal_form(once) == once or not once.isascii()


@pytest.mark.parametrize(
    "piece",
    ["a", ".", "\n", " ", "_", "pa", "pa ap ", "a ", "1. ", "- ", "12.", "no ", "removal of ", "acute ", "'", "XXXX "],
)
def test_a_long_run_of_anything_is_read_in_one_pass(piece):
    """A pattern that starts anew inside a run would need hours for these, and run into the time limit of a test."""
    text = "Edema." + piece * 100_000 + "!"
    assert "".join(text[s.start : s.end] for s in split(text)).startswith("Edema.")


def test_offsets_count_from_the_start_of_the_report():
    text = "INDICATION: cough\n\nFINDINGS: Edema. Stable."
    start = text.index("Edema")
    assert [(s.start, s.section) for s in split(text, "findings", start)] == [
        (start, "findings"),
        (start + 7, "findings"),
    ]
