"""Report text: layout of MIMIC-CXR, true statements, phrases in the manner of MS-CXR."""

from __future__ import annotations

import re

import pytest

from sentalign.phantom import wording
from sentalign.phantom.lesions import ALLOWED_ZONES, KINDS, Lesion
from sentalign.phantom.reports import WIDTH, group_lesions, make_cases, write_report
from sentalign.phantom.study import stream

STEMS = {kind: re.compile("|".join(stems), re.IGNORECASE) for kind, stems in wording.KIND_STEMS.items()}


def lesion(kind: str, side: str = "right") -> Lesion:
    return Lesion(kind, side, ALLOWED_ZONES[kind][0], (1, 2, 30, 40), 0.1)


def report(number: int, *lesions: Lesion, kinds: tuple[str, ...] = KINDS, unseen: bool = False) -> str:
    rng = stream(11, number)
    return write_report(rng, group_lesions(rng, lesions), ("wires",), kinds, unseen, number % 3 == 0)


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("kind", KINDS)
def test_a_finding_is_always_mentioned_with_its_side_and_never_negated(kind: str) -> None:
    for number in range(40):
        text = flat(report(number, lesion(kind)))
        assert STEMS[kind].search(text), text
        assert "right" in text.lower()
        assert not re.search(rf"\bno [^.]*{wording.NEGATED_NAMES[kind]}", text, re.IGNORECASE), text
        assert "Normal chest" not in text
        assert "No acute cardiopulmonary" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_forbidden_kind_is_never_named(kind: str) -> None:
    others = tuple(other for other in KINDS if other != kind)
    for number in range(150):
        text = flat(report(number, lesion(others[number % 7]), kinds=others))
        assert not STEMS[kind].search(text), text


def test_absent_kinds_are_often_negated() -> None:
    texts = [flat(report(number)) for number in range(100)]
    assert sum("pneumothorax" in text for text in texts) > 60


def test_layout_is_that_of_mimic() -> None:
    texts = [report(number, lesion("nodule"), lesion("effusion", "left")) for number in range(300)]
    assert all(len(line) <= WIDTH for text in texts for line in text.splitlines())
    assert all(re.search(r"\n [A-Z]+:", text) for text in texts)
    without_findings = sum("\n FINDINGS:" not in text for text in texts) / 300
    without_impression = sum("\n IMPRESSION:" not in text for text in texts) / 300
    assert 0.25 < without_findings < 0.43
    assert 0.11 < without_impression < 0.26
    assert 2 < sum(" ADDENDUM" in text.split("FINAL REPORT")[0] and " ____" in text for text in texts) < 45
    assert any("Dr. ___" in flat(text) for text in texts)
    assert any("IMPRESSION: 1. " in flat(text) for text in texts)
    assert any("cm" in text for text in texts)


def test_sentences_repeat_word_for_word_over_studies() -> None:
    sentences = [sentence for number in range(120) for sentence in flat(report(number)).split(". ")]
    assert len(set(sentences)) < 0.5 * len(sentences)


@pytest.mark.parametrize("kind", KINDS)
def test_phrases_name_kind_and_side_without_a_final_stop(kind: str) -> None:
    cases = [make_cases(stream(12, n), [(lesion(kind, "left"),)], unseen=True)[0] for n in range(200)]
    for case in cases:
        assert case.phrase[-1] != "."
        assert "left" in case.phrase.lower()
        assert "{" not in case.phrase
        assert "  " not in case.phrase
    share = sum(case.withheld_wording for case in cases) / len(cases)
    assert 0.15 < share < 0.45
    assert len({case.wording for case in cases}) >= 7


def test_withheld_wordings_need_permission() -> None:
    for kind in KINDS:
        cases = [make_cases(stream(13, n), [(lesion(kind),)], unseen=False)[0] for n in range(60)]
        assert not any(case.withheld_wording for case in cases)
        assert {case.wording for case in cases} <= {text for _, text in wording.SEEN_WORDINGS[kind]}


def test_both_sides_become_one_phrase_or_two() -> None:
    pair = (lesion("effusion", "left"), lesion("effusion", "right"))
    counts = set()
    for number in range(30):
        rng = stream(14, number)
        cases = make_cases(rng, group_lesions(rng, pair), unseen=False)
        counts.add(len(cases))
        if len(cases) == 1:
            assert "ilateral" in cases[0].phrase
            assert cases[0].lesions == pair
        else:
            assert ["left" in case.phrase.lower() for case in cases] == [True, False]
    assert counts == {1, 2}


def test_every_kind_has_six_wordings_and_one_withheld() -> None:
    for kind in KINDS:
        assert len({text for _, text in wording.SEEN_WORDINGS[kind]}) >= 6
        assert wording.WITHHELD_WORDINGS[kind]
        assert not {t for _, t in wording.SEEN_WORDINGS[kind]} & {t for _, t in wording.WITHHELD_WORDINGS[kind]}
