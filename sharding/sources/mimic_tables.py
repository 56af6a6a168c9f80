"""The tables of MIMIC-CXR, joined → one row per image (docs/formats.md, MIMIC-CXR).

In: an inventory that holds the record or the metadata table, and may hold the split and the study table, each as .csv
or .csv.gz. Out: `ImageRow` by dicom_id, and counts of what was left out. `mimic_cxr` finds images and reports.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from dataclasses import dataclass, field

from sharding.contract import UserError
from sharding.sources.files.inventory import Inventory
from sharding.sources.tables import splits, views
from sharding.tables.table import Columns, read_table

RECORDS, METADATA, SPLIT, STUDIES = "record-list", "metadata", "split", "study-list"
NUMBER = re.compile(r"[ps]?(\d+)(?:\.0)?")
IN_PATH = re.compile(r"(?:^|/)p(\d{3,})/s(\d+)(?=/|\.txt$)")


@dataclass(slots=True)
class ImageRow:
    """One image in the tables; `path` is that of the record table, relative to it."""

    subject: str
    study: str
    path: str = ""
    view: str = ""
    split: str = ""


@dataclass(frozen=True)
class Tables:
    """The images by dicom_id; `folder` holds the tables and `files/`."""

    images: dict[str, ImageRow]
    folder: str
    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)


def number(written: str) -> str:
    """A subject or study id: p10000032, 10000032 and 10000032.0 are equal."""
    match = NUMBER.fullmatch(written)
    return match.group(1) if match else written


def read(inventory: Inventory, views_needed: bool) -> Tables:
    """The rows of all images; raises UserError if tables are missing or ambiguous, or a subject is in two splits.

    An image is left out if rows or tables disagree on its subject, study, view or split.
    """
    names = _table_names(inventory)
    if not names[RECORDS] and not names[METADATA]:
        raise UserError(
            f"{inventory.url}: neither cxr-record-list.csv.gz nor mimic-cxr-*-metadata.csv.gz; "
            "give the folder that holds files/"
        )
    if not names[METADATA] and views_needed:
        raise UserError(
            f"{inventory.url}: no mimic-cxr-*-metadata.csv.gz, so no views are known; "
            "add it, or take all with --views all"
        )
    tables = Tables({}, posixpath.dirname(names[RECORDS] or names[METADATA]))
    conflicting = _add_images(tables, inventory, names)
    conflicting |= _add_views(tables, inventory, names[METADATA])
    conflicting |= _add_splits(tables, inventory, names[SPLIT])
    conflicting |= _contradicting_studies(tables, inventory, names[STUDIES])
    for dicom_id in conflicting:
        del tables.images[dicom_id]
    _agree_on_splits(tables, names[SPLIT])
    tables.left_out["image on which the tables contradict each other"] = len(conflicting)
    return tables


def _table_names(inventory: Inventory) -> dict[str, str]:
    """The table of each kind in the topmost folder; raises UserError if there are two."""
    listed = [name for name in inventory.states if name.endswith((".csv", ".csv.gz"))]
    return {part: _only(listed, part) for part in (RECORDS, METADATA, SPLIT, STUDIES)}


def _only(listed: list[str], part: str) -> str:
    matches = [name for name in listed if name.removesuffix(".gz").endswith(f"{part}.csv")]
    depth = min((name.count("/") for name in matches), default=0)
    matches = sorted(name for name in matches if name.count("/") == depth)
    if len({name.removesuffix(".gz") for name in matches}) > 1:
        raise UserError(f"several {part} tables ({matches[0]}, {matches[1]}); keep one in the input")
    return matches[0] if matches else ""


def _columns(inventory: Inventory, name: str, wanted: tuple[str, ...], optional: tuple[str, ...] = ()) -> Columns:
    columns = read_table(inventory.location(name), wanted, optional)
    for part in ("subject_id", "study_id"):
        if part in columns:
            columns[part] = [number(cell) for cell in columns[part]]
    return columns


def _add_images(tables: Tables, inventory: Inventory, names: dict[str, str]) -> set[str]:
    """Adds subject, study and path of every image; returns the ids on which rows disagree."""
    wanted = (
        ("dicom_id", "subject_id", "study_id", "path") if names[RECORDS] else ("dicom_id", "subject_id", "study_id")
    )
    columns = _columns(inventory, names[RECORDS] or names[METADATA], wanted)
    conflicting = set()
    for dicom_id, *row in zip(*(columns[name] for name in wanted), strict=True):
        if not (dicom_id and row[0] and row[1]):
            tables.left_out["row without an id"] += 1
            continue
        image = ImageRow(*row)
        in_path = IN_PATH.search(image.path)
        if in_path and in_path.groups() != (image.subject, image.study):
            conflicting.add(dicom_id)
        known = tables.images.setdefault(dicom_id, image)
        if known is not image:
            tables.left_out["row that repeats another"] += known == image
            conflicting |= {dicom_id} if known != image else set()
    return conflicting


def _add_views(tables: Tables, inventory: Inventory, name: str) -> set[str]:
    if not name:
        return set()
    wanted = ("dicom_id", "subject_id", "study_id", "ViewPosition")
    columns = _columns(inventory, name, wanted)
    conflicting, seen = set(), set()
    for dicom_id, subject, study, written in zip(*(columns[part] for part in wanted), strict=True):
        image = tables.images.get(dicom_id)
        if image is None:
            tables.notes["image of the metadata table alone, not taken"] += 1
            continue
        view = views.code(written)
        if (image.subject, image.study) != (subject, study) or (dicom_id in seen and image.view != view):
            conflicting.add(dicom_id)
        seen.add(dicom_id)
        image.view = view
    return conflicting


def _add_splits(tables: Tables, inventory: Inventory, name: str) -> set[str]:
    """Adds the official split of each image."""
    if not name:
        return set()
    columns = _columns(inventory, name, ("dicom_id", "split"), ("subject_id", "study_id"))
    cells = splits.read(columns["split"], name)
    conflicting = set()
    for row, (dicom_id, split) in enumerate(zip(columns["dicom_id"], cells, strict=True)):
        image = tables.images.get(dicom_id)
        if image is None:
            tables.notes["image of the split table alone, not taken"] += 1
            continue
        ids = (columns[part][row] if part in columns else "" for part in ("subject_id", "study_id"))
        if any(cell and cell != own for cell, own in zip(ids, (image.subject, image.study), strict=True)):
            conflicting.add(dicom_id)
        image.split = split
    return conflicting


def _contradicting_studies(tables: Tables, inventory: Inventory, name: str) -> set[str]:
    """The ids of images whose study belongs to another subject in the study table."""
    if not name:
        return set()
    columns = _columns(inventory, name, ("subject_id", "study_id"))
    owners: dict[str, set[str]] = {}
    for subject, study in zip(columns["subject_id"], columns["study_id"], strict=True):
        owners.setdefault(study, set()).add(subject)
    return {id for id, image in tables.images.items() if owners.get(image.study, {image.subject}) != {image.subject}}


def _agree_on_splits(tables: Tables, name: str) -> None:
    """Sets one split per subject; raises UserError if there are two."""
    images = list(tables.images.values())
    agreed = splits.of_patients([image.subject for image in images], [image.split for image in images], name)
    for image, split in zip(images, agreed, strict=True):
        image.split = split
    tables.notes["image without an official split, split by its subject"] = agreed.count("")
