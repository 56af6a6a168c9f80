"""MIMIC-CXR and MIMIC-CXR-JPG as distributed → `SourceImage` rows (docs/formats.md, MIMIC-CXR).

In: an inventory with `files/` and the record, metadata and split tables; reports lie in `files/` too or, for the JPG
tree, in any folder that mimic-cxr-reports.zip was unpacked into. Out: a `SourceListing`; reports are read later.
"""

from __future__ import annotations

import posixpath
import re
from functools import cached_property

from sharding.contract import UserError
from sharding.sources import REPORT, SourceImage, SourceListing, exclusion, mimic_tables, nonzero
from sharding.sources.files.inventory import Inventory
from sharding.sources.mimic_tables import ImageRow

FRONTAL = frozenset(("AP", "PA"))
EXTENSIONS = (".dcm", ".jpg", ".png")
REPORT_FOLDERS = ("", "mimic-cxr-reports")
REPORTS_ZIP = "mimic-cxr-reports.zip"
OF_SUBJECT = re.compile(r"p\d{3,}")


def read(inventory: Inventory, frontal_only: bool = True, exclude: str = "") -> SourceListing:
    """The images; raises UserError if tables are missing or contradict each other on splits.

    `exclude` lists subjects to leave out, or is MS-CXR (`exclusion`).
    """
    tables = mimic_tables.read(inventory, frontal_only)
    left_out, notes = tables.left_out, tables.notes
    excluded: frozenset[str] = frozenset()
    if exclude:
        subject_of = {dicom_id: image.subject for dicom_id, image in tables.images.items()}
        excluded, notes["excluded id that matches nobody here"] = exclusion.patients(
            exclude, subject_of, mimic_tables.number
        )
    files = Files(inventory, tables.folder)
    images = []
    for dicom_id, image in tables.images.items():
        if image.subject in excluded:
            left_out["excluded subject"] += 1
        elif frontal_only and image.view not in FRONTAL:
            left_out["lateral or unknown view"] += 1
        else:
            images.append(_source_image(dicom_id, image, files))
    notes["image without a report"] = sum(not image.text_file for image in images)
    packed = next((name for name in inventory.states if posixpath.basename(name) == REPORTS_ZIP), "")
    if packed and images and notes["image without a report"] == len(images):
        raise UserError(f"{inventory.location(packed)}: the reports are still packed; unzip them beside it")
    return SourceListing(images, nonzero(left_out), nonzero(notes))


def _source_image(dicom_id: str, image: ImageRow, files: Files) -> SourceImage:
    found, report = files.images(dicom_id, image), files.report(image)
    file = found[0] if len(found) == 1 else ""
    return SourceImage(
        id=dicom_id,
        file=files.inventory.location(file) if file else "",
        several=len(found) > 1,
        patient=image.subject,
        study=image.study,
        text=None,
        text_file=files.inventory.location(report) if report else "",
        layout=REPORT,
        view=image.view,
        split=image.split,
        state=f"{files.inventory.states.get(file, '')} {files.inventory.states.get(report, '')}",
    )


class Files:
    """The files of images and reports: at their official path, else wherever exactly one file has their id."""

    def __init__(self, inventory: Inventory, folder: str) -> None:
        self.inventory, self._folder = inventory, folder

    def images(self, dicom_id: str, image: ImageRow) -> list[str]:
        """The relative names of all files that may be the image."""
        path = image.path or f"files/p{image.subject[:2]}/p{image.subject}/s{image.study}/{dicom_id}.dcm"
        stem, extension = posixpath.splitext(posixpath.join(self._folder, path))
        official = self.inventory.first(*(stem + suffix for suffix in dict.fromkeys((extension, *EXTENSIONS))))
        return [official] if official else _own(image.subject, self._images.get(dicom_id, []))

    def report(self, image: ImageRow) -> str:
        """The relative name of the report; empty if there is none or several match."""
        path = f"files/p{image.subject[:2]}/p{image.subject}/s{image.study}.txt"
        official = self.inventory.first(*(posixpath.join(self._folder, folder, path) for folder in REPORT_FOLDERS))
        own = _own(image.subject, self._reports.get(f"s{image.study}", []))
        return official or (own[0] if len(own) == 1 else "")

    @cached_property
    def _images(self) -> dict[str, list[str]]:
        return self._by_stem(EXTENSIONS)

    @cached_property
    def _reports(self) -> dict[str, list[str]]:
        return self._by_stem((".txt",))

    def _by_stem(self, extensions: tuple[str, ...]) -> dict[str, list[str]]:
        by_stem: dict[str, list[str]] = {}
        for name in self.inventory.states:
            stem, extension = posixpath.splitext(posixpath.basename(name))
            if extension in extensions:
                by_stem.setdefault(stem, []).append(name)
        return by_stem


def _own(subject: str, names: list[str]) -> list[str]:
    """Those of the files that are outside other subjects' folders."""
    return [name for name in names if set(filter(OF_SUBJECT.fullmatch, name.split("/"))) <= {f"p{subject}"}]
