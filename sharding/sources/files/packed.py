"""The .zip files of an input → the files in them, under the names that they have when they are unpacked.

In: the files of an input by name. Out: the same with the content of each "study.zip" below "study/", and what was left
out. Nothing is unpacked: each file is read from its .zip when its turn comes, and judged like any other. A file that
lies unpacked beside its .zip is read once if it has the same bytes; else both are, the one in the .zip as
"study.zip/x.png".
"""

from __future__ import annotations

import posixpath
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sharding.contract import UserError
from sharding.sources.files import file_kinds
from sharding.store import locations, zip_members
from sharding.store.zip_members import DamagedZipError, ZipMember

OPENED = "packed folder (.zip) read as if it were unpacked"
UNREADABLE = ".zip that cannot be opened: damaged, or made to harm"
BROKEN = ".zip that is a broken link"
UNPACKED = "file in a .zip that also lies unpacked beside it"
ONE_NAME = "file in a .zip that has the name of another one in it, but for its slashes"
READERS = 8
BLOCK = 1 << 20  # bytes


@dataclass
class Expanded:
    """`states` of all files, those in .zip files included, whose `locations` are here.

    `in_zips` has their names as if the .zip were a folder ("study.zip/a.dcm").
    """

    states: dict[str, str]
    locations: dict[str, str] = field(default_factory=dict)
    in_zips: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)


def expand(url: str, states: Mapping[str, str]) -> Expanded:
    """A .zip that cannot be opened stays a packed file; one inside a .zip does too.

    Raises UserError if a .zip or a file beside it cannot be read: its images would be missed silently.
    """
    packed = [name for name, state in states.items() if _is_zip(name) and not state.startswith("0-")]
    expanded = Expanded(dict(states))
    with ThreadPoolExecutor(READERS) as readers:
        found_of = readers.map(lambda name: _members(f"{url}/{name}", states[name]), packed)
        for name, found in zip(packed, found_of, strict=True):
            if isinstance(found, str):
                expanded.notes[found] += 1
                continue
            expanded.notes[OPENED] += 1
            del expanded.states[name]
            beside = _beside(name, found, states)
            sums = dict(zip(beside, readers.map(lambda other: _checksum(f"{url}/{other}"), beside), strict=True))
            _add(expanded, name, f"{url}/{name}", found, states, sums)
    if packed:
        expanded.states = dict(sorted(expanded.states.items()))
    return expanded


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip") and file_kinds.kind_of(name) == file_kinds.PACKAGE


def _members(location: str, state: str) -> list[ZipMember] | str:
    """The files of a .zip, or the note of why it is not opened."""
    try:
        with locations.open_file(location) as file:
            return zip_members.members(file)
    except DamagedZipError:
        return UNREADABLE
    except OSError as error:
        if not state:
            return BROKEN
        raise UserError(
            f"a .zip of the input cannot be read ({error.strerror}); check its rights, or move it away: "
            "`find -L INPUT -iname '*.zip' ! -readable` names it"
        ) from None


def _checksum(location: str) -> int:
    """The CRC-32 of a file that lies in the input, -1 if it cannot be read."""
    checksum = 0
    try:
        with locations.open_file(location) as file:
            while block := file.read(BLOCK):
                checksum = zlib.crc32(block, checksum)
    except OSError:
        return -1
    return checksum


def _places(name: str, member: ZipMember, path: str) -> tuple[str, str]:
    """Where a member of the .zip `name` may lie unpacked."""
    return path, posixpath.join(posixpath.dirname(name), member.name)


def _beside(name: str, found: list[ZipMember], states: Mapping[str, str]) -> list[str]:
    """The files of the input that may be those of the .zip: they have a name and a size of one."""
    named = ((member, place) for member, path in _named(name, found) for place in _places(name, member, path))
    return sorted({place for member, place in named if states.get(place, "").startswith(f"{member.size}-")})


def _add(
    expanded: Expanded,
    name: str,
    location: str,
    found: list[ZipMember],
    lying: Mapping[str, str],
    sums: Mapping[str, int],
) -> None:
    own: set[str] = set()
    for member, path in _named(name, found):
        if member.fault:
            expanded.left_out[member.fault.value] += 1
        elif path in own:
            expanded.left_out[ONE_NAME] += 1
        elif any(sums.get(place) == member.crc for place in _places(name, member, path)):
            expanded.left_out[UNPACKED] += 1
        else:
            own.add(path)
            in_zip = f"{name}/{member.name}"
            path = in_zip if path in expanded.states else path
            expanded.states[path] = f"{member.state} {lying[name]}"
            expanded.locations[path] = zip_members.location(location, member)
            expanded.in_zips[path] = in_zip


def _named(name: str, found: list[ZipMember]) -> Iterator[tuple[ZipMember, str]]:
    """Each member and its name in the input; a folder in the .zip that has the name of the .zip stands for it."""
    folder = posixpath.splitext(name)[0]
    top = f"{posixpath.basename(folder)}/"
    doubled = all(member.name.startswith(top) for member in found)
    for member in found:
        yield member, posixpath.join(folder, member.name.removeprefix(top) if doubled else member.name)
