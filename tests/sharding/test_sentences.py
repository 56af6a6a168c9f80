"""Sentences end where a radiologist's do, offsets are exact, and tags follow the words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.contract import normal_form
from sharding.sentences import split, tags

WORDS = st.sampled_from(
    [
        "Heart",
        "size",
        "normal",
        "1.5",
        "cm",
        "Dr.",
        "e.g.",
        "p.m.",
        "___.",
        "XXXX.",
        "2.",
        "(3)",
        "\n",
        "\n\n",
        ".",
        "?",
        "T12.",
        "a",
        "Ä",
        "_",
    ]
)


def texts(text: str) -> list[str]:
    return [sentence.text for sentence in split(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A 1.5 cm nodule. No effusion.", ["A 1.5 cm nodule.", "No effusion."]),
        ("Cardiomegaly. Edema.", ["Cardiomegaly.", "Edema."]),
        ("Seen by Dr. Smith. Stable.", ["Seen by Dr. Smith.", "Stable."]),
        ("Seen by Dr. J. Smith. Stable.", ["Seen by Dr. J. Smith.", "Stable."]),
        ("Opacity, e.g. pneumonia. Stable.", ["Opacity, e.g. pneumonia.", "Stable."]),
        ("Told at 5 p.m. on ___. Stable.", ["Told at 5 p.m. on ___.", "Stable."]),
        ("Told at 5 p.m. Stable.", ["Told at 5 p.m.", "Stable."]),
        ("Compared to XXXX. The heart is large.", ["Compared to XXXX.", "The heart is large."]),
        ("Edema vs. pneumonia.", ["Edema vs. pneumonia."]),
        ("1. Nodule. 2. Edema.", ["Nodule.", "Edema."]),
        ("1) Nodule\n2) Edema", ["Nodule", "Edema"]),
        ("1.  Nodule.\n 2.  Large 1.2 cm mass.", ["Nodule.", "Large 1.2 cm mass."]),
        ("Fracture of T12. No edema.", ["Fracture of T12.", "No edema."]),
        ("The lungs\n are clear.", ["The lungs are clear."]),
        ("Clear lungs\n\nNormal heart", ["Clear lungs", "Normal heart"]),
        ("No pneumothorax.Clear lungs.", ["No pneumothorax.", "Clear lungs."]),
        ("no edema. no effusion.", ["no edema.", "no effusion."]),
        ("Is it edema? Perhaps!", ["Is it edema?", "Perhaps!"]),
        ("___. XXXX. 12.", []),
        ("", []),
        ("Seen by __________.", ["Seen by ___."]),
    ],
)
def test_sentences(text, expected):
    assert texts(text) == expected


@given(st.lists(WORDS).map(" ".join) | st.text())
def test_offsets_are_exact_and_in_order(text):
    end = 0
    for sentence in split(text):
        assert end <= sentence.start < sentence.end <= len(text)
        raw = text[sentence.start : sentence.end]
        assert raw == raw.strip()
        assert normal_form(raw.replace("_", " ")) == normal_form(sentence.text.replace("_", " "))
        assert sentence.text == " ".join(sentence.text.split())
        end = sentence.end


@given(st.lists(WORDS).map(" ".join))
def test_no_word_with_two_letters_is_lost(text):
    kept = " ".join(texts(text))
    assert all(word in kept.split() for word in ("Heart", "size", "normal") if word in text.split())


@given(st.text())
def test_the_normal_form_is_its_own_normal_form(text):
    once = normal_form(text)
    assert normal_form(once) == once or not once.isascii()


def test_offsets_count_from_the_start_of_the_report():
    text = "INDICATION: cough\n\nFINDINGS: Edema. Stable."
    start = text.index("Edema")
    assert [(s.start, s.section) for s in split(text, "findings", start)] == [
        (start, "findings"),
        (start + 7, "findings"),
    ]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("No pleural effusion.", {"negated", "normal"}),
        ("Possible pneumonia.", {"uncertain"}),
        ("Heart size is normal.", {"normal"}),
        ("Unchanged cardiomegaly.", {"comparison"}),
        ("Findings were discussed with Dr. ___ by telephone.", {"non-image"}),
        ("Left lower lobe consolidation.", set()),
    ],
)
def test_tags(sentence, expected):
    assert set(tags(sentence)) == expected
