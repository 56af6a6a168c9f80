"""The language of a report: foreign ones are known, and nothing that says little is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.text import language
from tests.golden import identities

ENGLISH_WORDS = "There is no pleural effusion. The heart is normal and the lungs are clear. "
FOREIGN = {
    "de": "Kein Erguss. Das Herz ist nicht vergrößert, keine Infiltrate.",
    "fr": "Pas d'épanchement pleural. Le cœur est de taille normale.",
    "es": "No se observa derrame pleural. La silueta cardíaca es normal.",
    "pt": "Não há derrame pleural. A silhueta cardíaca é normal.",
    "nl": "Geen pleuravocht. Het hart is niet vergroot.",
    "it": "Non versamento pleurico. Il cuore è nei limiti della norma.",
    "other": "胸水はありません。心拡大なし。",
}


@pytest.mark.parametrize(("code", "text"), FOREIGN.items())
def test_foreign_reports_are_known_in_any_case_and_form(code, text):
    assert language.of(text) == code
    assert language.of(text.upper()) == code
    assert language.of(text + " N/A") == code


@pytest.mark.parametrize("name", ["dev", "test"])
def test_the_language_of_the_gold_sentences_is_known(name):
    """The sentences were written for the scan of identities; no word list was made from them."""
    by_length = {length: identities.detected(name, length) for length in (1, 3)}
    assert all(right == count for right, count in (found.pop("en") for found in by_length.values()))
    shares = {
        k: sum(r for r, _ in found.values()) / sum(n for _, n in found.values()) for k, found in by_length.items()
    }
    assert shares[1] >= 0.83
    assert shares[3] >= 0.96


@pytest.mark.parametrize(
    "text",
    ["", " ", "___", "N/A", "FINDINGS: N/A\nIMPRESSION: n/a.", "n/a n/a n/a", "A a", "e o e", "None.", "L d l", "1. 2.",
     "Dr. la Cruz.", "no no no", "Nil."],
)  # fmt: skip
def test_what_says_nothing_is_english(text):
    assert language.of(text) == language.ENGLISH


@given(st.text(), st.integers(0, 3))
def test_any_text_has_one_of_the_languages_and_english_words_win(text, times):
    assert language.of(text) in language.LANGUAGES
    assert language.of(ENGLISH_WORDS * 8 + "".join(FOREIGN[code] for code in ("de", "fr", "es")[:times])) == "en"


@given(st.sampled_from(sorted(FOREIGN)), st.text(alphabet=" \n\t.,;:-()0123456789_"))
def test_signs_and_numbers_change_nothing(code, signs):
    assert language.of(signs + FOREIGN[code] + signs) == code


@pytest.mark.parametrize("piece", ["a", "a ", "ä", " ", "_", "\u0301", "de la ", "胸", "\n"])
def test_a_long_text_takes_no_longer_by_the_character(piece):
    language.of(piece * (1_000_000 // len(piece)))
