"""A local folder as a store: atomic, durable writes; reads of whole files and byte ranges.

In: a folder. Out: `Folder`. Listing and reading of single files is in `local_files`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO

from sharding.contract import UserError
from sharding.store import local_files
from sharding.store.base import Store
from sharding.store.errors import MISTAKES
from sharding.store.local_files import state as file_state

# What a killed `put` leaves; the next one of the same name takes its place.
PART = re.compile(r"(?:.*/)?\.[^/]*\.part")


class Folder(Store):
    """A local folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.abspath(folder))
        self.url = str(self._folder)

    def find(self, name: str) -> bytes | None:
        try:
            return local_files.read(self._path(name))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._mistake(name, error) from None

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        try:
            with self._path(name).open("rb") as file:
                file.seek(offset)
                part = file.read(length)
        except FileNotFoundError:
            raise self._missing(name) from None
        except OSError as error:
            raise self._mistake(name, error) from None
        if len(part) != length:
            raise self._short(name, offset + length)
        return part

    def put(self, name: str, data: bytes) -> None:
        self._write(name, lambda file: file.write(data))

    def put_file(self, name: str, source: Path) -> None:
        with source.open("rb") as content:
            self._write(name, lambda file: shutil.copyfileobj(content, file, 1 << 20))

    def _write(self, name: str, fill: Callable[[IO[bytes]], object]) -> None:
        path = self._path(name)
        fresh = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())  # before the name: a manifest must not outlive the shards that it names
            fresh.replace(path)
            _sync(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise self._mistake(name, error) from None

    def delete(self, name: str) -> None:
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise self._mistake(name, error) from None

    def size(self, name: str) -> int | None:
        try:
            found = self._path(name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._mistake(name, error) from None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def list(self, prefix: str = "") -> list[str]:
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        names = (below + name for name, _ in local_files.below(self._path(below)))
        return sorted(name for name in names if not PART.fullmatch(name))

    def states(self) -> dict[str, str]:
        found = {name: file_state(entry) for name, entry in local_files.below(self._folder)}
        return dict(sorted(found.items()))

    def _path(self, name: str) -> Path:
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{self.url}: {name} lies outside; build or copy the data set again")
        return self._folder / name

    def _mistake(self, name: str, error: OSError) -> UserError:
        why = MISTAKES.get(error.errno or 0, f"cannot be read or written ({error.strerror}); check path and rights")
        return UserError(f"{self.url}/{name}: {why}")


def _sync(folder: Path) -> None:
    """Makes a new name in the folder last; some network file systems cannot, and write it at once anyway."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
