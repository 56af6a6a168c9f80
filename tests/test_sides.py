"""Sides in sentences: the exchange, and the sentences that it must not touch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentalign.phantom import wording
from sentalign.sides import names_one_side, names_side, swap

WORDS = ["left", "Right", "LEFT", "RUL", "LLL", "rightward", "effusion,", "base", "and-"]


@pytest.mark.parametrize(
    ("sentence", "other"),
    [
        ("Small left pleural effusion.", "Small right pleural effusion."),
        ("RIGHT apical pneumothorax", "LEFT apical pneumothorax"),
        ("Right-sided chest tube, left greater than right.", "Left-sided chest tube, right greater than left."),
        ("Leftward shift; the rightmost lead", "Rightward shift; the leftmost lead"),
        ("RUL opacity and LLL collapse", "LUL opacity and RLL collapse"),
        ("Mild dextroscoliosis.", "Mild levoscoliosis."),
        ("Obscured right heart border.", "Obscured left heart border."),
        ("Right upper lobe, left-sided rib", "Left upper lobe, right-sided rib"),
        ("bright cleft", "bright cleft"),
        ("Patient is upright.", "Patient is upright."),
        ("Bilateral effusions.", "Bilateral effusions."),
    ],
)
def test_sides_are_exchanged_and_nothing_else(sentence, other):
    assert swap(sentence) == other
    assert names_side(sentence) == (sentence != other)


@pytest.mark.parametrize(
    "sentence",
    [
        "Right middle lobe pneumonia.",
        "RML opacity.",
        "Lingular consolidation on the left.",
        "Left ventricular enlargement.",
        "The left and right ventricles are enlarged.",
        "Right atrial lead.",
        "Signs of right heart strain.",
        "PA and left lateral views.",
        "Left lateral decubitus radiograph shows layering.",
        "The drain was left in place.",
        "The patient left the department.",
        "Right above the carina.",
        "L pleural effusion.",
        "Rt effusion.",
        "Pleuraerguss links.",
        "Épanchement pleural gauche.",
        "Dextrocardia.",
    ],
)
def test_a_sentence_that_the_exchange_would_make_false_is_refused(sentence):
    assert swap(sentence) is None
    assert not names_side(sentence)


@pytest.mark.parametrize(
    ("sentence", "one"),
    [
        ("Small left effusion in the LLL.", True),
        ("Rightward shift, RUL collapse.", True),
        ("Left and right effusions.", False),
        ("LUL nodule, right effusion.", False),
        ("Clear.", False),
        ("Right middle lobe pneumonia.", False),
    ],
)
def test_a_sentence_of_one_side_says_something_else_when_swapped(sentence, one):
    assert names_one_side(sentence) == one


@given(st.lists(st.sampled_from(WORDS), max_size=8))
def test_a_second_exchange_restores_the_sentence(words):
    sentence = " ".join(words)
    once = swap(sentence)
    assert once is not None
    assert swap(once) == sentence


def test_every_wording_of_the_phantoms_can_be_swapped():
    for zone, places in {**wording.PLACES, **wording.WHERES}.items():
        for place in places:
            assert swap(place.format(side="left")) == place.format(side="right"), zone
