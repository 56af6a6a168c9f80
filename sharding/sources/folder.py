"""A folder of images, with a table of texts or without one → studies.

In: an inventory; a CSV, TSV or Parquet table with a row per image. Out: `Study` rows. No image is opened here.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from dataclasses import dataclass

from sharding import storage
from sharding.sources import Reading, Study
from sharding.sources.inventory import Inventory
from sharding.sources.table import read_table

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


def read(inventory: Inventory, columns: FolderTable | None) -> Reading:
    """The studies of a folder; raises UserError for a missing table or column."""
    if columns is None:
        return Reading([_study(name, name, inventory) for name in image_names(inventory)])
    listed = inventory.first(columns.table)
    table = inventory.location(listed) if listed else columns.table
    wanted = [name for name in (columns.image, columns.text, columns.patient, columns.view) if name]
    values = read_table(table, list(dict.fromkeys(wanted)))
    finder = ImageFinder(inventory, table)
    seen: Counter[str] = Counter()
    studies = []
    for row, name in enumerate(values[columns.image]):
        seen[name] += 1
        location, state = finder.find(name)
        studies.append(
            Study(
                image=name if seen[name] == 1 else f"{name}#{seen[name]}",
                file=location,
                patient=_cell(values, columns.patient, row),
                text=_cell(values, columns.text, row),
                view=_cell(values, columns.view, row),
                state=state,
            )
        )
    return Reading(studies)


def _study(image: str, name: str, inventory: Inventory) -> Study:
    return Study(image, inventory.location(name), state=inventory.states[name])


def _cell(values: dict[str, list[str]], column: str, row: int) -> str:
    return values[column][row] if column else ""


class ImageFinder:
    """Where the image of a name lies: below the input, beside the table, else the only file of that base name."""

    def __init__(self, inventory: Inventory, table: str) -> None:
        self._inventory, self._beside = inventory, posixpath.dirname(table)

    def find(self, name: str) -> tuple[str, str]:
        """Location and state of the file; both empty where there is none or several could be meant."""
        if not name:
            return "", ""
        inside = self._inventory.first(name, name.removeprefix(self._inventory.url + "/"))
        if not inside:
            beside = storage.local_path(posixpath.join(self._beside, name))
            if beside is not None and beside.is_file():
                return str(beside), storage.file_state(beside)
            named = self._inventory.by_base_name.get(posixpath.basename(name), [])
            inside = named[0] if len(named) == 1 else ""
        return (self._inventory.location(inside), self._inventory.states[inside]) if inside else ("", "")


def image_names(inventory: Inventory) -> list[str]:
    """Relative names of all files that may be images, sorted; hidden ones and known other kinds are left out."""
    return sorted(name for name in inventory.states if _may_be_image(name))


def _may_be_image(name: str) -> bool:
    *folders, base = name.split("/")
    hidden = any(part.startswith(".") for part in (*folders, base))
    return not hidden and base != "DICOMDIR" and not NOT_IMAGE.fullmatch(posixpath.splitext(base)[1])
