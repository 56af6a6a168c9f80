"""Byte ranges of shards: on a disk, in a store, or in a store with whole shards cached on the disk.

In: the folder or URL, the names of shards and ranges in them. Out: bytes, or the error that says whether the shard or
the store failed. What the bytes mean is in `fetch`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

from sentalign.stream.read.cache import ByteRanges, Cache, ShardFile, read_ranges
from sharding.contract import UserError
from sharding.store import locations
from sharding.store.base import Store
from sharding.store.errors import BadFileError, OutOfReachError

T = TypeVar("T")
OPEN_FILES = 256  # of one process; the soft limit of many systems is 1,024 for everything
RETRY_AFTER = 10  # a shard that could not be fetched is not requested again for so many timeouts
FAILED_SHARDS = 3  # without a success between them: the store itself has failed
_opening = threading.Lock()  # prefetching reads from many threads


class DamagedError(UserError):
    """A sample that cannot be read as the manifest describes it."""


class LostError(DamagedError):
    """A shard that the store does not deliver, though it may exist: requesting it again at once is useless."""


class RangeReader:
    """Byte ranges of the files below a folder or URL. May be forked and pickled: it opens files when it reads."""

    def __init__(
        self, url: str, shards: Sequence[ShardFile] = (), timeout: float | None = None, cache: Cache | None = None
    ) -> None:
        """`timeout`: seconds after which a request to a store fails; `cache`: where its whole shards are kept."""
        self._url, self._folder = url, locations.local_path(url)
        self._timeout, self._cache = timeout, cache if self._folder is None else None
        self._shards = {shard.name: shard for shard in shards}
        if self._cache is not None:
            self._cache.plan(shards)
        self._files: OrderedDict[str, FileIO] = OrderedDict()
        self._remote: _RemoteShards | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict(), "_remote": None}

    def read(self, name: str, ranges: ByteRanges) -> list[bytes]:
        """The ranges from begin to end. DamagedError: the file is gone or too short; UserError: the store failed."""
        if self._folder is not None:
            file = self._file(self._folder / name)  # held, so that no other thread closes it meanwhile
            try:
                return read_ranges(file, ranges)
            except OSError as error:
                raise self._unreadable(name, error) from None
        remote = self._remote = self._remote or _RemoteShards(self._url, self._timeout)
        if self._cache is not None:
            cached = self._cache.read(self._shards[name], ranges, partial(remote.get_range, name))
            if cached is not None:
                remote.note_success()
                return cached
        return remote.request(name, lambda store: store.get_ranges(name, ranges))

    def missing(self, name: str) -> int:
        """Bytes that are fetched of the whole shard before any of its ranges can be read."""
        return self._cache.missing(self._shards[name]) if self._cache is not None else 0

    def check(self, name: str) -> None:
        """Removes a cached shard that has been changed, so that it is fetched again."""
        if self._cache is not None:
            self._cache.check(self._shards[name])

    def _file(self, path: Path) -> FileIO:
        """The open file; the least recently used one is closed where there are too many."""
        with _opening:
            if path.name not in self._files:
                try:
                    self._files[path.name] = FileIO(str(path))
                except OSError as error:
                    raise self._unreadable(path.name, error) from None
                if len(self._files) > OPEN_FILES:
                    self._files.popitem(last=False)  # closed once no thread reads from it
            self._files.move_to_end(path.name)
            return self._files[path.name]

    def _unreadable(self, name: str, error: OSError) -> DamagedError:
        return DamagedError(f"{name} cannot be read ({error.strerror}); copy it to {self._url} again")


class _RemoteShards:
    """A store, and which of its shards recently could not be fetched.

    Such a shard is not requested again for a while. Where several fail and nothing else succeeds, the store is down,
    which is no case for the policy for damaged shards.
    """

    def __init__(self, url: str, timeout: float | None) -> None:
        self._store = locations.open_store(url, timeout=timeout)
        self._pause = RETRY_AFTER * (timeout or 0)
        self._lock = threading.Lock()
        self._lost: dict[str, tuple[float, str]] = {}  # until when no request is made, and why
        self._failed: set[str] = set()  # shards that failed since the last success, that of a cached shard included

    def get_range(self, name: str, begin: int, end: int) -> bytes:
        """One range of a shard; raises as `request` does."""
        return self.request(name, lambda store: store.get_range(name, begin, end - begin))

    def request(self, name: str, call: Callable[[Store], T]) -> T:
        """The result. Raises DamagedError for a shard that is gone, too short or lost, UserError for a lost store."""
        until, reason = self._lost.get(name, (0.0, ""))
        if time.monotonic() < until:
            raise self._lost_error(reason)
        try:
            result = call(self._store)
        except BadFileError as error:
            raise DamagedError(_with_name(name, error)) from None
        except OutOfReachError as error:
            raise self._note_failure(name, _with_name(name, error)) from None
        with self._lock:
            self._lost.pop(name, None)
        self.note_success()
        return result

    def note_success(self) -> None:
        """Something could be read, from the store or its cache: the failed shards are not the whole store."""
        with self._lock:
            self._failed.clear()

    def _note_failure(self, name: str, reason: str) -> UserError:
        with self._lock:
            self._lost[name] = (time.monotonic() + self._pause, reason)
            self._failed.add(name)
            return self._lost_error(reason)

    def _lost_error(self, reason: str) -> UserError:
        if len(self._failed) < FAILED_SHARDS:
            return LostError(reason)
        return UserError(f"{FAILED_SHARDS} shards in a row cannot be fetched, the last: {reason}")


def _with_name(name: str, error: UserError) -> str:
    return str(error) if name in str(error) else f"{name} of {error}"
