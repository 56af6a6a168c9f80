"""The journal of a build: the finished shards, so that an interrupted build resumes and repeats little.

In: finished shards. Out: one Parquet file per shard in the private folder, read again by the next run. The file is
put in place in one step and after its shard, so that a build killed at any moment leaves either both or none.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from sharding.build.writer import WrittenShard
from sharding.contract import MANIFEST_SCHEMA
from sharding.sources import SourceImage
from sharding.store import atomic


@dataclass(frozen=True)
class ShardInputs:
    """The images of one shard by the keys of their samples; `digest` changes with anything that decides its bytes."""

    number: int
    images: list[tuple[str, SourceImage]]
    digest: str


@dataclass(frozen=True)
class JournalEntry:
    """A finished shard, its rejected images and its audit counts; the file also holds the manifest rows."""

    digest: str
    shard: WrittenShard
    rejected: list[dict[str, str]] = field(default_factory=list)
    audit: dict[str, int] = field(default_factory=dict)


class BuildJournal:
    """The entries of the builds into one output."""

    def __init__(self, private: Path, out: str) -> None:
        self._folder = private / f"build-{hashlib.sha256(out.encode()).hexdigest()[:12]}"
        self.is_known = self._folder.is_dir()
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def find(self, inputs: ShardInputs) -> JournalEntry | None:
        """The entry of the shard; None if it was never finished or its inputs have changed."""
        try:
            schema = pa.parquet.read_schema(self._path(inputs.number))
            entry: dict[str, Any] = json.loads(schema.metadata[b"entry"])
        except (FileNotFoundError, pa.ArrowException, KeyError, ValueError):
            return None
        if entry["digest"] != inputs.digest or not schema.equals(MANIFEST_SCHEMA):
            return None
        return JournalEntry(**entry | {"shard": WrittenShard(**entry["shard"])})

    def rows(self, number: int) -> pa.Table:
        """The manifest rows of a finished shard."""
        return pa.parquet.read_table(self._path(number)).replace_schema_metadata(None)

    def put(self, number: int, entry: JournalEntry, rows: pa.Table) -> None:
        """Write the entry atomically, also across a power cut."""
        with atomic.open_file(self._path(number), durable=True) as file:
            pa.parquet.write_table(rows.replace_schema_metadata({"entry": json.dumps(asdict(entry))}), file)

    def remove(self, number: int) -> None:
        """Remove the entry of a shard that is about to be replaced."""
        self._path(number).unlink(missing_ok=True)

    def remove_from(self, number: int) -> None:
        """Remove the entries of an earlier, larger build from this number on."""
        for path in self._folder.glob("[0-9]*.parquet"):
            if int(path.stem) >= number:
                path.unlink()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"
