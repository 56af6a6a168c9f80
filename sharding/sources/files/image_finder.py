"""The name of an image as written in a table → the file of that name.

In: an inventory, and the table's location. Out: relative names of the inventory; empty if the name is ambiguous. Only
the inventory is searched: no file outside the input, and no round trip per file.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cached_property
from urllib.parse import unquote

from sharding.sources.files import file_kinds
from sharding.sources.files.inventory import Inventory
from sharding.store import locations

ELSEWHERE = re.compile(r"/|[a-z][a-z0-9+.-]+://|[a-z]:[\\/]", re.I)
Parts = tuple[str, ...]


class ImageFinder:
    """Finds images by name: below the input or beside the table, else by the end of the path if exactly one file fits.

    "b/x.png" may mean a/b/x.png, and /old/place/b/x.png may mean b/x.png; a file of the same base name in another
    folder may well be another patient's. Other spellings are tried last: upper case, Unicode normal forms, %20,
    backslashes, and a name without its extension.
    """

    def __init__(self, inventory: Inventory, table: str = "") -> None:
        self._inventory = inventory
        self._roots = tuple(f"{root}/" for root in _roots(inventory.url))
        self._folder = posixpath.basename(inventory.url.rstrip("/"))
        self._beside = posixpath.dirname(self.below(table))
        self._indexes: dict[tuple[Callable[[str], Parts], int], dict[Parts, list[str]]] = {}

    def below(self, name: str) -> str:
        """A path or URL as a relative name if it lies in the input, else unchanged."""
        return next((name[len(root) :] for root in self._roots if name.startswith(root)), name)

    def find(self, name: str) -> str:
        """The relative name of the file called `name`; empty if there is none or several match."""
        matches = self.matches(name)
        return matches[0] if len(matches) == 1 else ""

    def matches(self, name: str) -> list[str]:
        """The relative names of all files that `name` fits by the strictest comparison that any fits."""
        if not name:
            return []
        name = self.below(name)
        exact = {self._inventory.first(name), self._inventory.first(posixpath.join(self._beside, name))} - {""}
        own = name.replace("\\", "/").partition("/")  # tables of a data set begin with its folder
        rest = own[2] if own[0].casefold() == self._folder.casefold() else ""
        for wanted in filter(None, (name, rest)):
            matches = (sorted(exact) if wanted == name else []) or next(filter(None, self._candidates(wanted)), [])
            if matches:
                return matches
        return []

    def _candidates(self, name: str) -> Iterator[list[str]]:
        """The matching files, from the strictest to the most tolerant comparison."""
        for wanted, spelling in ((_strict(name), _strict), (_loose(name), _loose), (_loose(name), _bare)):
            if len(wanted) <= self._depth:
                yield self._index(spelling, len(wanted)).get(wanted, [])
            if ELSEWHERE.match(name):
                for length in range(min(len(wanted), self._depth), 0, -1):
                    yield self._index(spelling).get(wanted[-length:], [])

    def _index(self, spelling: Callable[[str], Parts], length: int = 0) -> dict[Parts, list[str]]:
        """The files by the last `length` parts of their path (0: the whole path); made once."""
        if (spelling, length) not in self._indexes:
            index: dict[Parts, list[str]] = {}
            for name in sorted(self._inventory.states):
                if spelling is _bare and file_kinds.kind_of(name):
                    continue  # a name without its ending never means the notes beside the image
                parts = spelling(name)
                if len(parts) >= length:
                    index.setdefault(parts[-length:], []).append(name)
            self._indexes[spelling, length] = index
        return self._indexes[spelling, length]

    @cached_property
    def _depth(self) -> int:
        return 1 + max((name.count("/") for name in self._inventory.states), default=0)


def _roots(url: str) -> tuple[str, ...]:
    """All spellings of the input's location."""
    folder = locations.local_path(url)
    if folder is None:
        return (url,)
    path = os.path.abspath(folder)
    return (url, path, os.path.realpath(folder), f"file://{path}")


def _strict(name: str) -> Parts:
    return tuple(posixpath.normpath(name).split("/"))


def _loose(name: str) -> Parts:
    return _strict(unicodedata.normalize("NFC", unquote(name.replace("\\", "/"))).casefold())


def _bare(name: str) -> Parts:
    *folders, base = _loose(name)
    return (*folders, posixpath.splitext(base)[0])
