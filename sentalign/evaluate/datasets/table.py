"""Any table of images, sentences and boxes or masks → cases.

In: a CSV, TSV or Parquet file; paths in it are relative to its folder. Out: `Case`s. Nothing is scored here. Format:
docs/formats.md, evaluation table.
"""

# N boxes

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentalign.evaluate.datasets import mask_file, rows
from sentalign.evaluate.datasets.case import Box, Case, box, boxes_in
from sentalign.evaluate.scoring.target import Boxes, PixelMask
from sharding.contract import UserError

IMAGE, SENTENCE, MASK, BOXES, CATEGORY, PATIENT = "image", "sentence", "mask", "boxes", "category", "patient"
BOX = ("x", "y", "width", "height")
RENAMED = (IMAGE, SENTENCE, MASK, BOXES, CATEGORY, PATIENT)  # columns that may have another name in the file


@dataclass
class _Marked:
    """What the rows of one image and sentence mark."""

    category: str
    patient: str
    boxes: list[Box] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)


def read(file: Path, names: dict[str, str] | None = None) -> list[Case]:
    """The cases, in the order of the file: the rows of one image and sentence are one case, whose targets are united.

    `names` are those of the columns that have another name in the file. Raises UserError where the file, a column or a
    mask is missing, a row has neither a box nor a mask, or not one image is there.
    """
    names = {name: name for name in RENAMED} | (names or {})
    found: dict[tuple[str, str], _Marked] = {}
    optional = [names[name] for name in (MASK, BOXES, CATEGORY, PATIENT)]
    rows.read(file, (names[IMAGE], names[SENTENCE]), lambda row: _add(found, row, names), (*optional, *BOX))
    if not found:
        raise UserError(f"{file.name} has no row; give a table of {names[IMAGE]}, {names[SENTENCE]} and boxes or masks")
    cases = [_case(file, *key, marked) for key, marked in found.items()]
    if all(case.image is None for case in cases):
        raise UserError(f"none of the images of {file.name} is there; paths are relative to {file.parent}")
    return cases


def _add(found: dict[tuple[str, str], _Marked], row: rows.Row, names: dict[str, str]) -> None:
    image, sentence = row[names[IMAGE]].strip(), " ".join(row[names[SENTENCE]].split())
    if not image or not sentence:
        raise ValueError(f"no {names[SENTENCE] if image else names[IMAGE]}")
    category, patient = (row.get(names[name], "").strip() for name in (CATEGORY, PATIENT))
    marked = found.setdefault((image, sentence), _Marked(category or "all", patient or Path(image).stem))
    mask, boxes = row.get(names[MASK], "").strip(), boxes_in(row.get(names[BOXES], ""))
    single = [row.get(name, "").strip() for name in BOX]
    if bool(mask) + bool(boxes) + any(single) != 1:
        raise ValueError(f"it needs a {names[MASK]}, {names[BOXES]} or {', '.join(BOX)}, and one of them only")
    marked.masks += [Path(mask)] if mask else []
    marked.boxes += boxes + ([box(single)] if any(single) else [])
    if marked.masks and marked.boxes:
        raise ValueError("the same image and sentence have a mask and a box")


def _case(file: Path, name: str, sentence: str, marked: _Marked) -> Case:
    image = file.parent / name
    of_case = (image if os.path.isfile(image) else None, name, sentence, marked.category)
    if not marked.masks:
        return Case(*of_case, Boxes(np.array(marked.boxes, float)), marked.patient, name, 0, 0)
    masks = [_mask(file.parent / mask, file) for mask in marked.masks]
    if any(mask_HW.shape != masks[0].shape for mask_HW in masks):
        raise UserError(f"{file.name}: the masks of one image and sentence have several sizes; mend them")
    target = PixelMask.of(np.logical_or.reduce(masks))
    return Case(*of_case, target, marked.patient, name, *target.shape)


def _mask(path: Path, file: Path) -> NDArray[np.bool_]:
    try:
        mask_HW = mask_file.read(path)
    except ValueError:
        raise UserError(f"{file.name}: a {path.suffix} mask cannot be read; give image files or .npy") from None
    if not mask_HW.any():
        raise UserError(f"{file.name}: a mask marks no pixel; leave its row out")
    return mask_HW
