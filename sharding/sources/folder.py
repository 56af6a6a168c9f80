"""A folder of images, with or without a table of texts → `SourceImage` rows.

In: an inventory; a CSV, TSV or Parquet table with a row, or several, per image. Out: a `SourceListing`. No image is
opened here. Rows of one image are united in `folder_rows`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sharding.contract import UserError
from sharding.sources import SourceImage, SourceListing, exclusion, folder_rows, nonzero
from sharding.sources.files import file_kinds
from sharding.sources.files.image_finder import ImageFinder
from sharding.sources.files.inventory import Inventory
from sharding.sources.tables import photometric, splits, views
from sharding.tables.table import read_table

SHARED = "study id that several patients have: one study for each"


@dataclass(frozen=True)
class FolderTable:
    """A table and the names of its columns; an empty name means: no such column."""

    table: str
    image: str
    text: str = ""
    patient: str = ""
    view: str = ""
    split: str = ""
    study: str = ""
    photometric: str = ""

    @property
    def columns(self) -> list[str]:
        named = (self.image, self.text, self.patient, self.view, self.split, self.study, self.photometric)
        return list(dict.fromkeys(filter(None, named)))


def read(
    inventory: Inventory, columns: FolderTable | None, frontal_only: bool = True, exclude: str = ""
) -> SourceListing:
    """The images of a folder; raises UserError for a missing table or column, and for a patient in two splits.

    `exclude` lists patients to leave out (`exclusion`); rows without a patient are then left out too, since they may be
    of an excluded one. The rows of an image are united; images whose rows contradict each other are left out.
    """
    if exclude and not (columns and columns.patient):
        raise UserError(f"{exclude}: subjects can be left out only where a table names them; give --patient-column")
    if columns is None:
        names, others = file_kinds.may_be_images(inventory.states)
        images = [SourceImage(name, inventory.location(name), state=inventory.states[name]) for name in names]
        return SourceListing(images, nonzero(others))
    left_out, notes = Counter[str](), Counter[str]()
    images = folder_rows.one_per_image(_of_table(inventory, columns, left_out, notes), left_out, notes)
    if exclude:
        images = _without_subjects(images, exclude, left_out, notes)
    if frontal_only:
        images, left_out["not a frontal view"], notes["view unknown, kept"] = views.frontal(images)
    return SourceListing(images, nonzero(left_out), nonzero(notes))


def _of_table(
    inventory: Inventory, columns: FolderTable, left_out: Counter[str], notes: Counter[str]
) -> list[SourceImage]:
    """The rows that name an image."""
    finder = ImageFinder(inventory)
    listed = inventory.first(finder.below(columns.table))
    table = inventory.location(listed) if listed else columns.table
    finder = ImageFinder(inventory, table)
    values = read_table(table, columns.columns)
    names = values[columns.image]
    empty = [""] * len(names)
    texts, view_words = (values.get(name, empty) for name in (columns.text, columns.view))
    matches = [finder.matches(name) for name in names]
    files = [found[0] if len(found) == 1 else "" for found in matches]
    split_names = splits.read(values.get(columns.split, empty), table)
    rows = [file or name for file, name in zip(files, names, strict=True)]
    cells = _filled(values.get(columns.study, empty), rows)
    patients = _owners(values.get(columns.patient, empty), cells, rows)
    split_names = splits.of_patients(_groups(patients, cells, rows), split_names, table)
    studies = _studies(cells, patients, notes)
    models = photometric.read(values.get(columns.photometric, empty), table)
    left_out["row that names no image"] = names.count("")
    return [
        SourceImage(
            id=name,
            file=inventory.location(file) if file else "",
            several=len(found) > 1,
            patient=patient,
            study=study,
            text=text,
            view=views.code(view),
            split=split,
            state=inventory.states.get(file, ""),
            photometric=model,
        )
        for name, file, found, text, patient, study, view, split, model in zip(
            names, files, matches, texts, patients, studies, view_words, split_names, models, strict=True
        )
        if name
    ]


def _filled(cells: list[str], keys: list[str]) -> list[str]:
    """The cells, an empty one by another row of the same key; empty keys are none."""
    of_key = {key: cell for cell, key in zip(cells, keys, strict=True) if cell and key}
    return [cell or of_key.get(key, "") for cell, key in zip(cells, keys, strict=True)]


def _owners(patients: list[str], studies: list[str], images: list[str]) -> list[str]:
    """The patient of each row, by another row of its image or, if that has one patient alone, of its study."""
    owners = _filled(patients, images)
    shared = {study for study, own in _owners_of(studies, owners).items() if len(own) > 1}
    owners = _filled(owners, ["" if study in shared else study for study in studies])
    return _filled(owners, images)


def _owners_of(studies: list[str], patients: list[str]) -> dict[str, set[str]]:
    owners: dict[str, set[str]] = {}
    for study, patient in zip(studies, patients, strict=True):
        if study and patient:
            owners.setdefault(study, set()).add(patient)
    return owners


def _groups(patients: list[str], studies: list[str], images: list[str]) -> list[str]:
    """What must be in one split: the rows of a patient, else of a study, else of an image."""
    rows = zip(patients, studies, images, strict=True)
    return [patient or (f"study\0{study}" if study else f"image\0{image}") for patient, study, image in rows]


def _studies(cells: list[str], patients: list[str], notes: Counter[str]) -> list[str]:
    """The study of each row: a number that counts the studies of each patient names several of them."""
    notes[SHARED] = sum(len(own) > 1 for own in _owners_of(cells, patients).values())
    return [f"{patient}/{cell}" if patient and cell else cell for cell, patient in zip(cells, patients, strict=True)]


def _without_subjects(
    images: list[SourceImage], exclude: str, left_out: Counter[str], notes: Counter[str]
) -> list[SourceImage]:
    patient_of = {image.id: image.patient for image in images}
    excluded, notes["excluded id that matches nobody here"] = exclusion.patients(exclude, patient_of)
    left_out["excluded subject"] = sum(image.patient in excluded for image in images)
    left_out["no patient to compare with the excluded"] = sum(not image.patient for image in images)
    return [image for image in images if image.patient and image.patient not in excluded]
