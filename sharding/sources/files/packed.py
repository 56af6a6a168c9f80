"""The .zip files of an input → the files in them, under the names that they have when they are unpacked.

In: the files of an input by name. Out: the same with the content of each "study.zip" below "study/", and what was left
out. Nothing is unpacked: each file is read from its .zip when its turn comes, and judged like any other.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sharding.sources.files import file_kinds
from sharding.store import locations, zip_members
from sharding.store.zip_members import ZipMember

OPENED = "packed folder (.zip) read as if it were unpacked"
UNREADABLE = ".zip that cannot be opened: damaged, or made to harm"
UNPACKED = "file in a .zip that also lies unpacked beside it"
READERS = 8


@dataclass
class Expanded:
    """`states` of all files, those in .zip files included, whose `locations` are here."""

    states: dict[str, str]
    locations: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)


def expand(url: str, states: Mapping[str, str]) -> Expanded:
    """A .zip that cannot be opened stays a packed file; one inside a .zip does too."""
    packed = [name for name, state in states.items() if _is_zip(name) and not state.startswith("0-")]
    expanded = Expanded(dict(states))
    with ThreadPoolExecutor(READERS) as readers:
        for name, found in zip(packed, readers.map(lambda name: _members(f"{url}/{name}"), packed), strict=True):
            if found is None:
                expanded.notes[UNREADABLE] += 1
                continue
            expanded.notes[OPENED] += 1
            del expanded.states[name]
            _add(expanded, name, states[name], f"{url}/{name}", found)
    if packed:
        expanded.states = dict(sorted(expanded.states.items()))
    return expanded


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip") and file_kinds.kind_of(name) == file_kinds.PACKAGE


def _members(location: str) -> list[ZipMember] | None:
    try:
        with locations.open_file(location) as file:
            return zip_members.members(file)
    except OSError:
        return None


def _add(expanded: Expanded, name: str, state: str, location: str, found: list[ZipMember]) -> None:
    for member, path in _named(name, found):
        beside = posixpath.join(posixpath.dirname(name), member.name)
        size = member.state.partition("-")[0]
        if member.fault:
            expanded.left_out[member.fault.value] += 1
        elif path in expanded.states or expanded.states.get(beside, "").partition("-")[0] == size:
            expanded.left_out[UNPACKED] += 1
        else:
            expanded.states[path] = f"{member.state} {state}"
            expanded.locations[path] = zip_members.location(location, member)


def _named(name: str, found: list[ZipMember]) -> Iterator[tuple[ZipMember, str]]:
    """Each member and its name in the input; a folder in the .zip that has the name of the .zip stands for it."""
    folder = posixpath.splitext(name)[0]
    top = f"{posixpath.basename(folder)}/"
    doubled = all(member.name.startswith(top) for member in found)
    for member in found:
        yield member, posixpath.join(folder, member.name.removeprefix(top) if doubled else member.name)
