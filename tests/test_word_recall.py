"""Recall by word: counts, which words are frequent, and a kind that is not discovered."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentalign.word_recall import WordRecall, found_within, words

KINDS = ("nodule", "effusion", "pneumothorax", "atelectasis")


def counted(rows):
    recall = WordRecall()
    for sentence, found in rows:
        recall.add(sentence, found)
    return recall


def test_words_are_letters_in_lower_case_counted_once_a_sentence():
    assert words("A 2.3 cm Épanchement, right-sided; right!") == {"épanchement", "right", "sided"}
    assert counted([("right right", True)] * 5).by_word() == {"right": (1.0, 5)}


def test_function_words_and_units_are_left_out_and_what_names_a_finding_or_its_place_stays():
    text = "There is an area of opacity in the left base, which may be scarring, with a nodule of 12 mm or 1.2 cm"
    assert words(text) == {"area", "opacity", "left", "base", "scarring", "nodule"}
    assert words("Not clear, without effusion, no change") == {"not", "clear", "without", "effusion", "no", "change"}
    assert words("") == set()


@given(
    rows=st.lists(st.tuples(st.lists(st.sampled_from("abcdefgh"), max_size=4), st.booleans()), min_size=1, max_size=400)
)
def test_the_recall_of_a_word_is_that_of_the_sentences_that_have_it(rows):
    rows = [(" ".join(2 * letter for letter in letters), found) for letters, found in rows]
    metrics, expected = counted(rows).metrics(), {}
    for word in {word for sentence, _ in rows for word in sentence.split()}:
        hits = [found for sentence, found in rows if word in sentence.split()]
        if len(hits) >= 5 and len(hits) >= 0.02 * len(rows):
            expected[f"word_recall/{word}"] = sum(hits) / len(hits)
    recall = sum(found for _, found in rows) / len(rows)
    lowest = min(expected.values(), default=recall)
    assert metrics == pytest.approx(expected | {"recall": recall, "recall_lowest": lowest})


@given(rows=st.lists(st.tuples(st.sampled_from(KINDS), st.booleans()), max_size=60), parts=st.integers(1, 4))
def test_parts_count_like_the_whole(rows, parts):
    merged = WordRecall.merged(counted(rows[part::parts]) for part in range(parts))
    assert merged.metrics() == counted(rows).metrics()


def test_the_kind_that_is_not_discovered_comes_first():
    rows = [
        (f"There is a {side} {place} {kind}.", kind != "pneumothorax" or (side, place) == ("left", "apical"))
        for kind in KINDS
        for side in ("left", "right")
        for place in ("apical", "basal", "middle")
        for _ in range(2)
    ]
    by_word = counted(rows).by_word()
    assert next(iter(by_word)) == "pneumothorax"
    overall = counted(rows).overall()
    places = [by_word[word][0] for word in ("left", "right", "apical", "basal")]
    assert all(abs(recall - overall) < 0.15 for recall in places)
    assert counted(rows).metrics()["recall_lowest"] == pytest.approx(1 / 6)


def test_the_top_tenth_has_at_least_one_image():
    assert [found_within(images) for images in (1, 9, 19, 20, 64, 1000)] == [1, 1, 1, 2, 6, 100]


def test_a_set_without_sentences_has_no_metric():
    assert WordRecall().metrics() == {}
    assert not Counter(WordRecall().by_word())
