"""Studies: reproducible, patients in one split, the withheld kind nowhere but in the test split."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sentalign.phantom import wording
from sentalign.phantom.lesions import KINDS
from sentalign.phantom.study import Settings, Study, generate, plan

SETTINGS = Settings(studies=160, seed=4, size=160, withheld="cavity", test=60, validate=20)


@pytest.fixture(scope="module")
def studies() -> list[Study]:
    return [generate(number, SETTINGS) for number in range(SETTINGS.studies)]


def test_plan_gives_exact_counts_and_each_patient_one_split() -> None:
    places = plan(SETTINGS)
    assert Counter(place.split for place in places) == {"train": 80, "validate": 20, "test": 60}
    splits_of = {}
    for place in places:
        splits_of.setdefault(place.subject_id, set()).add(place.split)
    assert all(len(splits) == 1 for splits in splits_of.values())
    assert len({place.study_id for place in places}) == SETTINGS.studies
    visits = Counter(Counter(place.subject_id for place in places).values())
    assert set(visits) == {1, 2, 3}
    assert all(10_000_000 <= place.subject_id < 20_000_000 for place in places)
    assert all(50_000_000 <= place.study_id < 60_000_000 for place in places)


def test_a_study_is_a_pure_function_of_settings_and_number(studies: list[Study]) -> None:
    again = generate(7, SETTINGS)
    np.testing.assert_array_equal(again.image_HW, studies[7].image_HW)
    assert (again.report, again.cases, again.lesions) == (studies[7].report, studies[7].cases, studies[7].lesions)
    other = generate(7, replace(SETTINGS, seed=5))
    assert other.image_HW.shape != again.image_HW.shape or not np.array_equal(other.image_HW, again.image_HW)


def test_pictures_are_12_bit_with_contrast(studies: list[Study]) -> None:
    for study in studies:
        assert study.image_HW.dtype == np.uint16
        assert study.image_HW.max() < 4096
        assert study.image_HW.std() > 300


def test_most_studies_have_two_different_kinds(studies: list[Study]) -> None:
    counts = Counter(min(2, len({lesion.kind for lesion in study.lesions})) for study in studies)
    assert counts[2] / len(studies) >= 0.5
    assert 0.03 < counts[0] / len(studies) < 0.25


def test_cases_cover_every_lesion_once(studies: list[Study]) -> None:
    for study in studies:
        named = [lesion for case in study.cases for lesion in case.lesions]
        assert sorted(named, key=str) == sorted(study.lesions, key=str)


def test_box_areas(studies: list[Study]) -> None:
    shares = [
        lesion.box_xywh[2] * lesion.box_xywh[3] / study.image_HW.size for study in studies for lesion in study.lesions
    ]
    assert min(shares) >= 0.005
    assert max(shares) <= 0.10
    assert np.median(shares) <= 0.04


def test_all_kinds_occur_on_both_sides_in_the_test_split(studies: list[Study]) -> None:
    seen = Counter((lesion.kind, lesion.side) for study in studies for lesion in study.lesions)
    assert all(seen[kind, side] > 0 for kind in KINDS for side in ("left", "right"))


@pytest.mark.parametrize("withheld", KINDS)
def test_the_withheld_kind_is_in_no_picture_and_no_word_of_training(withheld: str) -> None:
    settings = replace(SETTINGS, withheld=withheld, size=64)
    stems = re.compile("|".join(wording.KIND_STEMS[withheld]), re.IGNORECASE)
    for number in range(100):  # the training and validation studies
        study = generate(number, settings)
        assert study.planned.split != "test"
        assert withheld not in {lesion.kind for lesion in study.lesions}
        assert not stems.search(" ".join(study.report.split()))
        assert not any(stems.search(case.phrase) for case in study.cases)


def test_the_withheld_kind_is_in_the_test_split(studies: list[Study]) -> None:
    assert sum(case.kind == "cavity" for study in studies[100:] for case in study.cases) >= 4
    assert any("cavit" in study.report for study in studies[100:])


def test_withheld_wordings_never_stand_in_training_text(studies: list[Study]) -> None:
    fragments = [
        text.split("}")[-1].strip() if text.endswith(("mass", "lesion")) else re.sub(r"\{\w+\}", "", text).strip()
        for kind in KINDS
        for _, text in wording.WITHHELD_WORDINGS[kind]
    ]
    training = " ".join(" ".join(study.report.lower().split()) for study in studies[:100])
    held_out = " ".join(" ".join(study.report.lower().split()) for study in studies[100:])
    whole = [fragment for fragment in fragments if "  " not in fragment]
    assert len(whole) >= len(KINDS)
    assert not [fragment for fragment in whole if fragment in training]
    assert any(fragment in held_out for fragment in whole)
