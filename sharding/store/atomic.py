"""Local files and folders that appear whole or not at all: written beside their place, then renamed.

In: a path and its content. Out: the file or folder. A reader sees the old content or the new; a killed writer leaves
`.NAME.part`, which the next writer of that name replaces. `durable` survives a loss of power too. Files that several
processes write at once (the cache of shards, checkpoints) have protocols of their own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def write_text(path: Path, text: str) -> None:
    with open_file(path) as file:
        file.write(text.encode())


@contextlib.contextmanager
def open_file(path: Path, durable: bool = False) -> Iterator[IO[bytes]]:
    """A file to fill, which takes the place of `path` when the block ends without an error. Raises OSError."""
    part = part_of(path)
    try:
        with part.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())  # before the rename: a manifest must not outlive the shards that it names
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if durable:
        _sync(path.parent)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `path` when the block ends without an error.

    Raises OSError if `path` is a folder with files in it.
    """
    part = part_of(path)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    part.rename(path)


def part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _sync(folder: Path) -> None:
    """Makes a new name in the folder durable; network file systems that cannot sync a folder write it at once."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
