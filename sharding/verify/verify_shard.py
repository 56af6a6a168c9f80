"""One shard and its manifest rows → its faults, in one pass and bounded memory.

In: an open store, a shard's name, its entry and its rows in the manifest. Out: one line per fault, at most MAX_LINES.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from typing import Any

from sharding.contract import UserError
from sharding.progress import Advance
from sharding.store.base import Store
from sharding.verify.tarwalk import BLOCK, DamagedTar, Member, TarWalk
from sharding.verify.verify_sample import description_faults, image_faults

MAX_LINES = 20  # per shard: a swapped one has a thousand faults and one cause


def faults_of_shard(
    store: Store, name: str, entry: dict[str, Any], rows: list[dict[str, Any]], advance: Advance
) -> list[str]:
    """One line per fault of the shard, none for a valid one; a failing store is a fault too."""
    try:
        size = store.size(name)
        if size is None:
            return [f"{name}: in the manifest, but missing"]
        faults = _faults(TarWalk(store, name, size, advance), size, entry, rows)
        shown = list(itertools.islice(faults, MAX_LINES))
        if more := sum(1 for _ in faults):
            shown.append(f"{more} more faults")
    except UserError as error:
        shown = [f"cannot be read ({error})"]
    return [f"{name}: {fault}" for fault in shown]


def _faults(walk: TarWalk, size: int, entry: dict[str, Any], rows: list[dict[str, Any]]) -> Iterator[str]:
    if size != entry["bytes"]:
        yield f"{size} bytes, in the manifest {entry['bytes']}"
    if len(rows) != entry["samples"]:
        yield f"{len(rows)} rows, in the manifest {entry['samples']}"
    expected = {f"{row['key']}.{member}": row for row in rows for member in (row["image_member"], "json")}
    headers: list[tuple[bytes, int]] = []
    unexpected = False
    try:
        for member in walk.members():
            row = expected.pop(member.name, None)
            yield from _faults_of_member(member, row)
            if row and not member.anomaly:
                headers.append((member.header, member.size))
            else:
                unexpected = True
        yield from (f"{missing} is missing" for missing in expected)
        if not expected and not unexpected:
            yield from _unreadable(headers, rows)
    except DamagedTar as damage:
        yield str(damage)
        if expected:
            yield f"{len(expected)} members were not reached"
    if walk.sha256() != entry["sha256"]:
        yield "checksum differs from the manifest"


def _faults_of_member(member: Member, row: dict[str, Any] | None) -> Iterator[str]:
    if row is None:
        yield f"the member at byte {member.offset - BLOCK} is in no row, or is a duplicate"
    if member.anomaly:
        yield f"the member at byte {member.offset - BLOCK} {member.anomaly}"
    if row is None:
        return
    part, faults_of = ("json", description_faults) if member.name.endswith(".json") else ("image", image_faults)
    if (member.offset, member.size) != (row[f"{part}_offset"], row[f"{part}_bytes"]):
        yield f"{member.name} has another offset or size than in the manifest"
    if member.sha256 != row[f"{part}_sha256"]:
        yield f"{member.name} differs from its checksum"
    elif member.data is None:
        yield f"{member.name} is larger than any image"
    else:
        yield from (f"{member.name} {fault}" for fault in faults_of(member.data, row))


def _unreadable(members: list[tuple[bytes, int]], rows: list[dict[str, Any]]) -> Iterator[str]:
    """Whether plain webdataset finds the same samples in the same order, by the real headers (see `_Replay`)."""
    from webdataset import tariterators  # it imports torch where that is installed

    files = tariterators.tar_file_expander([{"url": "", "stream": _Replay(members)}])
    try:
        samples = [
            (sample["__key__"], set(sample) - {"__key__", "__url__"}) for sample in tariterators.group_by_keys(files)
        ]
    except Exception as error:
        yield f"webdataset cannot read it ({type(error).__name__})"
        return
    if samples != [(row["key"], {row["image_member"], "json"}) for row in rows]:
        yield "webdataset finds other samples than the manifest, or in another order"


class _Replay(io.RawIOBase):
    """The tar with zeros for content: the headers alone decide whether it can be read.

    So no shard is fetched twice, and webdataset sees a file as long as the shard.
    """

    def __init__(self, members: list[tuple[bytes, int]]) -> None:
        self._parts = self._pieces(members)
        self._rest = b""

    @staticmethod
    def _pieces(members: list[tuple[bytes, int]]) -> Iterator[bytes]:
        for header, size in members:
            yield header
            for first in range(0, size, BLOCK * BLOCK):
                yield bytes(min(BLOCK * BLOCK, size - first))
            yield bytes(-size % BLOCK)
        yield bytes(2 * BLOCK)

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, fewer at the end."""
        pieces, length = [self._rest], len(self._rest)
        while length < size and (piece := next(self._parts, None)) is not None:
            pieces.append(piece)
            length += len(piece)
        data = b"".join(pieces)
        self._rest = data[size:]
        return data[:size]
