"""Sizes and sums of a checkpoint's files: what tells a sound one from a torn or corrupt one.

In: a folder. Out: index.json, {file: {bytes, sha256}}, and complaints about files that are not as it says. Each rank
notes its own files first; whoever closes the index joins the notes. Everything is on the disk before it is listed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

INDEX = "index.json"
Sums = dict[str, dict[str, Any]]


def note(folder: Path, rank: int, files: Iterable[Path]) -> None:
    """Waits until the rank's files are on the disk, and writes down their sizes and sums. Raises OSError."""
    sums = {}
    for path in files:
        durable(path)
        sums[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    _note(folder, rank).write_text(json.dumps(sums), encoding="utf-8")


def close(folder: Path, ranks: int) -> None:
    """Joins the notes of all ranks to the index and waits for the disk. Raises OSError."""
    sums: Sums = {}
    for rank in range(ranks):
        sums |= json.loads(_note(folder, rank).read_text(encoding="utf-8"))
        _note(folder, rank).unlink()
    (folder / INDEX).write_text(json.dumps(sums, indent=1), encoding="utf-8")
    durable(folder / INDEX)
    for inner in {(folder / name).parent for name in sums} | {folder}:
        durable(inner)


def durable(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(folder: Path) -> Sums | str:
    """The index, or what is wrong with it."""
    try:
        sums = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if sums and all({"bytes", "sha256"} <= said.keys() for said in sums.values()):
            return dict(sums)
    except FileNotFoundError:
        return f"it has no {INDEX}"
    except (OSError, ValueError, AttributeError) as error:
        return f"{INDEX} cannot be read ({' '.join(str(error).split())})"
    return f"{INDEX} is not the index of a checkpoint"


def complaint(folder: Path, name: str, said: dict[str, Any], *, sums: bool = True) -> str | None:
    """What is wrong with a file, None where it is as the index says; without `sums` its size alone is looked at."""
    path = folder / name
    try:
        if (size := path.stat().st_size) != said["bytes"]:
            return f"{name} has {size} bytes instead of {said['bytes']}"
        if sums and _sha256(path) != said["sha256"]:
            return f"{name} has another checksum than when it was written"
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    return None


def looks_whole(folder: Path) -> bool:
    """Whether all files are there in their sizes; the sums are left to `complaint`."""
    sums = read(folder)
    return not isinstance(sums, str) and not any(complaint(folder, n, said, sums=False) for n, said in sums.items())


def _note(folder: Path, rank: int) -> Path:
    return folder / f"files-{rank:05d}.json"


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
