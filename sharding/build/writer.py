"""Samples → one shard: a plain tar of KEY.jpg and KEY.json, the same bytes for the same samples.

In: `Sample` rows, one by one. Out: a local tar file, its checksum and the manifest rows with the place of every member.
"""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import pyarrow as pa

from sharding.build.tuples import Sample
from sharding.contract import MANIFEST_SCHEMA

OWNER = "sentalign"
MODE = 0o444


@dataclass(frozen=True)
class Shard:
    """A finished shard: name, size, checksum and number of samples."""

    name: str
    bytes: int
    sha256: str
    samples: int


class _Hashing:
    """A write-only file that keeps the sha256 of what passes through, so that no shard is read again for it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


class ShardWriter:
    """Writes samples in their order to the tar at `path`, one at a time; time, owner and mode are fixed."""

    def __init__(self, path: Path, name: str) -> None:
        from webdataset.writer import TarWriter  # it imports torch where that is installed: seconds only builds pay

        self._path, self._name, self._rows = path, name, list[dict[str, Any]]()
        self._file = path.open("wb")
        self._stream = _Hashing(self._file)
        self._tar = TarWriter(self._stream, user=OWNER, group=OWNER, mode=MODE, mtime=0, encoder=False)

    def add(self, sample: Sample) -> None:
        member = sample.row["image_member"]
        self._tar.write({"__key__": sample.key, member: sample.image, "json": sample.description})
        self._rows.append(sample.row)

    def finish(self) -> tuple[Shard, pa.Table]:
        """Close the tar; the shard and its rows (MANIFEST_SCHEMA)."""
        self._tar.close()
        size = self._file.tell()
        self._file.close()
        places = member_places(self._path)
        rows = [row | _places(row, places, self._name) for row in self._rows]
        shard = Shard(self._name, size, self._stream.digest.hexdigest(), len(rows))
        return shard, pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk has been said already
            self._tar.close()
            self._file.close()
        self._path.unlink(missing_ok=True)


def member_places(path: Path) -> dict[str, tuple[int, int]]:
    """(offset of the first byte, length) of every member, as the finished tar says."""
    with tarfile.open(path, "r:") as tar:
        return {member.name: (member.offset_data, member.size) for member in tar}


def _places(row: dict[str, Any], places: dict[str, tuple[int, int]], shard: str) -> dict[str, Any]:
    image, description = places[f"{row['key']}.{row['image_member']}"], places[f"{row['key']}.json"]
    assert (image[1], description[1]) == (row["image_bytes"], row["json_bytes"]), "the tar lost bytes"
    return {"shard": shard, "image_offset": image[0], "json_offset": description[0]}
