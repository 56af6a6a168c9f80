"""MIMIC-CXR and MIMIC-CXR-JPG as they are distributed → studies (FORMATS: MIMIC-CXR).

In: an inventory with `files/` and the record, metadata and split tables. Out: `Study` rows; the reports are read later.
"""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass

from sharding import storage
from sharding.contract import SPLITS, UserError
from sharding.sources import REPORT, Reading, Study
from sharding.sources.inventory import Inventory
from sharding.sources.table import Columns, read_table

FRONTAL = frozenset(("AP", "PA"))
SUBJECT = re.compile(r"(?:^|/)p(\d{3,})(?:/|$)")


@dataclass(frozen=True)
class Tables:
    """The tables side by side, keyed by dicom_id."""

    subject: dict[str, str]
    study: dict[str, str]
    path: dict[str, str]
    view: dict[str, str]
    split: dict[str, str]


def read(inventory: Inventory, frontal_only: bool = True, exclude: str = "") -> Reading:
    """The studies; raises UserError where the tables are missing or `exclude` cannot be read.

    `exclude` is a text file of subject ids or an MS-CXR table (CSV, JSON): its subjects are left out.
    """
    tables = _tables(inventory, frontal_only)
    excluded = _subjects(exclude, tables) if exclude else frozenset()
    left_out = {"lateral or unknown view": 0, "excluded subject": 0}
    studies = []
    for dicom_id, subject in tables.subject.items():
        if subject in excluded:
            left_out["excluded subject"] += 1
        elif frontal_only and tables.view.get(dicom_id) not in FRONTAL:
            left_out["lateral or unknown view"] += 1
        else:
            studies.append(_study(inventory, dicom_id, tables))
    return Reading(studies, {why: count for why, count in left_out.items() if count})


def _study(inventory: Inventory, dicom_id: str, tables: Tables) -> Study:
    subject, study = tables.subject[dicom_id], tables.study[dicom_id]
    folder = f"files/p{subject[:2]}/p{subject}"
    stem, ending = posixpath.splitext(tables.path.get(dicom_id) or f"{folder}/s{study}/{dicom_id}.dcm")
    image = inventory.first(stem + ending, stem + ".jpg", stem + ".png")
    report = inventory.first(f"{folder}/s{study}.txt", f"mimic-cxr-reports/{folder}/s{study}.txt")
    return Study(
        image=dicom_id,
        file=inventory.location(image) if image else "",
        patient=subject,
        study=study,
        text=None,
        text_file=inventory.location(report) if report else "",
        layout=REPORT,
        view=tables.view.get(dicom_id, ""),
        split=tables.split.get(dicom_id, ""),
        state=f"{inventory.states.get(image, '')} {inventory.states.get(report, '')}",
    )


def _tables(inventory: Inventory, frontal_only: bool) -> Tables:
    records, metadata, splits = (_table(inventory, part) for part in ("record-list", "metadata", "split"))
    if not records and not metadata:
        raise UserError(
            f"{inventory.url}: neither cxr-record-list.csv.gz nor mimic-cxr-*-metadata.csv.gz; "
            "give the folder that holds files/"
        )
    if not metadata and frontal_only:
        raise UserError(
            f"{inventory.url}: no mimic-cxr-*-metadata.csv.gz, so no views are known; "
            "add it, or take all with --views all"
        )
    meta = read_table(metadata, ("dicom_id", "subject_id", "study_id", "ViewPosition")) if metadata else {}
    base = read_table(records, ("dicom_id", "subject_id", "study_id", "path")) if records else meta
    split = _pairs(read_table(splits, ("dicom_id", "split")), "split") if splits else {}
    unknown = set(split.values()) - set(SPLITS)
    if unknown:
        raise UserError(
            f"{inventory.url}: the split table has {', '.join(sorted(unknown))}; it may hold {', '.join(SPLITS)}"
        )
    subjects = {dicom_id: subject.removeprefix("p") for dicom_id, subject in _pairs(base, "subject_id").items()}
    studies = {dicom_id: study.removeprefix("s") for dicom_id, study in _pairs(base, "study_id").items()}
    return Tables(subjects, studies, _pairs(base, "path"), _pairs(meta, "ViewPosition"), split)


def _table(inventory: Inventory, part: str) -> str:
    """The location of the table whose name ends in `part`, at the top of the input; empty where there is none."""
    named = (name for name in inventory.states if "/" not in name and name.endswith((f"{part}.csv.gz", f"{part}.csv")))
    found = min(named, default="")
    return inventory.location(found) if found else ""


def _pairs(columns: Columns, name: str) -> dict[str, str]:
    return dict(zip(columns["dicom_id"], columns[name], strict=True)) if name in columns else {}


def _subjects(location: str, tables: Tables) -> frozenset[str]:
    """The subject ids in a text file, an MS-CXR JSON or a CSV with subject_id, path or dicom_id."""
    if location.endswith(".json"):
        found = _subjects_of_json(location)
    elif location.endswith((".csv", ".csv.gz")):
        columns = read_table(location)
        dicoms = {tables.subject[dicom_id] for dicom_id in columns.get("dicom_id", []) if dicom_id in tables.subject}
        found = set(columns.get("subject_id", [])) | _in_paths(columns.get("path", [])) | dicoms
    else:
        found = set(_read_list(location).decode("utf-8", errors="replace").split())
    if not found:
        raise UserError(f"{location}: names no subject; give subject ids, one a line, or an MS-CXR table")
    return frozenset(subject.removeprefix("p") for subject in found if subject)


def _read_list(location: str) -> bytes:
    try:
        return storage.read(location)
    except OSError as error:
        raise UserError(
            f"{location}: cannot be read ({error.strerror}); give subject ids, one a line, or an MS-CXR table"
        ) from None


def _subjects_of_json(location: str) -> set[str]:
    data = _read_list(location)
    try:
        images = json.loads(data)["images"]
        return _in_paths([str(image["path"]) for image in images])
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{location}: not an MS-CXR JSON with images[].path; give that, or subject ids, one a line"
        ) from None


def _in_paths(paths: list[str]) -> set[str]:
    return {match.group(1) for match in map(SUBJECT.search, paths) if match}
