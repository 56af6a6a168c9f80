"""The bytes of a shard → its members one by one, in bounded memory, each with what is odd about it.

In: a file of a store, of any size and any content. Out: `Member` rows and the checksum of the whole. Stricter than a
tar reader: nothing but plain files under short names, and nothing between or behind them. What a member must hold is
not known here.
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
MOST_KEPT = 64 << 20  # bytes of a member that are held; no X-ray and no report is larger
PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)


class Damaged(Exception):
    """The tar cannot be followed any further; the message says from where on."""


@dataclass(frozen=True)
class Member:
    """One member: header, place, checksum, content (None: larger than MOST_KEPT) and what is odd ("": nothing)."""

    name: str
    offset: int
    size: int
    header: bytes
    sha256: str = ""
    data: bytes | None = None
    odd: str = ""


class Walk:
    """One pass over a file of `size` bytes."""

    def __init__(self, store: Store, name: str, size: int, advance: Advance) -> None:
        self._store, self._name, self._size, self._advance = store, name, size, advance
        self._digest = hashlib.sha256()
        self._fetched = self._position = 0
        self._chunk = memoryview(b"")

    def members(self) -> Iterator[Member]:
        """Every member up to the end of the tar; raises Damaged, UserError where the store fails."""
        while any(header := self._exactly(BLOCK)):
            member = _parsed(header, self._position)
            digest, kept = hashlib.sha256(), bytearray()
            for part in self._parts(member.size):
                digest.update(part)
                if member.size <= MOST_KEPT:
                    kept += part
            odd = member.odd
            if any(self._exactly(-member.size % BLOCK)):
                odd = odd or "something stands in the gap behind it"
            data = bytes(kept) if member.size <= MOST_KEPT else None
            yield Member(member.name, member.offset, member.size, header, digest.hexdigest(), data, odd)
        closing = self._exactly(BLOCK)
        if any(closing) or any(part.tobytes().strip(b"\0") for part in self._parts(self._size - self._position)):
            raise Damaged(f"something stands behind its end, from byte {self._position} on")

    def sha256(self) -> str:
        """The checksum of the whole file; reads what is left of it."""
        for _ in self._parts(self._size - self._position):
            pass
        return self._digest.hexdigest()

    def _exactly(self, count: int) -> bytes:
        return b"".join(bytes(part) for part in self._parts(count))

    def _parts(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes in pieces; raises Damaged where the file ends before."""
        if self._position + count > self._size:
            raise Damaged(
                f"cut off, or no tar: it ends {self._size - self._position} bytes behind byte {self._position}"
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
        raise Damaged(f"no readable tar from byte {offset - BLOCK} on") from None
    if info.size < 0:
        raise Damaged(f"no readable tar from byte {offset - BLOCK} on")
    return Member(info.name, offset, info.size, header, odd=_odd(info))


def _odd(info: tarfile.TarInfo) -> str:
    if info.type not in PLAIN:
        return "a link, folder, device or extended header, no plain file"
    if (info.uname, info.gname, info.uid, info.gid) != (OWNER, OWNER, 0, 0) or info.mtime or info.linkname:
        return "with an owner, a time or a link that a build never writes"
    return "" if info.mode == MODE else "with rights that a build never sets"
