"""One way to read and write files in a folder or an object store (S3, Google, Azure).

In: a local path, a file:// URL, or the address of a store (s3://, gs://, az://, abfss://) as it is written: nothing in
it is decoded. Out: bytes, ranges of bytes, names. Files in a folder are read and written here, those in an object store
in `buckets`. What the files mean is not known here.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import shutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO
from urllib.request import url2pathname

from sharding import files
from sharding.contract import UserError
from sharding.files import state as file_state

# What a killed `put` leaves; the next one of the same name takes its place.
PART = re.compile(r"(?:.*/)?\.[^/]*\.part")
MISTAKES = {
    errno.ENOSPC: "no space left on the disk; free some and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.ENOTDIR: "a file stands where a folder should be; remove it or name another folder",
    errno.EEXIST: "a file stands where a folder should be; remove it or name another folder",
    errno.EISDIR: "a folder stands where a file should be; remove it or name another folder",
}


class BadFileError(UserError):
    """One file is missing or shorter than it should be; others may be whole."""


class OutOfReachError(UserError):
    """The store does not answer, or says that it cannot: another try may succeed."""


class Store(ABC):
    """A folder of files under one URL; names inside are relative, with forward slashes."""

    url: str

    def get(self, name: str) -> bytes:
        """The whole file; raises UserError where it is missing or out of reach."""
        data = self.find(name)
        if data is None:
            raise self._missing(name)
        return data

    def exists(self, name: str) -> bool:
        return self.size(name) is not None

    @abstractmethod
    def find(self, name: str) -> bytes | None:
        """The whole file, None where there is none; raises UserError where the store is out of reach."""

    @abstractmethod
    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; raises UserError where the file is missing or shorter."""

    def get_ranges(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes from begin to end of each span; raises UserError where the file is missing or shorter."""
        return [self.get_range(name, begin, end - begin) for begin, end in spans]

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Write the whole file; a reader sees the old one or the new one, never a part, also after a loss of power."""

    @abstractmethod
    def put_file(self, name: str, source: Path) -> None:
        """Write a local file under `name`, as atomically as `put`."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove the file where there is one."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of the file, None where there is none."""

    @abstractmethod
    def list(self, prefix: str = "") -> list[str]:
        """All names below `prefix` (a folder), sorted."""

    @abstractmethod
    def states(self) -> dict[str, str]:
        """Every file with what changes when its content does: size and time, or size and the store's own tag."""

    def _missing(self, name: str) -> BadFileError:
        return BadFileError(f"{self.url}/{name}: no such file; check the path or build the data set first")

    def _short(self, name: str, end: int) -> BadFileError:
        return BadFileError(f"{self.url}: {name} ends before byte {end}; build or copy the data set again")


class Folder(Store):
    """A local folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.abspath(folder))
        self.url = str(self._folder)

    def find(self, name: str) -> bytes | None:
        try:
            return files.read(self._path(name))
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
        names = (below + name for name, _ in files.below(self._path(below)))
        return sorted(name for name in names if not PART.fullmatch(name))

    def states(self) -> dict[str, str]:
        found = {name: file_state(entry) for name, entry in files.below(self._folder)}
        return dict(sorted(found.items()))

    def _path(self, name: str) -> Path:
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{self.url}: {name} lies outside; build or copy the data set again")
        return self._folder / name

    def _mistake(self, name: str, error: OSError) -> UserError:
        why = MISTAKES.get(error.errno or 0, f"cannot be read or written ({error.strerror}); check path and rights")
        return UserError(f"{self.url}/{name}: {why}")


def local_path(url: str) -> Path | None:
    """The folder that a plain path or a file:// URL names, None for an object store."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Path(url)
    if scheme != "file":
        return None
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost"):
        raise UserError("a file:// URL has three slashes and no host in it: file:///data/images")
    return Path(url2pathname(slash + path))


def open_store(url: str | Path, create: bool = False, patience: float | None = None) -> Store:
    """The store at a path or URL; raises UserError for an unknown scheme or, without `create`, a missing folder.

    A request to an object store is given up after about `patience` seconds, tries and waits between them included.
    """
    folder = local_path(str(url))
    if folder is None:
        from sharding.buckets import Bucket  # it imports this module

        return Bucket(str(url), patience)
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = MISTAKES.get(error.errno or 0, f"cannot be made ({error.strerror}); check path and rights")
        raise UserError(f"{folder}: {why}") from None
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder; check the path")
    return Folder(folder)


def read(location: str) -> bytes:
    """The file at a path or URL.

    Raises OSError as `Path.read_bytes` does where it is local, FileNotFoundError where a store has none; a store out of
    reach is a UserError, since another try may well succeed.
    """
    path = local_path(location)
    if path is not None:
        return files.read(path)
    scheme, _, rest = location.partition("://")
    bucket, _, name = rest.partition("/")
    data = _kept_open(f"{scheme}://{bucket}").find(name)
    if data is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return data


@functools.lru_cache(maxsize=4)
def _kept_open(root: str) -> Store:
    """A bucket that stays open for the next file: connections are costly to make."""
    return open_store(root)


def _sync(folder: Path) -> None:
    """Makes a new name in the folder last; some network file systems cannot, and write it at once anyway."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
