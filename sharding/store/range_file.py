"""A file in a store as a seekable file of Python, read by byte ranges.

In: a store and a name. Out: an object that `zipfile` reads, which needs the end of a file and then some parts of it.
"""

from __future__ import annotations

import errno
import io
import os

from sharding.store.base import Store
from sharding.store.errors import BadFileError

BLOCK = 1 << 18  # bytes of one request: most images of a .zip need one


class RangeFile(io.RawIOBase):
    """The file; wrap it in `io.BufferedReader(…, BLOCK)`. Reading raises UserError for a store out of reach."""

    def __init__(self, store: Store, name: str) -> None:
        size = store.size(name)
        if size is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        self._store, self._name, self._size, self._place = store, name, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(0, offset + (0, self._place, self._size)[whence])
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the stub says WriteableBuffer
        length = max(0, min(len(buffer), self._size - self._place))
        if length:
            try:
                buffer[:length] = self._store.get_range(self._name, self._place, length)
            except BadFileError:  # no fault of the store
                raise OSError(errno.ESTALE, "gone, or shorter than it was") from None
        self._place += length
        return length
