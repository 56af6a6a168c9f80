"""One synthetic study from its number: plan of patients and splits, picture, lesions, report, phrases.

In: `Settings` and a study number. Out: a `Study`. DICOM is encoded in `dicom`, files are written in `write`.
All random numbers come from Philox of (seed, stream, number): a study does not depend on the process that draws it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sentalign.phantom import anatomy, devices, reports
from sentalign.phantom.lesions import ALLOWED_ZONES, KINDS, Lesion, paint

SPLITS = ("train", "validate", "test")
_PLAN, _PATIENT, _STUDY = range(3)
_KIND_COUNTS = (0.09, 0.23, 0.35, 0.25, 0.08)  # share of studies with 0, 1, 2, 3, 4 kinds (before failed placements)
_SECOND_SIDE = 0.13


@dataclass(frozen=True)
class Settings:
    """Settings that determine every byte; `withheld` is a kind or None; `test` and `validate` count studies."""

    studies: int
    seed: int
    size: int
    withheld: str | None
    test: int
    validate: int

    def kinds(self, split: str) -> tuple[str, ...]:
        """The kinds that may occur in pictures and reports."""
        return tuple(kind for kind in KINDS if split == "test" or kind != self.withheld)


@dataclass(frozen=True)
class PlannedStudy:
    """The identifiers and the split of one study, drawn before its picture."""

    number: int
    patient: int
    subject_id: int
    study_id: int
    visit: int
    split: str


@dataclass(frozen=True)
class Study:
    """`image_HW` uint16, 12 bits, bright = dense; boxes in its pixels."""

    planned: PlannedStudy
    image_HW: NDArray[np.uint16]
    lesions: tuple[Lesion, ...]
    cases: tuple[reports.PhantomCase, ...]
    report: str
    portable: bool


def stream(seed: int, *key: int) -> np.random.Generator:
    """The generator of one stream; equal keys give equal numbers."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, *key))))


@lru_cache(maxsize=4)
def plan(settings: Settings) -> tuple[PlannedStudy, ...]:
    """Patients of 1 to 3 studies, each in one split; with the exact number of studies in every split."""
    rng = stream(settings.seed, _PLAN)
    counts = (settings.studies - settings.validate - settings.test, settings.validate, settings.test)
    subjects = 10_000_000 + rng.permutation(max(1000, 2 * settings.studies)) * 37 + 32
    study_ids = 50_000_000 + rng.permutation(max(1000, 2 * settings.studies)) * 41 + 68
    planned: list[PlannedStudy] = []
    patient = 0
    for split, count in zip(SPLITS, counts, strict=True):
        end = len(planned) + count
        while len(planned) < end:
            for visit in range(min(int(rng.choice(3, p=(0.6, 0.25, 0.15))) + 1, end - len(planned))):
                number = len(planned)
                planned.append(
                    PlannedStudy(number, patient, int(subjects[patient]), int(study_ids[number]), visit, split)
                )
            patient += 1
    return tuple(planned)


def _paint_lesions(rng: np.random.Generator, chest: anatomy.Chest, kinds: tuple[str, ...]) -> list[Lesion]:
    count = int(rng.choice(len(_KIND_COUNTS), p=_KIND_COUNTS))
    order = [kinds[index] for index in rng.permutation(len(kinds))]
    lesions: list[Lesion] = []
    for kind in order:
        if len({lesion.kind for lesion in lesions}) >= count:
            break
        sides = [list(anatomy.SIDES)[index] for index in rng.permutation(2)]
        for side in sides if rng.random() < _SECOND_SIDE else sides[:1]:
            zone = str(rng.choice(ALLOWED_ZONES[kind]))
            lesion = paint(rng, chest, kind, side, zone, lesions)
            if lesion is not None:
                lesions.append(lesion)
    return lesions


def generate(number: int, settings: Settings) -> Study:
    """Draw study `number` (0 .. studies - 1) of `settings`, independently of all other studies."""
    planned = plan(settings)[number]
    body = anatomy.draw_body(stream(settings.seed, _PATIENT, planned.patient))
    rng = stream(settings.seed, _STUDY, number)
    pose = anatomy.draw_pose(rng, settings.size)
    chest = anatomy.draw_chest(rng, body, pose)
    kinds = settings.kinds(planned.split)
    lesions = _paint_lesions(rng, chest, kinds)
    device_names = devices.add_devices(rng, chest)
    devices.add_marker(rng, chest)
    unseen = planned.split == "test"
    groups = reports.group_lesions(rng, lesions)
    cases = reports.make_cases(rng, groups, unseen)
    report = reports.write_report(rng, groups, device_names, kinds, unseen, planned.visit > 0)
    image_HW = devices.expose(rng, chest.picture_HW, pose)
    return Study(planned, image_HW, tuple(lesions), tuple(cases), report, bool(rng.random() < 0.4))
