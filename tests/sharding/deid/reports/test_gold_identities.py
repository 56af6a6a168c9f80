"""Planted identities in six languages are masked as they were measured (tests/golden/README.md)."""

from __future__ import annotations

import pytest

from tests.golden.identities import LANGUAGES, PLAIN, rows, score

# A little below what was measured: one or two more may stay, a lost rule is noticed.
RECALL = {"dev": 0.985, "test": 0.95}


@pytest.mark.parametrize("name", RECALL)
def test_planted_identities_are_masked_and_plain_sentences_are_not(name):
    result = score(rows(name))
    assert result.recall >= RECALL[name]
    assert not +result.falsely
    assert result.beside["masked"] <= 0.005 * result.beside["letters"]


@pytest.mark.parametrize("name", RECALL)
def test_the_set_holds_all_kinds_in_all_languages(name):
    found = rows(name)
    assert len(found) == len({row.text for row in found}) == 200
    for language in LANGUAGES:
        kinds = {row.kind for row in found if row.language == language}
        assert kinds == {"known", "name", "date", "time", "phone", "number", "address", PLAIN}
    assert all(bool(row.places) == (row.kind != PLAIN) for row in found)
