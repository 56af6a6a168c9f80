"""The tables of the Indiana collection as distributed by Kaggle → reports and views.

In: an inventory with `indiana_projections.csv` (uid, filename, projection: Frontal or Lateral) and, without
XML, `indiana_reports.csv` (uid, indication, comparison, findings, impression). Out: `Report` rows, views by image.
"""

from __future__ import annotations

import posixpath
import re

from sharding.sources.files.inventory import Inventory
from sharding.sources.open_i_xml import Report, with_headers
from sharding.sources.tables import views
from sharding.tables.table import read_table

PROJECTIONS, REPORTS = "indiana_projections.csv", "indiana_reports.csv"
ENDING = re.compile(r"(?:\.(?:png|dcm|jpe?g))+$")
NUMBER_TWICE = re.compile(r"(\d+)_(?=\1_)")
UID = re.compile(r"(?:CXR)?0*(\d+)(?:\.0|\.xml)?", re.I)
SECTIONS = ("indication", "comparison", "findings", "impression")


def image_key(name: str) -> str:
    """CXR1_1_IM-0001-4001 (XML), CXR1_1_IM-0001-4001.png (NLM) and 1_IM-0001-4001.dcm.png (Kaggle) are one image."""
    base = ENDING.sub("", posixpath.basename(name).casefold()).removeprefix("cxr")
    return NUMBER_TWICE.sub("", base, count=1)


def report_id(written: str) -> str:
    """7, CXR7 and 7.xml are the report CXR7."""
    match = UID.fullmatch(written.strip())
    return f"CXR{match.group(1)}" if match else written.strip()


def image_views(inventory: Inventory) -> dict[str, str]:
    """View codes by `image_key`, empty where two rows disagree; no codes if the table is missing."""
    table = _table(inventory, PROJECTIONS)
    if not table:
        return {}
    columns = read_table(table, ("filename", "projection"))
    codes: dict[str, str] = {}
    for name, words in zip(columns["filename"], columns["projection"], strict=True):
        key, code = image_key(name), views.code(words)
        codes[key] = code if codes.get(key, code) == code else ""
    return codes


def table_reports(inventory: Inventory) -> list[Report]:
    """The reports of the tables with the images of each; none if one of the tables is missing."""
    reports, projections = _table(inventory, REPORTS), _table(inventory, PROJECTIONS)
    if not reports or not projections:
        return []
    rows = read_table(projections, ("uid", "filename"))
    images: dict[str, list[str]] = {}
    for uid, name in zip(rows["uid"], rows["filename"], strict=True):
        images.setdefault(report_id(uid), []).append(name)
    columns = read_table(reports, ("uid", "findings", "impression"), ("indication", "comparison"))
    parts = [name for name in SECTIONS if name in columns]
    return [
        Report(uid, with_headers((name, columns[name][row]) for name in parts), tuple(images.get(uid, ())))
        for row, uid in enumerate(map(report_id, columns["uid"]))
    ]


def _table(inventory: Inventory, wanted: str) -> str:
    """The table of that name in the topmost folder, in any case, with or without .gz; empty if there is none."""
    matches = [name for name in inventory.states if posixpath.basename(name).lower().removesuffix(".gz") == wanted]
    top = min(matches, key=lambda name: (name.count("/"), name), default="")
    return inventory.location(top) if top else ""
