"""Open-i / Indiana: reports and their images → `SourceImage` rows (docs/formats.md, Open-i).

In: an inventory that holds both anywhere: the reports as XML files, as the archive of them, or as Kaggle's tables; the
images as files. Out: a `SourceListing` with one row per image. The collection has no patient ids and no splits: the
report's id serves as patient. Views come from Kaggle's table of projections, if present.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator

from sharding.contract import UserError
from sharding.sources import REPORT, SourceImage, SourceListing, exclusion, nonzero, open_i_tables, open_i_xml
from sharding.sources.files.file_kinds import may_be_images
from sharding.sources.files.inventory import Inventory
from sharding.sources.open_i_xml import Report
from sharding.sources.tables import views
from sharding.text import encoding

ARCHIVES = (".tgz", ".tar.gz", ".tar")
MAX_ARCHIVE = 256 << 20  # bytes; the archive of all reports has 1 MB, those of the images several GB
IMAGES = (".png", ".dcm", ".jpg", ".jpeg")  # in the order of preference if an image exists in several formats


PACKED = "image inside an archive, not read"


def read(inventory: Inventory, frontal_only: bool = True, exclude: str = "") -> SourceListing:
    """The images; raises UserError if there is no report at all, an archive is damaged or the images are packed.

    `exclude` lists report ids to leave out (`exclusion`). With `frontal_only`, images that are lateral in the table of
    projections are left out; unknown ones are kept.
    """
    left_out, notes = Counter[str](), Counter[str]()
    reports = _unique(_reports(inventory, left_out, notes), left_out)
    if exclude:
        reports = _without_subjects(reports, exclude, left_out, notes)
    left_out["report without an image"] = sum(not report.images for report in reports)
    files = ImageFiles(inventory)
    images = _without_duplicates([image for report in reports for image in _source_images(report, files)], left_out)
    if notes[PACKED] and not any(image.file for image in images):
        raise UserError(f"{inventory.url}: the images are still packed; unpack their archive there")
    if frontal_only:
        images, left_out["not a frontal view"], notes["view unknown, kept"] = views.frontal(images)
    return SourceListing(images, nonzero(left_out), nonzero(notes))


def _reports(inventory: Inventory, left_out: Counter[str], notes: Counter[str]) -> Iterator[Report]:
    """All reports: XML files, else Kaggle's tables."""
    has_xml = False
    for name, data in _files(inventory, notes):
        has_xml = True
        report = open_i_xml.parse(data, posixpath.splitext(posixpath.basename(name))[0])
        if report:
            yield report
        left_out["unreadable report"] += report is None
    rows = [] if has_xml else open_i_tables.table_reports(inventory)
    if not has_xml and not rows:
        raise UserError(f"{inventory.url}: no .xml report below it; put the collection's reports there, or their .tgz")
    yield from rows


def _files(inventory: Inventory, notes: Counter[str]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every XML file, archives last; empty bytes for one too large to be a report."""
    names = sorted(inventory.states)
    for name in filter(_is_xml, names):
        yield name, _content(inventory, name)
    for name in (name for name in names if name.lower().endswith(ARCHIVES)):
        if inventory.size(name) > MAX_ARCHIVE:
            notes["archive too large for reports, not read"] += 1
            continue
        for member, data in open_i_xml.members(encoding.read(inventory.location(name)), inventory.location(name)):
            if _is_xml(member):
                yield member, data
            notes[PACKED] += member.lower().endswith(IMAGES)


def _content(inventory: Inventory, name: str) -> bytes:
    try:
        return inventory.read(name) if inventory.size(name) <= open_i_xml.MAX_REPORT else b""
    except OSError:
        return b""  # a dangling link, or no permission: counted as unreadable


def _is_xml(name: str) -> bool:
    base = posixpath.basename(name)
    return base.lower().endswith(".xml") and not base.startswith(".")


def _unique(reports: Iterable[Report], left_out: Counter[str]) -> list[Report]:
    """Each report once; none of an id that two different reports have."""
    by_id: dict[str, Report] = {}
    conflicts: Counter[str] = Counter()
    for report in reports:
        known = by_id.setdefault(report.id, report)
        left_out["report that repeats another"] += known is not report and known == report
        conflicts[report.id] += known != report
    left_out["report whose id another one has"] = sum(count + 1 for count in conflicts.values() if count)
    return [report for report in by_id.values() if not conflicts[report.id]]


def _without_subjects(reports: list[Report], exclude: str, left_out: Counter[str], notes: Counter[str]) -> list[Report]:
    report_of = {image: report.id for report in reports for image in (report.id, *report.images)}
    excluded, notes["excluded id that matches nobody here"] = exclusion.patients(
        exclude, report_of, open_i_tables.report_id
    )
    left_out["excluded subject"] = sum(len(report.images) for report in reports if report.id in excluded)
    return [report for report in reports if report.id not in excluded]


def _without_duplicates(images: list[SourceImage], left_out: Counter[str]) -> list[SourceImage]:
    counts = Counter(image.id for image in images)
    left_out["image of two reports"] = sum(count for count in counts.values() if count > 1)
    return [image for image in images if counts[image.id] == 1]


def _source_images(report: Report, files: ImageFiles) -> Iterator[SourceImage]:
    for image in dict.fromkeys(report.images):
        found, key = files.find(image), open_i_tables.image_key(image)
        name = found[0] if len(found) == 1 else ""
        yield SourceImage(
            id=image,
            file=files.inventory.location(name) if name else "",
            several=len(found) > 1,
            patient=report.id,
            study=report.id,
            text=report.text,
            layout=REPORT,
            view=files.views.get(key, ""),
            state=files.inventory.states.get(name, ""),
        )


class ImageFiles:
    """The image files by the key that all distributions share, and their views."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory, self.views = inventory, open_i_tables.image_views(inventory)
        self.names: dict[str, list[str]] = {}
        for name in may_be_images(inventory.states)[0]:
            self.names.setdefault(open_i_tables.image_key(name), []).append(name)

    def find(self, image: str) -> list[str]:
        """The relative names of all files that may be the image, of the preferred format."""
        names = self.names.get(open_i_tables.image_key(image), [])
        for extension in (*IMAGES, ""):
            matches = [name for name in names if name.lower().endswith(extension)]
            if matches:
                return matches
        return []
