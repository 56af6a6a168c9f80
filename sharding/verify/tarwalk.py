"""The bytes of a shard → its members one by one, in bounded memory, each with its anomaly if there is one.

In: a file of a store, of any size and any content. Out: `Member` rows and the checksum of the file. Stricter than a
tar reader: only plain files with short names, and nothing between or after them. The content of members is checked in
`verify_sample`.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from sharding.build.writer import MODE, OWNER
from sharding.progress import Advance
from sharding.store.base import Store

BLOCK = 512
CHUNK = 4 << 20
MAX_MEMBER = 64 << 20  # bytes of a member held in memory; no X-ray and no report is larger
PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)


class DamagedTar(Exception):
    """The tar cannot be read any further; the message names the byte."""


@dataclass(frozen=True)
class Member:
    """One member: header, offset, checksum, content (None: larger than MAX_MEMBER) and anomaly ("": none)."""

    name: str
    offset: int
    size: int
    header: bytes
    sha256: str = ""
    data: bytes | None = None
    anomaly: str = ""


class TarWalk:
    """One pass over a file of `size` bytes."""

    def __init__(self, store: Store, name: str, size: int, advance: Advance) -> None:
        self._store, self._name, self._size, self._advance = store, name, size, advance
        self._digest = hashlib.sha256()
        self._fetched = self._position = 0
        self._chunk = memoryview(b"")

    def members(self) -> Iterator[Member]:
        """Every member up to the end of the tar; raises DamagedTar, and UserError if the store fails."""
        while any(header := self._read(BLOCK)):
            member = _parsed(header, self._position)
            digest, kept = hashlib.sha256(), bytearray()
            for part in self._parts(member.size):
                digest.update(part)
                if member.size <= MAX_MEMBER:
                    kept += part
            padding = self._read(-member.size % BLOCK)
            anomaly = member.anomaly or ("its padding is not empty" if any(padding) else "")
            data = bytes(kept) if member.size <= MAX_MEMBER else None
            yield Member(member.name, member.offset, member.size, header, digest.hexdigest(), data, anomaly)
        closing = self._read(BLOCK)
        if any(closing) or any(part.tobytes().strip(b"\0") for part in self._parts(self._size - self._position)):
            raise DamagedTar(f"data follows its end, from byte {self._position} on")

    def sha256(self) -> str:
        """The checksum of the whole file; reads what is left of it."""
        for _ in self._parts(self._size - self._position):
            pass
        return self._digest.hexdigest()

    def _read(self, count: int) -> bytes:
        return b"".join(bytes(part) for part in self._parts(count))

    def _parts(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes in pieces; raises DamagedTar if the file ends before."""
        if self._position + count > self._size:
            raise DamagedTar(
                f"truncated, or not a tar: it ends {self._size - self._position} bytes after byte {self._position}"
            )
        while count:
            if not self._chunk:
                self._fetch()
            part, self._chunk = self._chunk[:count], self._chunk[count:]
            self._position += len(part)
            count -= len(part)
            yield part

    def _fetch(self) -> None:
        chunk = self._store.get_range(self._name, self._fetched, min(CHUNK, self._size - self._fetched))
        self._digest.update(chunk)
        self._fetched += len(chunk)
        self._advance(len(chunk))
        self._chunk = memoryview(chunk)


def _parsed(header: bytes, offset: int) -> Member:
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")  # type: ignore[arg-type]
    except (tarfile.TarError, ValueError):
        raise DamagedTar(f"no readable tar from byte {offset - BLOCK} on") from None
    if info.size < 0:
        raise DamagedTar(f"no readable tar from byte {offset - BLOCK} on")
    return Member(info.name, offset, info.size, header, anomaly=_anomaly(info))


def _anomaly(info: tarfile.TarInfo) -> str:
    if info.type not in PLAIN:
        return "not a plain file but a link, folder, device or extended header"
    if (info.uname, info.gname, info.uid, info.gid) != (OWNER, OWNER, 0, 0) or info.mtime or info.linkname:
        return "has an owner, a time or a link that a build never writes"
    return "" if info.mode == MODE else "has permissions that a build never sets"
