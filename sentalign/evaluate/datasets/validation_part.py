"""The validation part of a set with boxes → the cases that a training localizes at each validation.

In: an MS-CXR folder or file, or a table. Out: `Case`s with an image, the same ones for every run. Cases of the test
split are never among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from sentalign.evaluate.datasets import ms_cxr, rows, table
from sentalign.evaluate.datasets.case import Case
from sharding.contract import UserError

NAMES = frozenset({"validate", "validation", "valid", "val", "dev"})  # of the validation split, in any letter case
MIMIC_SPLITS = ("mimic-cxr-2.0.0-split.csv.gz", "mimic-cxr-2.0.0-split.csv")
SEED = 0  # not the run's: runs of other seeds are compared on the same cases
Splits = dict[str, set[str]]


def read(boxes: Path, kind: str, count: int) -> list[Case]:
    """At most `count` cases of the validation part, drawn by category; `kind` is ms-cxr or table.

    A table without a column `split` is taken for the validation part as a whole. Raises UserError where there is no
    validation part, or not one of its images.
    """
    part = _of_table(boxes) if kind == "table" else _of_ms_cxr(boxes)
    present = [case for case in part if case.image is not None]
    if not present:
        raise UserError(f"none of the images of the validation part of {boxes} is there; put them beside its file")
    return draw(present, count)


def draw(cases: Sequence[Case], count: int) -> list[Case]:
    """`count` of the cases, each category by its share, in their order; the same for any order of the file."""
    rng = np.random.default_rng(SEED)
    groups: dict[str, list[Case]] = {}
    for case in sorted(cases, key=lambda case: (case.category, case.image_id, case.phrase)):
        groups.setdefault(case.category, []).append(case)
    placed = [
        ((place + rng.random()) / len(group), n, group[n])
        for group in groups.values()
        for place, n in enumerate(rng.permutation(len(group)).tolist())
    ]
    drawn = {id(case) for _, _, case in sorted(placed, key=lambda one: one[:2])[:count]}
    return [case for case in cases if id(case) in drawn]


def _of_ms_cxr(boxes: Path) -> list[Case]:
    """Of the first annotation file that has a validation part: phantoms have another file for each split."""
    found: Counter[str] = Counter()
    for file in ms_cxr.annotation_files(boxes):
        splits = _splits(file)
        cases = ms_cxr.read(file)
        if part := [case for case in cases if _is_validation(splits.get(case.image_id, ()))]:
            return part
        found.update(name for case in cases for name in splits.get(case.image_id, ()))
    raise _without_validation(boxes, found)


def _of_table(file: Path) -> list[Case]:
    cases = table.read(file)
    if "split" not in rows.names(file):
        return cases
    splits = _column(file, "image")
    if part := [case for case in cases if _is_validation(splits[case.image_id])]:
        return part
    raise _without_validation(file, set().union(*splits.values()))


def _is_validation(names: Iterable[str]) -> bool:
    """Whether an image is of the validation split and of no other."""
    return bool(names := set(names)) and names <= NAMES


def _splits(file: Path) -> Splits:
    """The split of each image, from the annotations (v1.1.0: the CSV) or MIMIC-CXR's table beside them.

    Raises UserError where neither is there.
    """
    of_set = file.with_suffix(".csv")
    if of_set.is_file() and "split" in rows.names(of_set):
        return _column(of_set, "dicom_id")
    for name in MIMIC_SPLITS:
        if (file.parent / name).is_file():
            return _column(file.parent / name, "dicom_id")
    raise UserError(
        f"validation.boxes: {file.name} does not say which images are of the validation split; put the CSV of MS-CXR "
        f"v1.1.0, or {MIMIC_SPLITS[0]}, beside it"
    )


def _column(file: Path, key: str) -> Splits:
    """The column `split` by another column, in small letters."""
    splits: Splits = {}
    add = lambda row: splits.setdefault(row[key].strip(), set()).add(row["split"].strip().casefold())  # noqa: E731
    rows.read(file, (key, "split"), add)
    return splits


def _without_validation(boxes: Path, found: Iterable[str]) -> UserError:
    there = f"has the split {', '.join(sorted(found))} only" if found else "has no image whose split is known"
    return UserError(
        f"validation.boxes: {boxes} {there}; training reads the validation part alone, so that the test split stays "
        "unseen: give a set that has one (split validate)"
    )
