"""Tables of labels → images, each with the labels that it has.

In: a table of one's own (image, a column for each label, optionally patient), RSNA Pneumonia's classes, or MIMIC-CXR's
CheXpert labels. Out: `Labelled`s. Nothing is scored here. Formats: docs/formats.md, labels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sentalign.evaluate.datasets import rows
from sentalign.evaluate.datasets.case import find_image
from sentalign.evaluate.datasets.rsna import CLASS_COLUMNS, IMAGES, OPACITY
from sharding.contract import SPLITS, UserError

RSNA_LABEL = "Pneumonia"
STUDY = ("subject_id", "study_id")
METADATA_COLUMNS, SPLIT_COLUMNS = ("dicom_id", *STUDY, "ViewPosition"), ("dicom_id", "split")
METADATA, SPLIT = "*-metadata.csv*", "*-split.csv*"
FRONTAL = ("PA", "AP")
UNKNOWN = float("nan")
# CheXpert: 1 present, 0 absent, -1 uncertain, empty not mentioned, which counts as absent.
CHEXPERT = {"1": 1.0, "0": 0.0, "-1": UNKNOWN, "": 0.0}
OWN = {"1": 1.0, "0": 0.0, "true": 1.0, "false": 0.0, "-1": UNKNOWN, "": UNKNOWN}


@dataclass(frozen=True)
class Labelled:
    """One image, None where it is missing; the label of each name is 1, 0, or NaN where it is not known."""

    image: Path | None
    patient: str
    labels: dict[str, float]


def read(
    file: Path, split: str = "test", image_column: str = "image", patient_column: str = "patient"
) -> list[Labelled]:
    """The images of a table, in its order; its columns tell which of the three kinds it is.

    `split` is one of MIMIC-CXR's split table, which lies beside the labels; "" for all. Raises UserError where the
    table is none of the three or not as it should be, or not one image is there.
    """
    names = rows.names(file)
    if set(CLASS_COLUMNS) <= set(names):
        found = _rsna(file)
    elif set(STUDY) <= set(names):
        found = _mimic(file, [name for name in names if name not in STUDY], split)
    else:
        others = {image_column, patient_column}
        found = _own(file, [name for name in names if name not in others], image_column, patient_column)
    if not found:
        raise UserError(f"{file.name} holds no image; give a table with a row for each")
    if all(one.image is None for one in found):
        raise UserError(f"none of the images of {file.name} is in {file.parent}; put them there")
    return found


def _value(written: str, meanings: dict[str, float]) -> float:
    try:
        return meanings[written.strip().lower().removesuffix(".0")]
    except KeyError:
        raise ValueError(f"a label is none of {', '.join(name for name in meanings if name)} and empty") from None


def _own(file: Path, labels: Sequence[str], image: str, patient: str) -> list[Labelled]:
    if not labels:
        raise UserError(f"{file.name} has no column of labels; it needs {image} and a column of 0 and 1 for each label")
    found: list[Labelled] = []

    def add(row: rows.Row) -> None:
        path = row[image].strip()
        if not path:
            raise ValueError(f"no {image}")
        at = file.parent / path
        own = {name: _value(row[name], OWN) for name in labels}
        found.append(Labelled(at if os.path.isfile(at) else None, row.get(patient, "").strip() or path, own))

    rows.read(file, (image, *labels), add, (patient,))
    return found


def _rsna(file: Path) -> list[Labelled]:
    """A patient has a row for each box, all of one class."""
    classes: dict[str, str] = {}

    def add(row: rows.Row) -> None:
        own = row["class"].strip()
        if classes.setdefault(row["patientId"], own) != own:
            raise ValueError("a second class of its patient")

    rows.read(file, CLASS_COLUMNS, add)
    return [
        Labelled(
            find_image(file.parent, f"{IMAGES}/{patient}.dcm", file.name), patient, {RSNA_LABEL: float(own == OPACITY)}
        )
        for patient, own in classes.items()
    ]


def _mimic(file: Path, labels: Sequence[str], split: str) -> list[Labelled]:
    """The frontal images of the studies that have labels."""
    of_study: dict[tuple[str, ...], dict[str, float]] = {}

    def add(row: rows.Row) -> None:
        of_study[_study(row)] = {name: _value(row[name], CHEXPERT) for name in labels}

    rows.read(file, (*STUDY, *labels), add)
    wanted, found = _of_split(file.parent, split), []

    def add_image(row: rows.Row) -> None:
        study = _study(row)
        if study in of_study and row["ViewPosition"].strip().upper() in FRONTAL and wanted(row["dicom_id"]):
            patient, number = study
            path = f"files/p{patient[:2]}/p{patient}/s{number}/{row['dicom_id']}.jpg"
            found.append(Labelled(find_image(file.parent, path, file.name), patient, of_study[study]))

    rows.read(_beside(file.parent, METADATA, "it says which images a study has"), METADATA_COLUMNS, add_image)
    return found


def _study(row: rows.Row) -> tuple[str, str]:
    patient, study = (row[name].strip().removesuffix(".0") for name in STUDY)
    return patient.removeprefix("p"), study.removeprefix("s")


def _of_split(folder: Path, split: str) -> Callable[[str], bool]:
    """Whether an image is of the split, "" for all."""
    if not split:
        return lambda image: True
    table = _beside(folder, SPLIT, f"split {split!r} is asked for; or give --split all")
    images: set[str] = set()
    known: set[str] = set()

    def add(row: rows.Row) -> None:
        known.add(row["split"])
        if row["split"] == split:
            images.add(row["dicom_id"])

    rows.read(table, SPLIT_COLUMNS, add)
    if not images:
        raise UserError(
            f"{table.name} has no split {split!r}; it has {', '.join(sorted(known & set(SPLITS))) or 'others'}"
        )
    return images.__contains__


def _beside(folder: Path, pattern: str, why: str) -> Path:
    tables = sorted(folder.glob(pattern))
    if not tables:
        raise UserError(f"no table {pattern} beside the labels; {why}")
    return tables[0]
