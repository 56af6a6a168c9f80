"""Real reports and notes: the splitter and the tags stay as good as they were measured (tests/golden/README.md)."""

from __future__ import annotations

import pytest

from sharding.text import sentences, tags
from tests.golden.gold import boundary_scores, gold, labelled_sentences, note_texts, section_texts, stress, tag_scores

# F1 in percent, a little below what was measured: one more wrong sentence or two pass, a lost rule does not.
SPANS = {"dev": 99.5, "test": 98.5, "notes": 98}
TAGS = {
    "dev": {"negated": 99, "uncertain": 95, "normal": 99, "comparison": 98, "non-image": 95},
    "test": {"negated": 97.5, "uncertain": 90, "normal": 97, "comparison": 95, "non-image": 95},
    "tags": {"negated": 99, "uncertain": 99, "normal": 98, "comparison": 99, "non-image": 90},
}
ALL_TAGS_RIGHT = {"dev": 99, "test": 97, "tags": 98.5}


@pytest.fixture(scope="module")
def texts(realdata):
    notes = note_texts(realdata / "cxr_notes" / "metadata.csv")
    return section_texts(next((realdata / "openi").glob("*.tgz"))) | notes


def spans_of(found):
    return [[(s.start, s.end) for s in sentences.split(one.text)] for one in found]


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "count"), [("dev", 314), ("test", 358), ("tags", 300), ("notes", 227)])
def test_the_gold_fits_its_texts(texts, name, count):
    words, _ = labelled_sentences(gold(name, texts))
    assert len(words) == count
    assert all(sentence == sentence.strip() and any(c.isalpha() for c in sentence) for sentence in words)


@pytest.mark.realdata
@pytest.mark.parametrize("name", SPANS)
def test_spans_of_real_sentences(texts, name):
    found = gold(name, texts)
    assert 100 * boundary_scores(found, spans_of(found))["spans"][2] >= SPANS[name]


@pytest.mark.realdata
@pytest.mark.parametrize("name", TAGS)
def test_tags_of_real_sentences(texts, name):
    words, true = labelled_sentences(gold(name, texts))
    predicted = [tags.of(sentence) for sentence in words]
    for tag, floor in TAGS[name].items():
        assert 100 * tag_scores(true, predicted, tag)["f1"] >= floor, tag
    right = sum(set(a) == b for a, b in zip(predicted, true, strict=True))
    assert 100 * right / len(words) >= ALL_TAGS_RIGHT[name]


def test_every_span_of_the_stress_texts():
    found = stress()
    assert [(one.text, tuple(spans)) for one, spans in zip(found, spans_of(found), strict=True)] == [
        (one.text, one.spans) for one in found
    ]
