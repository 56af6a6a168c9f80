"""The journal of a build: which shards are done and how far the studies are used up, so that a build can go on.

In: finished shards. Out: a file of JSON lines in the private folder, and what it says on the next run. One line per
shard, written after the shard is in its place.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sharding.storage import Store
from sharding.writer import Shard


@dataclass(frozen=True)
class Entry:
    """A finished shard (None: only rejections were left), the index of the next study, what was rejected up to it."""

    next: int
    shard: Shard | None
    rejected: list[dict[str, str]] = field(default_factory=list)
    audit: dict[str, int] = field(default_factory=dict)


class Journal:
    """The entries of one build of one plan into one output; begins anew where the plan has changed."""

    def __init__(self, folder: Path, out: str, plan: str) -> None:
        name = hashlib.sha256(out.encode()).hexdigest()[:12]
        self._path, self._plan = folder / f"build-{name}.jsonl", plan
        self.known = self._path.is_file()
        self.entries: list[Entry] = []

    def resume(self, store: Store) -> None:
        """Take over the entries whose shards are still in their place; the journal is cut behind the last of them."""
        for entry in self._stored():
            if entry.shard and store.size(entry.shard.name) != entry.shard.bytes:
                break
            self.entries.append(entry)
        lines = [json.dumps({"plan": self._plan})] + [json.dumps(asdict(entry)) for entry in self.entries]
        fresh = self._path.with_suffix(".new")
        fresh.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        fresh.replace(self._path)

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(entry)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _stored(self) -> list[Entry]:
        if not self.known:
            return []
        # What a killed build left of its last line has no newline behind it.
        lines = [
            line for line in self._path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
        ]
        if not lines or json.loads(lines[0]).get("plan") != self._plan:
            return []
        return [_entry(json.loads(line)) for line in lines[1:]]


def _entry(values: dict[str, Any]) -> Entry:
    shard = Shard(**values["shard"]) if values["shard"] else None
    return Entry(values["next"], shard, values["rejected"], values["audit"])
