"""A folder of images, with a table of texts or without one → studies.

In: an inventory; a CSV, TSV or Parquet table with a row per image. Out: `SourceImage` rows. No image is opened here.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from dataclasses import dataclass, replace

from sharding.contract import UserError
from sharding.sources import Reading, SourceImage, counted, exclusion
from sharding.sources.finder import ImageFinder
from sharding.sources.inventory import Inventory
from sharding.sources.tables import splits, views
from sharding.sources.tables.table import read_table

# What lies beside images and is none; every other ending, and none at all, is tried.
NOT_IMAGE = re.compile(
    r"\.(?:csv|tsv|txt|jsonl?|xml|md|rst|parquet|tgz|gz|tar|zip|7z|html?|pdf|py|ipynb|ya?ml|log|sqlite|db|xlsx?|docx?|npy|"
    r"npz|ini|toml|sha256|md5)",
    re.I,
)


@dataclass(frozen=True)
class FolderTable:
    """Which table and which of its columns; an empty name means that there is none."""

    table: str
    image: str
    text: str = ""
    patient: str = ""
    view: str = ""
    split: str = ""

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(filter(None, (self.image, self.text, self.patient, self.view, self.split))))


def read(inventory: Inventory, columns: FolderTable | None, frontal_only: bool = True, exclude: str = "") -> Reading:
    """The studies of a folder; raises UserError for a missing table or column, and for a patient in two splits.

    `exclude` lists patients that are left out (`exclusion`); a row without a patient is then left out too, since nobody
    can say that it is not theirs. Rows that repeat another one, and images that stand under two patients, are left out.
    """
    if exclude and not (columns and columns.patient):
        raise UserError(f"{exclude}: subjects can be left out only where a table names them; give --patient-column")
    if columns is None:
        named = image_names(inventory)
        return Reading([SourceImage(name, inventory.location(name), state=inventory.states[name]) for name in named])
    left_out, notes = Counter[str](), Counter[str]()
    studies = _without_doubles(_of_table(inventory, columns, left_out), left_out)
    if exclude:
        studies = _without_subjects(studies, exclude, left_out, notes)
    if frontal_only:
        studies, left_out["not a frontal view"], notes["view unknown, kept"] = views.frontal(studies)
    return Reading(_under_names_of_their_own(studies), counted(left_out), counted(notes))


def _of_table(inventory: Inventory, columns: FolderTable, left_out: Counter[str]) -> list[SourceImage]:
    finder = ImageFinder(inventory)
    listed = inventory.first(finder.below(columns.table))
    table = inventory.location(listed) if listed else columns.table
    finder = ImageFinder(inventory, table)
    values = read_table(table, columns.columns)
    names = values[columns.image]
    empty = [""] * len(names)
    texts, patients, told = (values.get(name, empty) for name in (columns.text, columns.patient, columns.view))
    files = [finder.find(name) for name in names]
    owners = [patient or file for patient, file in zip(patients, files, strict=True)]
    held = splits.of_patients(owners, splits.read(values.get(columns.split, empty), table), table)
    left_out["row that names no image"] = names.count("")
    return [
        SourceImage(
            image=name,
            file=inventory.location(file) if file else "",
            patient=patient,
            text=text,
            view=views.code(view),
            split=split,
            state=inventory.states.get(file, ""),
        )
        for name, file, text, patient, view, split in zip(names, files, texts, patients, told, held, strict=True)
        if name
    ]


def _without_doubles(studies: list[SourceImage], left_out: Counter[str]) -> list[SourceImage]:
    """Rows that say the same of the same file once, and none of a file that two patients claim."""
    claims: dict[str, set[str]] = {}
    for study in studies:
        claims.setdefault(study.file, set()).add(study.patient)
    torn = {file for file, patients in claims.items() if file and len(patients - {""}) > 1}
    kept: dict[tuple[str, ...], SourceImage] = {}
    for study in studies:
        if study.file in torn:
            left_out["image of two patients"] += 1
        elif kept.setdefault(_said(study), study) is not study:
            left_out["row that repeats another"] += 1
    return list(kept.values())


def _said(study: SourceImage) -> tuple[str, ...]:
    return (study.file or study.image, study.patient, study.text or "", study.view, study.split)


def _without_subjects(
    studies: list[SourceImage], exclude: str, left_out: Counter[str], notes: Counter[str]
) -> list[SourceImage]:
    patient_of = {study.image: study.patient for study in studies}
    excluded, notes["excluded id that means nobody here"] = exclusion.patients(exclude, patient_of)
    left_out["excluded subject"] = sum(study.patient in excluded for study in studies)
    left_out["no patient to compare with the excluded"] = sum(not study.patient for study in studies)
    return [study for study in studies if study.patient and study.patient not in excluded]


def _under_names_of_their_own(studies: list[SourceImage]) -> list[SourceImage]:
    """An image with several texts is several samples; the second is called name#2."""
    given = {study.image for study in studies}
    seen: Counter[str] = Counter()
    return [_numbered(study, seen, given) for study in studies]


def _numbered(study: SourceImage, seen: Counter[str], given: set[str]) -> SourceImage:
    seen[study.image] += 1
    if seen[study.image] == 1:
        return study
    while (image := f"{study.image}#{seen[study.image]}") in given:
        seen[study.image] += 1
    return replace(study, image=image)


def image_names(inventory: Inventory) -> list[str]:
    """Relative names of all files that may be images, sorted; hidden ones and known other kinds are left out."""
    return sorted(name for name in inventory.states if _may_be_image(name))


def _may_be_image(name: str) -> bool:
    *folders, base = name.split("/")
    hidden = any(part.startswith(".") for part in (*folders, base))
    return not hidden and base != "DICOMDIR" and not NOT_IMAGE.fullmatch(posixpath.splitext(base)[1])
