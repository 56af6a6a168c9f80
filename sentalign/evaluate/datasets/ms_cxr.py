"""MS-CXR (v1.0.0 and v1.1.0, JSON or CSV) → cases: an image, a phrase and the boxes that radiologists drew for it.

In: the folder of the annotation file and the images. Out: `Case`s. Nothing is scored here.
Format: docs/formats.md, MS-CXR.
"""

# N boxes

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sentalign.evaluate.datasets import rows
from sentalign.evaluate.datasets.case import Box, Case, find_image
from sentalign.evaluate.datasets.case import box as read_box
from sentalign.evaluate.scoring.target import Boxes
from sharding.contract import UserError

OFFICIAL = "MS_CXR_Local_Alignment"
JSON_KEYS = frozenset({"images", "annotations", "categories"})
CSV_COLUMNS = ("dicom_id", "category_name", "label_text", "path", "x", "y", "w", "h", "image_width", "image_height")
PATIENT, STUDY = re.compile(r"p\d{3,}"), re.compile(r"s\d+")


@dataclass(frozen=True)
class _Row:
    """One annotated box, from JSON or CSV."""

    image_id: str
    path: str
    phrase: str
    category: str
    box: Box
    patient: str
    study: str
    height: int
    width: int


def read(data: Path) -> list[Case]:
    """All cases of the set, in the order of the file; see `Case.image` for those whose image is missing.

    `data` is the folder of annotation file and images, or one of several annotation files in it.
    Raises UserError where no annotation file is MS-CXR's, or not one image is there.
    """
    file, rows = _annotations(data)
    data = file.parent
    grouped: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        grouped.setdefault((row.image_id, row.phrase), []).append(row)
    if not grouped:
        raise UserError(f"{file.name} holds no annotation; give the complete MS-CXR file")
    cases = [_case(file, same) for same in grouped.values()]
    if all(case.image is None for case in cases):
        raise UserError(
            f"none of the images of {file.name} is below {data}; put the images (files/p1x/...) beside that file"
        )
    return cases


def _case(file: Path, same: list[_Row]) -> Case:
    first = same[0]
    target = Boxes(np.array([row.box for row in same], float))
    image = find_image(file.parent, first.path, file.name)
    return Case(
        image, first.image_id, first.phrase, first.category, target,
        first.patient, first.study, first.height, first.width,
    )  # fmt: skip


def _annotations(data: Path) -> tuple[Path, list[_Row]]:
    """The annotation file and its rows."""
    for file in _candidates(data):
        rows = _rows(file)
        if rows is not None:
            return file, _checked(file, rows)
    raise _no_annotations(data)


def annotation_files(data: Path) -> Iterator[Path]:
    """The files with annotations, one of each name, in the order in which `read` looks for one. Raises UserError."""
    seen: set[str] = set()
    for file in _candidates(data):
        if file.stem not in seen and _rows(file) is not None:
            seen.add(file.stem)
            yield file
    if not seen:
        raise _no_annotations(data)


def _no_annotations(data: Path) -> UserError:
    return UserError(f"no MS-CXR annotations in {data}; it needs MS_CXR_Local_Alignment_*.json or .csv")


def _candidates(data: Path) -> list[Path]:
    """Files by name, MS-CXR's own first, JSON before CSV (same content), the latest of several versions first."""
    if data.is_file():
        return [data]
    if not data.is_dir():
        raise UserError(f"no folder {data}; give the folder that holds MS-CXR's JSON or CSV file and files/")
    files = sorted((*data.glob("*.json"), *data.glob("*.csv")), reverse=True)
    return sorted(files, key=lambda file: (not file.name.startswith(OFFICIAL), file.suffix != ".json"))


def _rows(file: Path) -> Iterator[_Row] | None:
    """The rows of a file; None where it has another content."""
    if file.suffix == ".json":
        tree = _json(file)
        return None if tree is None else _json_rows(tree)
    try:
        names = rows.names(file)
    except UserError:
        if file.name.startswith(OFFICIAL):
            raise
        return None
    if not set(CSV_COLUMNS) <= set(names):
        return None
    found: list[_Row] = []
    rows.read(file, CSV_COLUMNS, lambda row: found.append(_csv_row(row)), ("subject_id", "study_id"))
    return iter(found)


def _json(file: Path) -> dict[str, Any] | None:
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise UserError(f"{file.name} is not valid JSON; fetch it again or remove it") from None
    return tree if isinstance(tree, dict) and set(tree) >= JSON_KEYS else None


def _checked(file: Path, rows: Iterator[_Row]) -> list[_Row]:
    """The rows. Raises UserError with the number of the first row that cannot be read."""
    checked: list[_Row] = []
    try:
        for row in rows:
            checked.append(row)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        number = len(checked) + 1
        raise UserError(
            f"{file.name}: annotation {number} is not MS-CXR's ({_reason(error)}); fetch it again"
        ) from None
    return checked


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no {error}"
    return str(error) if isinstance(error, ValueError) else "a value of another kind"


def _json_rows(tree: dict[str, Any]) -> Iterator[_Row]:
    images = {image["id"]: image for image in tree["images"]}
    categories = {category["id"]: str(category["name"]) for category in tree["categories"]}
    for annotation in tree["annotations"]:
        yield _json_row(annotation, images[annotation["image_id"]], categories[annotation["category_id"]])


def _json_row(annotation: dict[str, Any], image: dict[str, Any], category: str) -> _Row:
    path = str(image["path"])
    image_id = Path(str(image.get("file_name") or path)).stem
    text = annotation["label_text"]
    phrase = " ".join(text) if isinstance(text, list) else text
    if not isinstance(phrase, str):
        raise ValueError("label_text is no text")
    return _row(image_id, path, phrase, category, annotation["bbox"], image, image["height"], image["width"])


def _csv_row(line: dict[str, str]) -> _Row:
    box = [line[name] for name in ("x", "y", "w", "h")]
    return _row(
        line["dicom_id"], line["path"], line["label_text"], line["category_name"], box,
        line, line["image_height"], line["image_width"],
    )  # fmt: skip


def _row(
    image_id: str,
    path: str,
    phrase: str,
    category: str,
    box: Iterable[Any],
    ids: dict[str, Any],
    height: Any,
    width: Any,
) -> _Row:
    words = " ".join(phrase.split())
    if not words:
        raise ValueError("an empty phrase")
    patient, study = _of_path(path, PATIENT), _of_path(path, STUDY)
    size = float(height), float(width)
    if not all(1 <= side < 1e6 for side in size):
        raise ValueError("a picture without a size")
    return _Row(
        image_id, path, words, str(category), read_box(box),
        # v1.1.0 has columns for subject and study, v1.0.0 only the path.
        str(ids.get("subject_id") or patient or image_id).removeprefix("p"),
        str(ids.get("study_id") or study or image_id).removeprefix("s"),
        int(size[0]), int(size[1]),
    )  # fmt: skip


def _of_path(path: str, pattern: re.Pattern[str]) -> str | None:
    """The last folder of the path that looks like p10000032 or s50414267."""
    return next((part for part in reversed(Path(path).parts[:-1]) if pattern.fullmatch(part)), None)
