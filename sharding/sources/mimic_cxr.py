"""MIMIC-CXR and MIMIC-CXR-JPG as they are distributed → studies (FORMATS: MIMIC-CXR).

In: the folder with `files/` and the record, metadata and split tables. Out: `Study` rows; the reports are read later.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from sharding.contract import SPLITS, UserError
from sharding.sources import REPORT, Reading, Study
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


def read(root: Path, frontal_only: bool = True, exclude: Path | None = None) -> Reading:
    """The studies; raises UserError where the tables are missing or `exclude` cannot be read.

    `exclude` is a text file of subject ids or an MS-CXR table (CSV, JSON): its subjects are left out.
    """
    tables = _tables(root, frontal_only)
    excluded = _subjects(exclude, tables) if exclude else frozenset()
    left_out = {"lateral or unknown view": 0, "excluded subject": 0}
    studies = []
    for dicom_id, subject in tables.subject.items():
        if subject in excluded:
            left_out["excluded subject"] += 1
        elif frontal_only and tables.view.get(dicom_id) not in FRONTAL:
            left_out["lateral or unknown view"] += 1
        else:
            studies.append(_study(root, dicom_id, tables))
    return Reading(studies, {why: count for why, count in left_out.items() if count})


def _study(root: Path, dicom_id: str, tables: Tables) -> Study:
    subject, study = tables.subject[dicom_id], tables.study[dicom_id]
    folder = f"files/p{subject[:2]}/p{subject}"
    named = tables.path.get(dicom_id) or f"{folder}/s{study}/{dicom_id}.dcm"
    report = f"{folder}/s{study}.txt"
    return Study(
        image=dicom_id,
        path=_first_file(root / named, (root / named).with_suffix(".jpg"), (root / named).with_suffix(".png")),
        patient=subject,
        study=study,
        text=None,
        text_path=_first_file(root / report, root / "mimic-cxr-reports" / report),
        layout=REPORT,
        view=tables.view.get(dicom_id, ""),
        split=tables.split.get(dicom_id, ""),
    )


def _first_file(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _tables(root: Path, frontal_only: bool) -> Tables:
    records, metadata, splits = (_find(root, part) for part in ("record-list", "metadata", "split"))
    if records is None and metadata is None:
        raise UserError(
            f"{root}: neither cxr-record-list.csv.gz nor mimic-cxr-*-metadata.csv.gz; give the folder that holds files/"
        )
    if metadata is None and frontal_only:
        raise UserError(
            f"{root}: no mimic-cxr-*-metadata.csv.gz, so no views are known; add it, or take all with --views all"
        )
    meta = read_table(metadata, ("dicom_id", "subject_id", "study_id", "ViewPosition")) if metadata else {}
    base = read_table(records, ("dicom_id", "subject_id", "study_id", "path")) if records else meta
    split = _pairs(read_table(splits, ("dicom_id", "split")), "split") if splits else {}
    unknown = set(split.values()) - set(SPLITS)
    if unknown:
        raise UserError(f"{root}: the split table has {', '.join(sorted(unknown))}; it may hold {', '.join(SPLITS)}")
    subjects = {dicom_id: subject.removeprefix("p") for dicom_id, subject in _pairs(base, "subject_id").items()}
    studies = {dicom_id: study.removeprefix("s") for dicom_id, study in _pairs(base, "study_id").items()}
    return Tables(subjects, studies, _pairs(base, "path"), _pairs(meta, "ViewPosition"), split)


def _pairs(columns: Columns, name: str) -> dict[str, str]:
    return dict(zip(columns["dicom_id"], columns[name], strict=True)) if name in columns else {}


def _find(root: Path, part: str) -> Path | None:
    return next(iter(sorted((*root.glob(f"*{part}.csv.gz"), *root.glob(f"*{part}.csv")))), None)


def _subjects(path: Path, tables: Tables) -> frozenset[str]:
    """The subject ids in a text file, an MS-CXR JSON or a CSV with subject_id, path or dicom_id."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give subject ids, one a line, or an MS-CXR table")
    if path.suffix == ".json":
        found = _subjects_of_json(path)
    elif ".csv" in path.suffixes:
        columns = read_table(path)
        dicoms = {tables.subject[dicom_id] for dicom_id in columns.get("dicom_id", []) if dicom_id in tables.subject}
        found = set(columns.get("subject_id", [])) | _in_paths(columns.get("path", [])) | dicoms
    else:
        found = set(path.read_text(encoding="utf-8").split())
    if not found:
        raise UserError(f"{path}: names no subject; give subject ids, one a line, or an MS-CXR table")
    return frozenset(subject.removeprefix("p") for subject in found if subject)


def _subjects_of_json(path: Path) -> set[str]:
    try:
        images = json.loads(path.read_text(encoding="utf-8"))["images"]
        return _in_paths([str(image["path"]) for image in images])
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{path}: not an MS-CXR JSON with images[].path; give that, or subject ids, one a line"
        ) from None


def _in_paths(paths: list[str]) -> set[str]:
    return {match.group(1) for match in map(SUBJECT.search, paths) if match}
