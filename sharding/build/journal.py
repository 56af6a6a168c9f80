"""The journal of a build: what became of each unit of studies, so that a build can go on and redo no more than it must.

In: finished units. Out: one Parquet file a unit in the private folder, and what it says on the next run. A unit is a
range of studies; its file is put in place after its shard, at once, so that a build killed at any moment finds either
both or none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from sharding.build.writer import Shard
from sharding.contract import MANIFEST_SCHEMA
from sharding.sources import SourceImage
from sharding.store import atomic


@dataclass(frozen=True)
class Unit:
    """The studies of one shard under the keys of their samples; `digest` changes with all that they come from."""

    number: int
    studies: list[tuple[str, SourceImage]]
    digest: str


@dataclass(frozen=True)
class Entry:
    """What became of a unit: its shard, what was rejected and what was counted. The manifest rows lie beside it."""

    number: int
    digest: str
    shard: Shard
    rejected: list[dict[str, str]] = field(default_factory=list)
    audit: dict[str, int] = field(default_factory=dict)


class Journal:
    """The entries of the builds into one output."""

    def __init__(self, private: Path, out: str) -> None:
        self._folder = private / f"build-{hashlib.sha256(out.encode()).hexdigest()[:12]}"
        self.known = self._folder.is_dir()
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def find(self, unit: Unit) -> Entry | None:
        """The entry of the unit as it stands now; None where it was never finished or its studies have changed."""
        try:
            schema = pa.parquet.read_schema(self._path(unit.number))
            said: dict[str, Any] = json.loads(schema.metadata[b"entry"])
        except (FileNotFoundError, pa.ArrowException, KeyError, ValueError):
            return None
        if said["digest"] != unit.digest or not schema.equals(MANIFEST_SCHEMA):
            return None
        return Entry(unit.number, said["digest"], Shard(**said["shard"]), said["rejected"], said["audit"])

    def rows(self, number: int) -> pa.Table:
        """The manifest rows of a finished unit."""
        return pa.parquet.read_table(self._path(number)).replace_schema_metadata(None)

    def put(self, entry: Entry, rows: pa.Table) -> None:
        """Write the entry in one step; after a loss of power it is there or it is not."""
        said = {
            "digest": entry.digest,
            "shard": asdict(entry.shard),
            "rejected": entry.rejected,
            "audit": entry.audit,
        }
        with atomic.open_file(self._path(entry.number), durable=True) as file:
            pa.parquet.write_table(rows.replace_schema_metadata({"entry": json.dumps(said)}), file)

    def forget(self, number: int) -> None:
        """Remove the entry of a unit that is about to be replaced."""
        self._path(number).unlink(missing_ok=True)

    def forget_from(self, number: int) -> None:
        """Remove the entries of an earlier, larger build from this number on."""
        for path in self._paths():
            if int(path.stem) >= number:
                path.unlink()

    def _paths(self) -> Iterator[Path]:
        return self._folder.glob("[0-9]*.parquet")

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"
