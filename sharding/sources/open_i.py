"""Open-i / Indiana: reports and their images → studies (FORMATS: Open-i).

In: an inventory that holds both somewhere in it: the reports as XML files, as the archive of them, or as Kaggle's
tables; the images as files. Out: `SourceImage` rows, one per image. The collection has no patient id: the report's id
serves. Views come from Kaggle's table of projections where it is there; no split is known.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator

from sharding.contract import UserError
from sharding.sources import REPORT, Reading, SourceImage, counted, ecitation, exclusion, indiana
from sharding.sources.ecitation import Report
from sharding.sources.folder import image_names
from sharding.sources.inventory import Inventory
from sharding.sources.tables import views
from sharding.text import encoding

ARCHIVES = (".tgz", ".tar.gz", ".tar")
MAX_ARCHIVE = 256 << 20  # bytes; that of all reports has a million, those of the images thousands of millions
IMAGES = (".png", ".dcm", ".jpg", ".jpeg")  # in the order of preference where an image lies there in several


PACKED = "image inside an archive, not read"


def read(inventory: Inventory, frontal_only: bool = True, exclude: str = "") -> Reading:
    """The studies; raises UserError where there is no report at all, an archive is damaged or the images are packed.

    `exclude` lists report ids that are left out (`exclusion`). With `frontal_only`, images that the table of
    projections calls lateral are left out; those it does not know are kept.
    """
    left_out, notes = Counter[str](), Counter[str]()
    reports = _once(_reports(inventory, left_out, notes), left_out)
    if exclude:
        reports = _without_subjects(reports, exclude, left_out, notes)
    left_out["report without an image"] = sum(not report.images for report in reports)
    images = Images(inventory)
    studies = _without_doubles([study for report in reports for study in _studies(report, images)], left_out)
    if notes[PACKED] and not any(study.file for study in studies):
        raise UserError(f"{inventory.url}: the images are still packed; unpack their archive there")
    if frontal_only:
        studies, left_out["not a frontal view"], notes["view unknown, kept"] = views.frontal(studies)
    return Reading(studies, counted(left_out), counted(notes))


def _reports(inventory: Inventory, left_out: Counter[str], notes: Counter[str]) -> Iterator[Report]:
    """All reports: XML files, else Kaggle's tables."""
    there_is_xml = False
    for name, data in _files(inventory, notes):
        there_is_xml = True
        report = ecitation.parse(data, posixpath.splitext(posixpath.basename(name))[0])
        if report:
            yield report
        left_out["unreadable report"] += report is None
    rows = [] if there_is_xml else indiana.table_reports(inventory)
    if not there_is_xml and not rows:
        raise UserError(f"{inventory.url}: no .xml report below it; put the collection's reports there, or their .tgz")
    yield from rows


def _files(inventory: Inventory, notes: Counter[str]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every XML file, those of folders first; empty bytes for one too large to be a report."""
    names = sorted(inventory.states)
    for name in filter(_is_xml, names):
        yield name, _content(inventory, name)
    for name in (name for name in names if name.lower().endswith(ARCHIVES)):
        if inventory.size(name) > MAX_ARCHIVE:
            notes["archive too large for reports, not read"] += 1
            continue
        for member, data in ecitation.members(encoding.read(inventory.location(name)), inventory.location(name)):
            if _is_xml(member):
                yield member, data
            notes[PACKED] += member.lower().endswith(IMAGES)


def _content(inventory: Inventory, name: str) -> bytes:
    try:
        return inventory.read(name) if inventory.size(name) <= ecitation.MAX_REPORT else b""
    except OSError:
        return b""  # a link to nothing, or no right to read it: counted as unreadable


def _is_xml(name: str) -> bool:
    base = posixpath.basename(name)
    return base.lower().endswith(".xml") and not base.startswith(".")


def _once(reports: Iterable[Report], left_out: Counter[str]) -> list[Report]:
    """Each report once; none of an id under which two reports differ."""
    found: dict[str, Report] = {}
    torn: Counter[str] = Counter()
    for report in reports:
        known = found.setdefault(report.id, report)
        left_out["report that repeats another"] += known is not report and known == report
        torn[report.id] += known != report
    left_out["report whose id another one has"] = sum(count + 1 for count in torn.values() if count)
    return [report for one, report in found.items() if not torn[one]]


def _without_subjects(reports: list[Report], exclude: str, left_out: Counter[str], notes: Counter[str]) -> list[Report]:
    report_of = {image: report.id for report in reports for image in (report.id, *report.images)}
    excluded, notes["excluded id that means nobody here"] = exclusion.patients(exclude, report_of, indiana.report_id)
    left_out["excluded subject"] = sum(len(report.images) for report in reports if report.id in excluded)
    return [report for report in reports if report.id not in excluded]


def _without_doubles(studies: list[SourceImage], left_out: Counter[str]) -> list[SourceImage]:
    claims = Counter(study.image for study in studies)
    left_out["image of two reports"] = sum(count for count in claims.values() if count > 1)
    return [study for study in studies if claims[study.image] == 1]


def _studies(report: Report, images: Images) -> Iterator[SourceImage]:
    for image in dict.fromkeys(report.images):
        name, key = images.find(image), indiana.image_key(image)
        yield SourceImage(
            image=image,
            file=images.inventory.location(name) if name else "",
            patient=report.id,
            study=report.id,
            text=report.text,
            layout=REPORT,
            view=images.views.get(key, ""),
            state=images.inventory.states.get(name, ""),
        )


class Images:
    """The image files by what their names have in common in all distributions, and their views."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory, self.views = inventory, indiana.image_views(inventory)
        self.names: dict[str, list[str]] = {}
        for name in image_names(inventory):
            self.names.setdefault(indiana.image_key(name), []).append(name)

    def find(self, image: str) -> str:
        """The relative name of the image's file; empty where there is none or several could be meant."""
        named = self.names.get(indiana.image_key(image), [])
        for ending in (*IMAGES, ""):
            found = [name for name in named if name.lower().endswith(ending)]
            if found:
                return found[0] if len(found) == 1 else ""
        return ""
