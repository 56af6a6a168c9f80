"""The files in a .zip, read one at a time: nothing is unpacked to disk.

In: an open .zip. Out: its files with what keeps one from being read, and the bytes of one. A .zip may be made to harm:
sizes are bounded before anything is inflated, files that share bytes refuse the whole .zip, and names are only names.
"""

from __future__ import annotations

import errno
import itertools
import re
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import IO

from sharding.contract import UserError

# Limits of the inflated size: bytes that are always allowed, and a ratio to the size of the packed file.
INFLATED_FREE, INFLATED_RATIO = 256 << 20, 50
MOST_MEMBERS = 5_000_000
LOCAL_HEADER = 30  # bytes before the name, PKZIP's APPNOTE 4.3.7
# Of a .zip, and of a file in it: "/data/a.zip!/b.dcm".
IN_ZIP = re.compile(r"(.+?\.zip)!/(.+)", re.I | re.S)
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, OverflowError),
    *(ValueError, LookupError, OSError),
)


class DamagedZipError(OSError):
    """What the .zip holds is wrong; any other OSError says that it could not be read."""


class MemberFault(StrEnum):
    """Why a file in a .zip is not read."""

    NAME = "file in a .zip with a name that leads out of it"
    LINK = "link in a .zip"
    ENCRYPTED = "encrypted file in a .zip: unpack it"
    CODING = "file in a .zip in a rare compression: unpack it"
    SIZE = "file in a .zip that inflates to more than any image has"
    REPEATED = "file in a .zip whose name a later file in it has too"


@dataclass(frozen=True)
class ZipMember:
    """A file in a .zip: the name it is stored under, its name with forward slashes, size, CRC-32, and its fault."""

    stored: str
    name: str
    size: int
    crc: int
    fault: MemberFault | None

    @property
    def state(self) -> str:
        return f"{self.size}-{self.crc:08x}"


def location(of_zip: str, member: ZipMember) -> str:
    """The location of a member, which `split` takes apart."""
    return f"{of_zip}!/{member.stored}"


def split(location: str) -> tuple[str, str] | None:
    """The location of the .zip and the name stored in it; None for a file that lies in none."""
    match = IN_ZIP.fullmatch(location)
    return (match[1], match[2]) if match else None


def open_zip(file: IO[bytes]) -> zipfile.ZipFile:
    """The .zip in a file; raises DamagedZipError, and what reading raises: UserError for a store out of reach."""
    try:
        return zipfile.ZipFile(file)
    except UserError:  # a ValueError, and no sign of damage
        raise
    except DAMAGE as error:
        raise _unread(error, "a damaged .zip") from None


def members(file: IO[bytes]) -> list[ZipMember]:
    """All files; raises as `open_zip` does, also for a .zip whose files share bytes or are too many."""
    with open_zip(file) as archive:
        entries = archive.infolist()
    if len(entries) > MOST_MEMBERS or _overlap(entries):
        raise DamagedZipError(errno.EIO, "a .zip made to harm: too many files, or files that share bytes")
    entries = [entry for entry in entries if not entry.filename.endswith("/")]  # is_dir() fails without a name
    last = {entry.filename: entry for entry in entries}  # the one that is read by its name
    return [_member(entry, entry is not last[entry.filename]) for entry in entries]


def _unread(error: BaseException, what: str) -> OSError:
    """The error of the disk if there is one, which `zipfile` may hide in one of its own, else damage."""
    cause = error.__context__ if isinstance(error, zipfile.BadZipFile) else error
    if isinstance(cause, OSError) and cause.errno not in (None, errno.EINVAL):  # EINVAL: a place before the file
        return cause
    return DamagedZipError(errno.EIO, f"{what} ({type(error).__name__})")


def _overlap(entries: list[zipfile.ZipInfo]) -> bool:
    spans = sorted((e.header_offset, e.header_offset + LOCAL_HEADER + e.compress_size) for e in entries)
    return any(first[1] > second[0] for first, second in itertools.pairwise(spans))


def _member(entry: zipfile.ZipInfo, repeated: bool) -> ZipMember:
    name = entry.filename.replace("\\", "/")
    fault = MemberFault.REPEATED if repeated else _fault(entry, name)
    return ZipMember(entry.filename, name, entry.file_size, entry.CRC, fault)


def _fault(entry: zipfile.ZipInfo, name: str) -> MemberFault | None:
    parts = name.split("/")
    if (
        "\0" in entry.orig_filename
        or not all(parts)
        or {".", ".."} & set(parts)
        or ":" in parts[0]
        or any(ord(c) < 32 for c in name)
    ):
        return MemberFault.NAME
    if stat.S_ISLNK(entry.external_attr >> 16):
        return MemberFault.LINK
    if entry.flag_bits & 0x1:
        return MemberFault.ENCRYPTED
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others inflate without a bound
        return MemberFault.CODING
    too_large = entry.file_size > INFLATED_FREE + INFLATED_RATIO * entry.compress_size
    return MemberFault.SIZE if too_large else None


def read(archive: zipfile.ZipFile, stored: str) -> bytes:
    """The bytes of one file; raises OSError if it is not there any more, damaged, or one that is not read.

    Raises UserError for a store out of reach.
    """
    try:
        entry = archive.getinfo(stored)
        if (fault := _fault(entry, stored.replace("\\", "/"))) is not None:
            raise OSError(errno.EINVAL, str(fault))
        return archive.read(entry)  # never more than the size in its directory
    except KeyError:
        raise FileNotFoundError(errno.ENOENT, "no longer in its .zip") from None
    except (UserError, OSError):  # the first is a ValueError, and no sign of damage
        raise
    except DAMAGE:
        raise DamagedZipError(errno.EIO, "damaged in its .zip") from None
