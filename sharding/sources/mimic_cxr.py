"""MIMIC-CXR and MIMIC-CXR-JPG as they are distributed → studies (FORMATS: MIMIC-CXR).

In: an inventory with `files/` and the record, metadata and split tables; reports lie in `files/` too or, for the JPG
tree, in any folder that mimic-cxr-reports.zip was unpacked into. Out: `SourceImage` rows; the reports are read later.
"""

from __future__ import annotations

import posixpath
import re
from functools import cached_property

from sharding.contract import UserError
from sharding.sources import REPORT, Reading, SourceImage, counted, exclusion, mimic_tables
from sharding.sources.inventory import Inventory
from sharding.sources.mimic_tables import ImageRow

FRONTAL = frozenset(("AP", "PA"))
ENDINGS = (".dcm", ".jpg", ".png")
REPORT_FOLDERS = ("", "mimic-cxr-reports")
REPORTS_ZIP = "mimic-cxr-reports.zip"
OF_SUBJECT = re.compile(r"p\d{3,}")


def read(inventory: Inventory, frontal_only: bool = True, exclude: str = "") -> Reading:
    """The studies; raises UserError where tables are missing or contradict each other on splits, or no list is read.

    `exclude` names subjects that are left out, or is MS-CXR (`exclusion`).
    """
    tables = mimic_tables.read(inventory, frontal_only)
    left_out, notes = tables.left_out, tables.notes
    excluded: frozenset[str] = frozenset()
    if exclude:
        subject_of = {dicom_id: image.subject for dicom_id, image in tables.images.items()}
        excluded, notes["excluded id that means nobody here"] = exclusion.patients(
            exclude, subject_of, mimic_tables.number
        )
    files = Files(inventory, tables.folder)
    studies = []
    for dicom_id, image in tables.images.items():
        if image.subject in excluded:
            left_out["excluded subject"] += 1
        elif frontal_only and image.view not in FRONTAL:
            left_out["lateral or unknown view"] += 1
        else:
            studies.append(_study(dicom_id, image, files))
    _say_of_reports(studies, inventory, notes)
    return Reading(studies, counted(left_out), counted(notes))


def _say_of_reports(studies: list[SourceImage], inventory: Inventory, notes: dict[str, int]) -> None:
    notes["image without a report"] = sum(not study.text_file for study in studies)
    packed = next((name for name in inventory.states if posixpath.basename(name) == REPORTS_ZIP), "")
    if packed and studies and notes["image without a report"] == len(studies):
        raise UserError(f"{inventory.location(packed)}: the reports are still packed; unzip them beside it")


def _study(dicom_id: str, image: ImageRow, files: Files) -> SourceImage:
    file, report = files.image(dicom_id, image), files.report(image)
    return SourceImage(
        image=dicom_id,
        file=files.inventory.location(file) if file else "",
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
    """Where the images and reports of the tables lie: at their official place, else where their id names one file."""

    def __init__(self, inventory: Inventory, folder: str) -> None:
        self.inventory, self._folder = inventory, folder

    def image(self, dicom_id: str, image: ImageRow) -> str:
        """The relative name of the image; empty where there is none or several could be meant."""
        path = image.path or f"files/p{image.subject[:2]}/p{image.subject}/s{image.study}/{dicom_id}.dcm"
        stem, ending = posixpath.splitext(posixpath.join(self._folder, path))
        official = self.inventory.first(*(stem + one for one in dict.fromkeys((ending, *ENDINGS))))
        return official or _only(image.subject, self._images.get(dicom_id, []))

    def report(self, image: ImageRow) -> str:
        """The relative name of the report; empty where there is none or several could be meant."""
        place = f"files/p{image.subject[:2]}/p{image.subject}/s{image.study}.txt"
        official = self.inventory.first(*(posixpath.join(self._folder, one, place) for one in REPORT_FOLDERS))
        return official or _only(image.subject, self._reports.get(f"s{image.study}", []))

    @cached_property
    def _images(self) -> dict[str, list[str]]:
        return self._by_stem(ENDINGS)

    @cached_property
    def _reports(self) -> dict[str, list[str]]:
        return self._by_stem((".txt",))

    def _by_stem(self, endings: tuple[str, ...]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.inventory.states:
            stem, ending = posixpath.splitext(posixpath.basename(name))
            if ending in endings:
                found.setdefault(stem, []).append(name)
        return found


def _only(subject: str, names: list[str]) -> str:
    """The one file of these, if it lies in no other subject's folder."""
    own = [name for name in names if set(filter(OF_SUBJECT.fullmatch, name.split("/"))) <= {f"p{subject}"}]
    return own[0] if len(own) == 1 else ""
