"""Samples → one shard: a plain tar of KEY.jpg and KEY.json, the same bytes for the same samples.

In: `EncodedSample` rows, one by one. Out: a local tar file, its checksum, and manifest rows with the offset of every
member. The file is written once and never read back: checksum and offsets are counted while writing.
"""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import pyarrow as pa

from sharding.build.samples import EncodedSample
from sharding.contract import MANIFEST_SCHEMA
from sharding.store.base import Store

OWNER = "sentalign"
MODE = 0o444


@dataclass(frozen=True)
class WrittenShard:
    """A finished shard: name, size, checksum and number of samples."""

    name: str
    bytes: int
    sha256: str
    samples: int


@dataclass(frozen=True)
class Destination:
    """Where a shard goes: a name in a store, and a local file to write it to before."""

    store: Store
    name: str
    scratch: Path


class _HashingFile:
    """A write-only file that counts and hashes what passes through."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest, self.size = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._file.write(data)


class ShardWriter:
    """Writes samples in the order they come to the tar at `path`; time, owner and mode are fixed."""

    def __init__(self, path: Path, name: str) -> None:
        from webdataset.writer import TarWriter  # imports torch where that is installed: only builds pay for it

        self._path, self._name, self._rows = path, name, list[dict[str, Any]]()
        self._file = path.open("wb")
        self._stream = _HashingFile(self._file)
        self._tar = TarWriter(self._stream, user=OWNER, group=OWNER, mode=MODE, mtime=0, encoder=False)

    def add(self, sample: EncodedSample) -> None:
        row = sample.row | {"shard": self._name}
        members = ((row["image_member"], "image", sample.image), ("json", "json", sample.description))
        for extension, part, data in sorted(members):  # the order in which webdataset writes a whole sample
            self._tar.write({"__key__": sample.key, extension: data})
            padded = len(data) + -len(data) % tarfile.BLOCKSIZE
            row[f"{part}_offset"] = self._tar.tarstream.offset - padded
        self._rows.append(row)

    def finish(self) -> tuple[WrittenShard, pa.Table]:
        """Close the tar; returns the shard and its rows (MANIFEST_SCHEMA)."""
        self._tar.close()
        self._file.close()
        shard = WrittenShard(self._name, self._stream.size, self._stream.digest.hexdigest(), len(self._rows))
        return shard, pa.Table.from_pylist(self._rows, schema=MANIFEST_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a full disk was raised already
            self._tar.close()
            self._file.close()
        self._path.unlink(missing_ok=True)


def write_here(
    destination: Destination, samples: Iterable[EncodedSample], replacing: Callable[[], None]
) -> tuple[WrittenShard, pa.Table]:
    """Writes the samples in their order; `replacing` is called before the shard takes its place in the store."""
    with ShardWriter(destination.scratch, destination.name) as writer:
        for sample in samples:
            writer.add(sample)
        written = writer.finish()
        replacing()
        destination.store.put_file(destination.name, destination.scratch)
    return written
