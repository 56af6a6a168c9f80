"""The files of an input, listed once: the location of each, and a state that changes when the file does.

In: a folder or the URL of a store. Out: `Inventory`. One listing replaces hundreds of thousands of look-ups, each of
which would cost a round trip on a network file system or an object store. The content of .zip files is listed too
(`packed`).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from sharding.contract import UserError
from sharding.sources.files import packed
from sharding.store import locations


@dataclass(frozen=True)
class Inventory:
    """The files below `url`; `states` has one text per relative name, which changes when the file does.

    `elsewhere` has the locations of the files that are packed, `in_zips` their names below that of their .zip
    ("study.zip/a.dcm"). `left_out` and `notes` count what else was found.
    """

    url: str
    states: dict[str, str]
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    in_zips: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str) -> Self:
        """Lists the input; raises UserError if it is missing, unreachable or empty."""
        store = locations.open_store(url)
        states = store.states()
        if not states:
            raise UserError(f"{url}: no file in it; give the folder that holds the source")
        found = packed.expand(store.url, states)
        if not found.states:
            counts = ", ".join(f"{what} {count}" for what, count in {**found.notes, **found.left_out}.items())
            raise UserError(f"{url}: no file in it that can be read ({counts}); give the folder that holds the source")
        return cls(store.url, found.states, found.locations, found.in_zips, found.left_out, found.notes)

    def only(self, names: Iterable[str]) -> Inventory:
        """The inventory of these files alone."""
        return replace(self, states={name: self.states[name] for name in names})

    def location(self, name: str) -> str:
        """The path or URL of a file by its relative name."""
        return self.elsewhere.get(name) or f"{self.url}/{name}"

    def first(self, *names: str) -> str:
        """The first of the relative names that exists, else an empty string."""
        normal = (posixpath.normpath(name) for name in names if name)
        return next((name for name in normal if name in self.states), "")

    def read(self, name: str) -> bytes:
        """The content of a listed file."""
        return locations.read(self.location(name))

    def size(self, name: str) -> int:
        """Bytes of a listed file; 0 for a dangling link."""
        return int(self.states[name].split("-")[0] or 0)
