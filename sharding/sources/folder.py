"""A folder of images, with a table of texts or without one → studies.

In: a folder; a CSV, TSV or Parquet table with a row per image. Out: `Study` rows. No image is opened here.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sharding.sources import Reading, Study
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


def read(root: Path, columns: FolderTable | None) -> Reading:
    """The studies of a folder; raises UserError for a missing table or column."""
    if columns is None:
        return Reading([Study(image=name, path=root / name) for name in files_below(root)])
    path = Path(columns.table) if Path(columns.table).is_file() else root / columns.table
    wanted = [name for name in (columns.image, columns.text, columns.patient, columns.view) if name]
    values = read_table(path, list(dict.fromkeys(wanted)))
    count = len(values[columns.image])
    blank = [""] * count
    finder = ImageFinder(root, path.parent)
    seen: Counter[str] = Counter()
    studies = []
    for row in range(count):
        name = values[columns.image][row]
        seen[name] += 1
        studies.append(
            Study(
                image=name if seen[name] == 1 else f"{name}#{seen[name]}",
                path=finder.find(name),
                patient=values.get(columns.patient, blank)[row],
                text=values.get(columns.text, blank)[row],
                view=values.get(columns.view, blank)[row],
            )
        )
    return Reading(studies)


class ImageFinder:
    """Where the image of a name lies: below the input, beside the table, else the only file of that base name."""

    def __init__(self, root: Path, beside: Path) -> None:
        self._folders = (root, beside)
        self._root = root
        self._by_name: dict[str, list[str]] | None = None

    def find(self, name: str) -> Path | None:
        """The file, or None where there is none or several could be meant."""
        if not name:
            return None
        for folder in self._folders:
            if (folder / name).is_file():
                return folder / name
        found = self._index().get(Path(name).name, [])
        return self._root / found[0] if len(found) == 1 else None

    def _index(self) -> dict[str, list[str]]:
        if self._by_name is None:
            self._by_name = {}
            for path in files_below(self._root):
                self._by_name.setdefault(Path(path).name, []).append(path)
        return self._by_name


def files_below(root: Path) -> list[str]:
    """Relative paths of all files that may be images, sorted; hidden ones and known other kinds are left out."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith(".") and not NOT_IMAGE.fullmatch(Path(name).suffix) and name != "DICOMDIR":
                found.append((Path(folder) / name).relative_to(root).as_posix())
    return sorted(found)
