"""A local folder as a store: durable writes, reads of whole files and byte ranges, the list of all files.

In: a folder. Out: `Folder`, and functions for single local files. A file name that is not UTF-8 is listed with \\xNN in
it and read by that name, so that every name can be printed, stored and hashed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sharding.contract import UserError
from sharding.store import atomic, errors
from sharding.store.base import Store

PART = re.compile(r"(?:.*/)?\.[^/]*\.part")  # what a killed `put` leaves
ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


class Folder(Store):
    """A local folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.abspath(folder))
        self.url = str(self._folder)

    def find(self, name: str) -> bytes | None:
        with self._mistakes(name):
            try:
                return read_file(self._path(name))
            except FileNotFoundError:
                return None

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        with self._mistakes(name):
            try:
                with self._path(name).open("rb") as file:
                    file.seek(offset)
                    content = file.read(length)
            except FileNotFoundError:
                raise self._missing(name) from None
        if len(content) != length:
            raise self._short(name, offset + length)
        return content

    def put(self, name: str, data: bytes) -> None:
        with self._new_file(name) as file:
            file.write(data)

    def put_file(self, name: str, source: Path) -> None:
        with source.open("rb") as content, self._new_file(name) as file:
            shutil.copyfileobj(content, file, 1 << 20)

    @contextlib.contextmanager
    def _new_file(self, name: str) -> Iterator[IO[bytes]]:
        path = self._path(name)
        with self._mistakes(name):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic.open_file(path, durable=True) as file:
                yield file

    def delete(self, name: str) -> None:
        with self._mistakes(name):
            self._path(name).unlink(missing_ok=True)

    def size(self, name: str) -> int | None:
        with self._mistakes(name):
            try:
                status = self._path(name).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def list(self, prefix: str = "") -> list[str]:
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        names = (below + name for name, _ in files_below(self._path(below)))
        return sorted(name for name in names if not PART.fullmatch(name))

    def states(self) -> dict[str, str]:
        return dict(sorted((name, state(entry)) for name, entry in files_below(self._folder)))

    def _path(self, name: str) -> Path:
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{self.url}: {name} lies outside; build or copy the data set again")
        return self._folder / name

    @contextlib.contextmanager
    def _mistakes(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise errors.from_os(f"{self.url}/{name}", error) from None


def read_file(path: Path) -> bytes:
    """The whole file. Raises OSError, also for a device, which would fill the memory."""
    try:
        with open(path, "rb") as file:
            if stat.S_ISCHR(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "a device, not a file")
            return file.read()
    except FileNotFoundError:
        listed = os.fsencode(path)
        original = ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), listed)
        if original == listed:
            raise
        return read_file(Path(os.fsdecode(original)))


def state(file: Path | os.DirEntry[bytes]) -> str:
    """Size and modification time of a file; empty for a broken link, which fails when it is read."""
    try:
        status = file.stat()
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def files_below(folder: Path) -> Iterator[tuple[str, os.DirEntry[bytes]]]:
    """All files below a folder with their relative names; none if there is no folder.

    Links to folders are followed, but not back to a folder around them, like `find -L`. Raises UserError if a folder
    cannot be listed, because its files would be missed silently.
    """
    top = os.fsencode(folder).rstrip(b"/") + b"/"
    waiting: list[tuple[bytes, ...]] = [(top,)]
    failures: list[OSError] = []
    while waiting:
        around = waiting.pop()  # the folders from the top down to the one that is listed now
        try:
            with os.scandir(around[-1]) as entries:
                for entry in entries:
                    if not _is_folder(entry):
                        yield entry.path[len(top) :].decode("utf-8", "backslashreplace"), entry
                    elif not _leads_back(entry, around):
                        waiting.append((*around, entry.path))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            failures.append(error)
    if failures:
        raise UserError(
            f"{folder}: {len(failures)} folders in it cannot be listed ({failures[0].strerror}); check their rights, "
            "`find -L INPUT -type d ! -readable` names them"
        )


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a broken link; reading it raises


def _leads_back(entry: os.DirEntry[bytes], around: tuple[bytes, ...]) -> bool:
    return entry.is_symlink() and any(os.path.samestat(entry.stat(), os.stat(outer)) for outer in around)
