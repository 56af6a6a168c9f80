"""RSNA Pneumonia (Kaggle, stage 2) → cases: the images in which radiologists boxed an opacity that suggests pneumonia.

In: the folder of the tables and the images, or a list of test images with boxes. Out: `Case`s, all of one sentence.
Nothing is scored here. Format: docs/formats.md, RSNA Pneumonia.
"""

# N boxes

from __future__ import annotations

from pathlib import Path

import numpy as np

from sentalign.evaluate.datasets import rows
from sentalign.evaluate.datasets.case import PNEUMONIA, Box, Case, box, boxes_in, find_image
from sentalign.evaluate.scoring.target import Boxes
from sharding.contract import UserError

LABELS, CLASSES, IMAGES = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv", "stage_2_train_images"
LABEL_COLUMNS = ("patientId", "x", "y", "width", "height", "Target")
CLASS_COLUMNS, OPACITY = ("patientId", "class"), "Lung Opacity"
LIST_COLUMNS = ("ID", "boxes", "classes")
CATEGORY = "Pneumonia"
SIDE = 1024  # of every image that was annotated, pixels


def read(data: Path, test_list: Path | None = None, phrase: str = PNEUMONIA) -> list[Case]:
    """The images with boxes, in the order of the file; see `Case.image` for those whose image is missing.

    `data` holds the two tables of the challenge and `stage_2_train_images`. With `test_list`, a table of ID, boxes and
    classes, the images and boxes are its own. Raises UserError where a table is missing or not as it should be, or not
    one image is there.
    """
    if test_list is not None:
        file, boxes = test_list, _of_list(test_list)
    else:
        file, boxes = data / LABELS, _of_labels(data / LABELS)
        _check_classes(data / CLASSES, boxes)
    positive = {patient: own for patient, own in boxes.items() if own}
    if not positive:
        raise UserError(f"{file.name} holds no box; give the complete file")
    cases = [_case(data, file.name, patient, own, phrase) for patient, own in positive.items()]
    if all(case.image is None for case in cases):
        raise UserError(f"none of the images of {file.name} is in {data / IMAGES}; put them there, <patientId>.dcm")
    return cases


def _case(data: Path, file: str, patient: str, boxes: list[Box], phrase: str) -> Case:
    image = find_image(data, f"{IMAGES}/{patient}.dcm", file)
    return Case(image, patient, phrase, CATEGORY, Boxes(np.array(boxes, float)), patient, patient, SIDE, SIDE)


def _of_labels(file: Path) -> dict[str, list[Box]]:
    """The boxes of every patient, none where Target is 0; a row is a box."""

    def add(row: dict[str, str]) -> None:
        own, target = boxes.setdefault(row["patientId"], []), row["Target"].strip()
        values = [row[name].strip() for name in ("x", "y", "width", "height")]
        if target not in ("0", "1") or (target == "1") != any(values):
            raise ValueError("Target is 1 with a box and 0 without")
        if target == "1" and (own_box := box(values)) not in own:
            own.append(own_box)

    boxes: dict[str, list[Box]] = {}
    rows.read(file, LABEL_COLUMNS, add)
    return boxes


def _of_list(file: Path) -> dict[str, list[Box]]:
    """The boxes of every image of a list of tests; `boxes` is "x;y;w;h|x;y;w;h", empty for none."""

    def add(row: dict[str, str]) -> None:
        if row["ID"] in boxes:
            raise ValueError("a second row of its ID")
        boxes[row["ID"]] = list(dict.fromkeys(boxes_in(row["boxes"])))

    boxes: dict[str, list[Box]] = {}
    rows.read(file, LIST_COLUMNS, add)
    return boxes


def _check_classes(file: Path, boxes: dict[str, list[Box]]) -> None:
    """Raises UserError where the table of classes is there and not of the same challenge: it has a row a box too."""
    if not file.is_file():
        return
    opacity: dict[str, bool] = {}
    rows.read(file, CLASS_COLUMNS, lambda row: opacity.__setitem__(row["patientId"], row["class"].strip() == OPACITY))
    others = sum(opacity.get(patient) is not bool(own) for patient, own in boxes.items())
    if others:
        raise UserError(
            f"{CLASSES} and {LABELS} differ in {others} of {len(boxes)} patients (boxes go with {OPACITY!r} and "
            "nothing else); take both from the same stage of the challenge"
        )
