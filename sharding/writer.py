"""Samples → one shard: a plain tar of KEY.jpg and KEY.json, the same bytes for the same samples.

In: `Sample` rows. Out: a local tar file, its checksum and the manifest rows with the place of every member in it.
"""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sharding.tuples import Sample

OWNER = "sentalign"
MODE = 0o444


@dataclass(frozen=True)
class Shard:
    """A finished shard: name, size, checksum, and a manifest row per sample."""

    name: str
    bytes: int
    sha256: str
    rows: list[dict[str, Any]] = field(default_factory=list)


class _Hashing:
    """A write-only file that keeps the sha256 of what passes through, so that no shard is read again for it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def write_shard(path: Path, name: str, samples: list[Sample]) -> Shard:
    """Write the samples in their order to the tar at `path`; time, owner and mode are fixed."""
    from webdataset.writer import TarWriter  # it imports torch where torch is installed: seconds that only builds pay

    with path.open("wb") as file:
        stream = _Hashing(file)
        with TarWriter(stream, user=OWNER, group=OWNER, mode=MODE, mtime=0, encoder=False) as tar:
            for sample in samples:
                tar.write({"__key__": sample.key, sample.row["image_member"]: sample.image, "json": sample.description})
        size = file.tell()
    places = member_places(path)
    rows = [sample.row | _places(sample, places, name) for sample in samples]
    return Shard(name, size, stream.digest.hexdigest(), rows)


def member_places(path: Path) -> dict[str, tuple[int, int]]:
    """(offset of the first byte, length) of every member, as the finished tar says."""
    with tarfile.open(path, "r:") as tar:
        return {member.name: (member.offset_data, member.size) for member in tar}


def _places(sample: Sample, places: dict[str, tuple[int, int]], shard: str) -> dict[str, Any]:
    image, description = places[f"{sample.key}.{sample.row['image_member']}"], places[f"{sample.key}.json"]
    assert (image[1], description[1]) == (len(sample.image), len(sample.description)), "the tar lost bytes"
    return {"shard": shard, "image_offset": image[0], "json_offset": description[0]}
