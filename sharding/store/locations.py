"""A path or URL → the store or the file that it names.

In: a local path, a file:// URL, or the address of an object store (s3://, gs://, az://, abfss://), which is
taken literally: nothing in it is decoded. Out: a `Store`, or the bytes of one file.
"""

from __future__ import annotations

import errno
import functools
import os
from pathlib import Path
from urllib.request import url2pathname

from sharding.contract import UserError
from sharding.store import errors
from sharding.store.base import Store
from sharding.store.folder import Folder, read_file


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
    if path is not None:
        return read_file(path)
    scheme, _, rest = location.partition("://")
    bucket, _, name = rest.partition("/")
    data = _open_bucket(f"{scheme}://{bucket}").find(name)
    if data is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return data


@functools.lru_cache(maxsize=4)
def _open_bucket(root: str) -> Store:
    """The bucket, kept open for the next file: connections are costly to make."""
    return open_store(root)
