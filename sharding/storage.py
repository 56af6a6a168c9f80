"""One way to read and write files in a folder or an object store (S3, Google, Azure).

In: a local path or a URL (s3://, gs://, az://). Out: bytes, ranges of bytes, names. Credentials come from the
environment as obstore reads them; retries are obstore's. What the files mean is not known here.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
from obstore.store import LocalStore, ObjectStore, from_url

from sharding.contract import UserError


COALESCE = 4096  # bytes between two ranges that are fetched along with them: headers of a tar, no sample


class Store:
    """A folder of files under one URL; names inside are relative, with forward slashes."""

    def __init__(self, url: str, backend: ObjectStore) -> None:
        self.url, self._backend = url, backend

    def get(self, name: str) -> bytes:
        """The whole file; raises UserError where it is missing or out of reach."""
        data = self.find(name)
        if data is None:
            raise self._mistake(name, FileNotFoundError())
        return data

    def find(self, name: str) -> bytes | None:
        """The whole file, None where there is none; raises UserError where the store is out of reach."""
        try:
            return bytes(obstore.get(self._backend, name).bytes())
        except FileNotFoundError:
            return None
        except (OSError, obstore.exceptions.BaseError) as error:
            raise self._mistake(name, error) from None

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; raises UserError where the file is missing or shorter."""
        if length == 0:
            return b""
        try:
            part = bytes(obstore.get_range(self._backend, name, start=offset, length=length))
        except (OSError, obstore.exceptions.BaseError) as error:
            raise self._mistake(name, error) from None
        if len(part) != length:
            raise UserError(f"{self.url}: {name} ends before byte {offset + length}; build or copy the data set again")
        return part

    def get_ranges(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes from begin to end of each span; near ones are fetched in one request. Raises as `get_range` does."""
        starts, ends = zip(*spans, strict=True)
        try:
            found = obstore.get_ranges(self._backend, name, starts=starts, ends=ends, coalesce=COALESCE)
        except (OSError, obstore.exceptions.BaseError) as error:
            raise self._mistake(name, error) from None
        return [bytes(part) for part in found]

    def put(self, name: str, data: bytes) -> None:
        """Write the whole file; a reader sees the old one or the new one, never a part."""
        try:
            obstore.put(self._backend, name, data)
        except (OSError, obstore.exceptions.BaseError) as error:
            raise self._mistake(name, error) from None

    def put_file(self, name: str, source: Path) -> None:
        """Write a local file under `name`, as atomically as `put`."""
        try:
            obstore.put(self._backend, name, source)
        except (OSError, obstore.exceptions.BaseError) as error:
            raise self._mistake(name, error) from None

    def delete(self, name: str) -> None:
        """Remove the file where there is one."""
        try:
            obstore.delete(self._backend, name)
        except FileNotFoundError:
            return  # gone already, which is what was wanted
        except (OSError, obstore.exceptions.BaseError) as error:
            raise self._mistake(name, error) from None

    def size(self, name: str) -> int | None:
        """Bytes of the file, None where there is none."""
        try:
            return int(obstore.head(self._backend, name)["size"])
        except FileNotFoundError:
            return None
        except (OSError, obstore.exceptions.BaseError) as error:
            raise self._mistake(name, error) from None

    def exists(self, name: str) -> bool:
        return self.size(name) is not None

    def list(self, prefix: str = "") -> list[str]:
        """All names below `prefix` (a folder), sorted."""
        try:
            batches = obstore.list(self._backend, prefix or None)
            return sorted(str(entry["path"]) for batch in batches for entry in batch)
        except (OSError, obstore.exceptions.BaseError) as error:
            raise self._mistake(prefix, error) from None

    def states(self) -> dict[str, str]:
        """Every file with what changes when its content does: size and time, or size and the store's own tag."""
        folder = local_path(self.url)
        if folder is not None:
            return {path.relative_to(folder).as_posix(): file_state(path) for path in _files(folder)}
        try:
            batches = obstore.list(self._backend)
            return {
                str(entry["path"]): f"{entry['size']}-{entry['e_tag'] or entry['last_modified']}"
                for batch in batches
                for entry in batch
            }
        except (OSError, obstore.exceptions.BaseError) as error:
            raise self._mistake("", error) from None

    def _mistake(self, name: str, error: Exception) -> UserError:
        where = f"{self.url}/{name}" if name else self.url
        if isinstance(error, FileNotFoundError):
            return UserError(f"{where}: no such file; check the path or build the data set first")
        # obstore appends a dump of its sources behind the first line.
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        return UserError(f"{where}: cannot be read or written ({cause}); check the address, rights and credentials")


def local_path(url: str) -> Path | None:
    """The folder that a plain path or a file:// URL names, None for an object store."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return None if "://" in url else Path(url)


def open_store(url: str | Path, create: bool = False) -> Store:
    """The store at a path or URL; raises UserError for an unknown scheme or, without `create`, a missing folder."""
    url = str(url).rstrip("/") or "/"
    folder = local_path(url)
    if folder is not None and not create and not folder.is_dir():
        raise UserError(f"{url}: no such folder; check the path")
    try:
        backend = from_url(url) if folder is None else LocalStore(folder.resolve(), mkdir=create)
    except (OSError, ValueError, obstore.exceptions.BaseError) as error:
        raise UserError(
            f"{url}: cannot be opened ({str(error).splitlines()[0]}); use a path, s3://, gs:// or az://"
        ) from None
    return Store(url, backend)


def read(location: str) -> bytes:
    """The file at a path or URL.

    Raises OSError as `Path.read_bytes` does where it is local, FileNotFoundError where a store has none; a store out of
    reach is a UserError, since another try may well succeed.
    """
    path = local_path(location)
    if path is not None:
        return path.read_bytes()
    parts = urlsplit(location)
    data = _kept_open(f"{parts.scheme}://{parts.netloc}").find(parts.path.lstrip("/"))
    if data is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return data


@functools.lru_cache(maxsize=4)
def _kept_open(root: str) -> Store:
    """A bucket that stays open for the next file: connections are costly to make."""
    return open_store(root)


def _files(folder: Path) -> Iterator[Path]:
    """All files below; links to folders are followed, and a folder that links to one around it only once."""
    seen: set[str] = set()
    for inner, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(inner))
        folders[:] = [name for name in folders if os.path.realpath(os.path.join(inner, name)) not in seen]
        yield from (Path(inner) / name for name in names)


def file_state(path: Path) -> str:
    """Size and time of a local file."""
    try:
        found = path.stat()
    except OSError:
        return ""  # a link to nothing; reading it says so
    return f"{found.st_size}-{found.st_mtime_ns}"
