"""Open-i / Indiana: XML reports and their images → studies (FORMATS: Open-i).

In: an inventory that holds both somewhere in it. Out: `Study` rows, one per image. The collection has no patient id:
the report's id serves, and no view and no split are known.
"""

from __future__ import annotations

import posixpath
from xml.etree import ElementTree

from sharding.contract import UserError
from sharding.sources import REPORT, Reading, Study
from sharding.sources.folder import image_names
from sharding.sources.inventory import Inventory

SUFFIXES = (".png", ".dcm", ".jpg", ".jpeg", "")


def read(inventory: Inventory) -> Reading:
    """The studies; raises UserError where there is no report at all. Reports without an image are left out."""
    reports = sorted(name for name in inventory.states if name.endswith(".xml"))
    if not reports:
        raise UserError(f"{inventory.url}: no .xml report below it; unpack the collection's reports there")
    images = {posixpath.basename(name): name for name in image_names(inventory)}
    studies: list[Study] = []
    left_out = {"report without an image": 0, "unreadable report": 0}
    for name in reports:
        report = _parse(inventory.read(name))
        if report is None:
            left_out["unreadable report"] += 1
            continue
        found = _studies(report, posixpath.splitext(posixpath.basename(name))[0], images, inventory)
        left_out["report without an image"] += not found
        studies += found
    return Reading(studies, {why: count for why, count in left_out.items() if count})


def _parse(data: bytes) -> ElementTree.Element | None:
    """The report's tree; None where it is no XML or declares a document type (entities could expand without bound)."""
    try:
        text = data.decode("utf-8-sig")
        # The parser takes a str as it is, so an encoding named in the first line cannot hide a declaration.
        return None if "<!" in text.replace("<!--", "").replace("<![CDATA[", "") else ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError):
        return None


def _studies(report: ElementTree.Element, stem: str, images: dict[str, str], inventory: Inventory) -> list[Study]:
    uid = report.find("uId")
    study = (uid.get("id") if uid is not None else "") or stem
    text = _text(report)
    names = [image.get("id", "") for image in report.iter("parentImage")]
    studies = []
    for image in dict.fromkeys(filter(None, names)):
        name = next((images[image + suffix] for suffix in SUFFIXES if image + suffix in images), "")
        file = inventory.location(name) if name else ""
        studies.append(Study(image, file, study, study, text, layout=REPORT, state=inventory.states.get(name, "")))
    return studies


def _text(report: ElementTree.Element) -> str:
    """The labelled parts as one text with headers, as a written report has them."""
    parts = [
        (part.get("Label", ""), " ".join("".join(part.itertext()).split())) for part in report.iter("AbstractText")
    ]
    return "\n\n".join(f"{label.upper()}: {content}" for label, content in parts if content)
