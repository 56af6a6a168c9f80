"""The interface of a store: files under one URL, read whole or by byte range, written whole.

In: names relative to the URL. Out: bytes, byte ranges, names. `folder` implements it for a local folder, `bucket` for
an object store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from sharding.store.errors import BadFileError


class Store(ABC):
    """A folder of files under one URL; names inside are relative, with forward slashes."""

    url: str

    def get(self, name: str) -> bytes:
        """The whole file; raises UserError if it is missing or out of reach."""
        data = self.find(name)
        if data is None:
            raise self._missing(name)
        return data

    def exists(self, name: str) -> bool:
        return self.size(name) is not None

    @abstractmethod
    def find(self, name: str) -> bytes | None:
        """The whole file, None if there is none; raises UserError if the store is out of reach."""

    @abstractmethod
    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; raises UserError if the file is missing or shorter."""

    def get_ranges(self, name: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes from begin to end of each span; raises UserError if the file is missing or shorter."""
        return [self.get_range(name, begin, end - begin) for begin, end in spans]

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Write the whole file; a reader sees the old one or the new one, never a part, even after a loss of power."""

    @abstractmethod
    def put_file(self, name: str, source: Path) -> None:
        """Write a local file under `name`, as atomically as `put`."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove the file if there is one."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of the file, None if there is none."""

    @abstractmethod
    def list(self, prefix: str = "") -> list[str]:
        """All names below `prefix` (a folder), sorted."""

    @abstractmethod
    def states(self) -> dict[str, str]:
        """The state of every file, which changes with its content: size and time, or size and the store's own tag."""

    def _missing(self, name: str) -> BadFileError:
        return BadFileError(f"{self.url}/{name}: no such file; check the path or build the data set first")

    def _short(self, name: str, end: int) -> BadFileError:
        return BadFileError(f"{self.url}: {name} ends before byte {end}; build or copy the data set again")
