"""A folder of images, with or without a table of texts → `SourceImage` rows.

In: an inventory; a CSV, TSV or Parquet table with one row per image. Out: a `SourceListing`. No image is opened here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from sharding.contract import UserError
from sharding.sources import SourceImage, SourceListing, exclusion, file_kinds, nonzero
from sharding.sources.image_finder import ImageFinder
from sharding.sources.inventory import Inventory
from sharding.sources.tables import splits, views
from sharding.tables.table import read_table


@dataclass(frozen=True)
class FolderTable:
    """A table and the names of its columns; an empty name means: no such column."""

    table: str
    image: str
    text: str = ""
    patient: str = ""
    view: str = ""
    split: str = ""

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(filter(None, (self.image, self.text, self.patient, self.view, self.split))))


def read(
    inventory: Inventory, columns: FolderTable | None, frontal_only: bool = True, exclude: str = ""
) -> SourceListing:
    """The images of a folder; raises UserError for a missing table or column, and for a patient in two splits.

    `exclude` lists patients to leave out (`exclusion`); rows without a patient are then left out too, since they may be
    of an excluded one. Duplicate rows, and images listed under two patients, are left out.
    """
    if exclude and not (columns and columns.patient):
        raise UserError(f"{exclude}: subjects can be left out only where a table names them; give --patient-column")
    if columns is None:
        names, others = file_kinds.may_be_images(inventory.states)
        images = [SourceImage(name, inventory.location(name), state=inventory.states[name]) for name in names]
        return SourceListing(images, nonzero(others))
    left_out, notes = Counter[str](), Counter[str]()
    images = _without_duplicates(_of_table(inventory, columns, left_out), left_out)
    if exclude:
        images = _without_subjects(images, exclude, left_out, notes)
    if frontal_only:
        images, left_out["not a frontal view"], notes["view unknown, kept"] = views.frontal(images)
    return SourceListing(_with_unique_ids(images), nonzero(left_out), nonzero(notes))


def _of_table(inventory: Inventory, columns: FolderTable, left_out: Counter[str]) -> list[SourceImage]:
    finder = ImageFinder(inventory)
    listed = inventory.first(finder.below(columns.table))
    table = inventory.location(listed) if listed else columns.table
    finder = ImageFinder(inventory, table)
    values = read_table(table, columns.columns)
    names = values[columns.image]
    empty = [""] * len(names)
    texts, patients, view_words = (values.get(name, empty) for name in (columns.text, columns.patient, columns.view))
    matches = [finder.matches(name) for name in names]
    files = [found[0] if len(found) == 1 else "" for found in matches]
    owners = [patient or file for patient, file in zip(patients, files, strict=True)]
    split_names = splits.of_patients(owners, splits.read(values.get(columns.split, empty), table), table)
    left_out["row that names no image"] = names.count("")
    return [
        SourceImage(
            id=name,
            file=inventory.location(file) if file else "",
            several=len(found) > 1,
            patient=patient,
            text=text,
            view=views.code(view),
            split=split,
            state=inventory.states.get(file, ""),
        )
        for name, file, found, text, patient, view, split in zip(
            names, files, matches, texts, patients, view_words, split_names, strict=True
        )
        if name
    ]


def _without_duplicates(images: list[SourceImage], left_out: Counter[str]) -> list[SourceImage]:
    """Without repeated rows, and without the images of a file that is listed under two patients."""
    claims: dict[str, set[str]] = {}
    for image in images:
        claims.setdefault(image.file, set()).add(image.patient)
    ambiguous = {file for file, patients in claims.items() if file and len(patients - {""}) > 1}
    kept: dict[tuple[str, ...], SourceImage] = {}
    for image in images:
        content = (image.file or image.id, image.patient, image.text or "", image.view, image.split)
        if image.file in ambiguous:
            left_out["image of two patients"] += 1
        elif kept.setdefault(content, image) is not image:
            left_out["row that repeats another"] += 1
    return list(kept.values())


def _without_subjects(
    images: list[SourceImage], exclude: str, left_out: Counter[str], notes: Counter[str]
) -> list[SourceImage]:
    patient_of = {image.id: image.patient for image in images}
    excluded, notes["excluded id that matches nobody here"] = exclusion.patients(exclude, patient_of)
    left_out["excluded subject"] = sum(image.patient in excluded for image in images)
    left_out["no patient to compare with the excluded"] = sum(not image.patient for image in images)
    return [image for image in images if image.patient and image.patient not in excluded]


def _with_unique_ids(images: list[SourceImage]) -> list[SourceImage]:
    """An image with several texts becomes several samples; the id of the second is name#2."""
    names, seen = {image.id for image in images}, Counter[str]()
    return [_numbered(image, seen, names) for image in images]


def _numbered(image: SourceImage, seen: Counter[str], names: set[str]) -> SourceImage:
    seen[image.id] += 1
    if seen[image.id] == 1:
        return image
    while (numbered := f"{image.id}#{seen[image.id]}") in names:
        seen[image.id] += 1
    return replace(image, id=numbered)
