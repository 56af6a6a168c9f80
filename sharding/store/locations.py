"""A path or URL → the store or the file that it names.

In: a local path, a file:// URL, or the address of an object store (s3://, gs://, az://, abfss://), which is
taken literally: nothing in it is decoded. Out: a `Store`, or one file, which may lie in a .zip ("a.zip!/b.dcm").
"""

from __future__ import annotations

import errno
import functools
import io
import os
import zipfile
from pathlib import Path
from typing import IO
from urllib.request import url2pathname

from sharding.contract import UserError
from sharding.store import errors, zip_members
from sharding.store.base import Store
from sharding.store.folder import Folder, read_file, state
from sharding.store.range_file import BLOCK, RangeFile


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


def open_store(url: str | Path, create: bool = False, timeout: float | None = None) -> Store:
    """The store at a path or URL; raises UserError for an unknown scheme or, without `create`, a missing folder.

    A request to an object store fails after about `timeout` seconds, retries and waits between them included.
    """
    folder = local_path(str(url))
    if folder is None:
        from sharding.store.bucket import Bucket

        return Bucket(str(url), timeout)
    try:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.from_os(folder, error) from None
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder; check the path")
    return Folder(folder)


def read(location: str) -> bytes:
    """The file at a path or URL.

    Raises OSError like `Path.read_bytes` for a local file, FileNotFoundError if a store has none, and UserError for a
    store out of reach, since another try may well succeed.
    """
    path = local_path(location)
    in_zip = zip_members.split(location)
    if in_zip and not (path and os.path.exists(path)):
        return zip_members.read(_open_zip(in_zip[0], _state(in_zip[0])), in_zip[1])
    if path is not None:
        return read_file(path)
    store, name = _in_bucket(location)
    data = store.find(name)
    if data is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return data


def size(location: str) -> int | None:
    """Bytes of a local file, or of one in a .zip; None if there is none, or only a request to a store would tell."""
    path = local_path(location)
    in_zip = zip_members.split(location)
    try:
        if in_zip and not (path and os.path.exists(path)):
            return _open_zip(in_zip[0], _state(in_zip[0])).getinfo(in_zip[1]).file_size
        return path.stat().st_size if path is not None else None
    except (OSError, KeyError):
        return None


def open_file(location: str) -> IO[bytes]:
    """The file at a path or URL, open for reading anywhere in it; raises as `read` does."""
    path = local_path(location)
    return open(path, "rb") if path is not None else io.BufferedReader(RangeFile(*_in_bucket(location)), BLOCK)


def _in_bucket(location: str) -> tuple[Store, str]:
    scheme, _, rest = location.partition("://")
    bucket, _, name = rest.partition("/")
    return _open_bucket(f"{scheme}://{bucket}"), name


@functools.lru_cache(maxsize=4)
def _open_bucket(root: str) -> Store:
    """The bucket, kept open for the next file: connections are costly to make."""
    return open_store(root)


@functools.lru_cache(maxsize=4)
def _open_zip(location: str, state: str) -> zipfile.ZipFile:
    """The .zip, kept open: its directory is read once; `state` changes with the file."""
    return zip_members.open_zip(open_file(location))


def _state(location: str) -> str:
    path = local_path(location)
    return state(path) if path is not None else ""
