"""A list of subjects to exclude → the matching patients of a source.

In: a list or table at a path or URL (subject ids one per line, CSV, TSV, Parquet, MS-CXR as JSON or CSV; also gzipped)
and the patient of each image of the source. Out: whole patients: an excluded image excludes its subject.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sharding.contract import UserError
from sharding.tables.table import read_table
from sharding.text import encoding

KINDS = "give subject ids, one per line, or an MS-CXR table (CSV or JSON)"
SUBJECT_COLUMNS = ("subject_id", "subject", "patient_id", "patientid", "patient", "uid")
IMAGE_COLUMNS = ("dicom_id", "image_id")
# In a path of MIMIC-CXR: files/p10/p10000032/s50414267/...; "p10" is a folder of many subjects.
SUBJECT = re.compile(r"(?:^|/)p(\d{3,})(?=/|$)")
HAS_DIGIT = re.compile(r"\d")
BARE_IDS = re.compile(r"p?\d+(?:\s+p?\d+)*")


@dataclass(frozen=True)
class Listed:
    """The content of a list: subjects, and images that exclude their subjects."""

    subjects: frozenset[str]
    images: frozenset[str] = frozenset()


def patients(
    location: str, patient_of: Mapping[str, str], normal: Callable[[str], str] = str
) -> tuple[frozenset[str], int]:
    """The patients of `patient_of` (image → patient) on the list, and how many of its ids match nobody.

    `normal` brings the ids of the list into the form of the source. Raises UserError for a list that cannot be read, is
    empty, or has nobody in common with the source: then it is the wrong list.
    """
    listed = read(location)
    subjects = {normal(subject) for subject in listed.subjects}
    known = set(patient_of.values())
    of_images = {patient_of[image] for image in listed.images if image in patient_of}
    excluded = (subjects & known) | (of_images - {""})
    unmatched = len(subjects - known) if subjects else len(listed.images - patient_of.keys())
    if not excluded:
        raise UserError(f"{location}: none of its subjects is in the input, so nobody would be left out; {KINDS}")
    return frozenset(excluded), unmatched


def read(location: str) -> Listed:
    """The content of the list; raises UserError if it is missing, malformed or empty."""
    data = encoding.read(location)
    kind = posixpath.basename(location).lower().removesuffix(".gz")
    if kind.endswith(".json"):
        listed = _of_json(encoding.text(data, location), location)
    elif kind.endswith((".csv", ".tsv", ".parquet")):
        listed = _of_table(location)
    else:
        listed = Listed(_of_lines(encoding.text(data, location)))
    if not listed.subjects and not listed.images:
        raise UserError(f"{location}: names no subject; {KINDS}")
    return listed


def _of_lines(text: str) -> frozenset[str]:
    """Ids one per line or separated by commas; bare numbers also by spaces."""
    parts = [part.strip() for part in re.split(r"[,;\t\n\r]", text)]
    ids = [part.split() if BARE_IDS.fullmatch(part) else [part] for part in parts if part]
    return frozenset(subject for part in ids for subject in part)


def _of_table(location: str) -> Listed:
    table = read_table(location)
    columns = {name.casefold(): cells for name, cells in table.items()}
    if columns.keys().isdisjoint((*SUBJECT_COLUMNS, *IMAGE_COLUMNS, "path")):
        if len(table) > 1:
            raise UserError(f"{location}: has neither subject_id nor dicom_id nor path; {KINDS}")
        # One column of another name, or without a header: then its first id was read as the name.
        [(name, cells)] = table.items()
        return Listed(frozenset((*cells, *filter(HAS_DIGIT.search, [name]))) - {""})
    subjects = {cell for name in SUBJECT_COLUMNS for cell in columns.get(name, [])}
    images = {cell for name in IMAGE_COLUMNS for cell in columns.get(name, [])}
    return Listed(frozenset(subjects | _in_paths(columns.get("path", []))) - {""}, frozenset(images) - {""})


def _of_json(text: str, location: str) -> Listed:
    """MS-CXR as distributed: images[] with path or file_name; or a plain list of subject ids."""
    try:
        content: Any = json.loads(text)
        if isinstance(content, list):
            return Listed(
                frozenset(str(subject).strip() for subject in content if isinstance(subject, str | int)) - {""}
            )
        images = [image for image in content["images"] if isinstance(image, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{location}: not an MS-CXR JSON with images[].path; {KINDS}") from None
    paths = [str(image.get("path") or image.get("file_name") or "") for image in images]
    stems = {posixpath.splitext(posixpath.basename(path))[0] for path in paths}
    subjects = {str(image["subject_id"]) for image in images if image.get("subject_id")}
    return Listed(frozenset(subjects | _in_paths(paths)), frozenset(stems - {""}))


def _in_paths(paths: list[str]) -> set[str]:
    return {subjects[-1] for subjects in map(SUBJECT.findall, paths) if subjects}
