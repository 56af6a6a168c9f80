"""Sizes and checksums of a checkpoint's files: they tell a complete checkpoint from a torn or corrupt one.

In: a folder. Out: index.json, {file: {bytes, sha256}}, and the first mismatch. Each rank lists its own files in a file
of its own; `close` joins these. Files are on the disk before they are listed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sharding.store import atomic

INDEX = "index.json"
Entries = dict[str, dict[str, Any]]


def add(folder: Path, rank: int, files: Iterable[Path]) -> None:
    """Waits until the rank's files are on the disk, and lists their sizes and checksums. Raises OSError."""
    entries = {}
    for path in files:
        durable(path)
        entries[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    _of_rank(folder, rank).write_text(json.dumps(entries), encoding="utf-8")


def close(folder: Path, ranks: int) -> None:
    """Joins the lists of all ranks to the index and waits for the disk. Raises OSError."""
    entries: Entries = {}
    for rank in range(ranks):
        entries |= json.loads(_of_rank(folder, rank).read_text(encoding="utf-8"))
        _of_rank(folder, rank).unlink()
    (folder / INDEX).write_text(json.dumps(entries, indent=1), encoding="utf-8")
    durable(folder / INDEX)
    for inner in {(folder / name).parent for name in entries} | {folder}:
        durable(inner)


def renew(folder: Path, name: str) -> None:
    """Lists a file that was replaced; the index is replaced too. Raises OSError, ValueError."""
    entries = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    entries[name] = {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
    atomic.write_text(folder / INDEX, json.dumps(entries, indent=1))


def durable(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(folder: Path) -> Entries | str:
    """The index, or why it cannot be used."""
    try:
        entries = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if entries and all({"bytes", "sha256"} <= entry.keys() for entry in entries.values()):
            return dict(entries)
    except FileNotFoundError:
        return f"it has no {INDEX}"
    except (OSError, ValueError, AttributeError) as error:
        return f"{INDEX} cannot be read ({' '.join(str(error).split())})"
    return f"{INDEX} is not the index of a checkpoint"


def mismatch(folder: Path, name: str, entry: dict[str, Any], *, checksum: bool = True) -> str | None:
    """How a file differs from its entry, None if it does not; without `checksum` only its size is compared."""
    path = folder / name
    try:
        if (size := path.stat().st_size) != entry["bytes"]:
            return f"{name} has {size} bytes instead of {entry['bytes']}"
        if checksum and _sha256(path) != entry["sha256"]:
            return f"{name} has another checksum than when it was written"
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    return None


def has_all_sizes(folder: Path) -> bool:
    """Whether all files exist in their sizes; checksums are left to `mismatch`."""
    entries = read(folder)
    return not isinstance(entries, str) and not any(mismatch(folder, *e, checksum=False) for e in entries.items())


def _of_rank(folder: Path, rank: int) -> Path:
    return folder / f".rank-{rank:05d}.json"


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
