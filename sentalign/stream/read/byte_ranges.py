"""Byte ranges of shards: on a disk, in a store, or in a store with whole shards kept on the disk.

In: the folder or URL, the names of shards and ranges in them. Out: bytes as they are found there, or the error that
says whether the shard is at fault or the store. What the bytes mean is in `fetch`.
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

from sentalign.stream.read.cache import Cache, Shard, ranges
from sharding.contract import UserError
from sharding.store import locations
from sharding.store.base import Store
from sharding.store.errors import BadFileError, OutOfReachError

Answer = TypeVar("Answer")
Spans = list[tuple[int, int]]
OPEN_FILES = 256  # of one process; the soft limit of many systems is 1,024 for everything
REST = 10  # a shard out of reach is not asked for again for so many times the patience
_opening = threading.Lock()  # read-ahead asks from many threads
DOWN = 3  # shards out of reach with no answer between them: it is the store


class DamagedError(UserError):
    """A sample that cannot be read as the manifest describes it."""


class LostError(DamagedError):
    """A shard that the store does not bring, though it may have it: asking again at once is no use."""


class SpanReader:
    """Byte ranges of the files below a folder or URL. May be forked and pickled: it opens files when it reads."""

    def __init__(
        self, url: str, shards: Sequence[Shard] = (), patience: float | None = None, cache: Cache | None = None
    ) -> None:
        """`patience`: seconds after which a store is given up on; `cache`: where its whole shards are kept."""
        self._url, self._folder = url, locations.local_path(url)
        self._patience, self._cache = patience, cache if self._folder is None else None
        self._shards = {shard.name: shard for shard in shards}
        if self._cache is not None:
            self._cache.plan(shards)
        self._files: OrderedDict[str, FileIO] = OrderedDict()
        self._asker: _Asker | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict(), "_asker": None}

    def read(self, name: str, spans: Spans) -> list[bytes]:
        """The ranges from begin to end. A file that is gone or too short is a DamagedError, UserError a lost store."""
        if self._folder is not None:
            file = self._file(self._folder / name)  # held, so that no other thread's turn closes it meanwhile
            try:
                return ranges(file, spans)
            except OSError as error:
                raise self._unreadable(name, error) from None
        asker = self._asker = self._asker or _Asker(self._url, self._patience)
        if self._cache is not None:
            kept = self._cache.read(self._shards[name], spans, partial(asker.piece, name))
            if kept is not None:
                asker.goes_on()
                return kept
        return asker.asked(name, lambda store: store.get_ranges(name, spans))

    def missing(self, name: str) -> int:
        """Bytes that are fetched of the whole shard before any of its ranges can be read."""
        return self._cache.missing(self._shards[name]) if self._cache is not None else 0

    def check(self, name: str) -> None:
        """Lets go of a kept shard that has become another one, so that it is fetched again."""
        if self._cache is not None:
            self._cache.check(self._shards[name])

    def _file(self, path: Path) -> FileIO:
        """The open file; the longest unused one is closed where there are too many."""
        with _opening:
            if path.name not in self._files:
                try:
                    self._files[path.name] = FileIO(str(path))
                except OSError as error:
                    raise self._unreadable(path.name, error) from None
                if len(self._files) > OPEN_FILES:
                    self._files.popitem(last=False)  # closed when nobody reads from it any more
            self._files.move_to_end(path.name)
            return self._files[path.name]

    def _unreadable(self, name: str, error: OSError) -> DamagedError:
        return DamagedError(f"{name} cannot be read ({error.strerror}); copy it to {self._url} again")


class _Asker:
    """A store, and which of its shards lately did not come.

    One that did not is not waited for again and again; where several do not and nothing else comes, the store is down,
    and no policy for damaged shards is meant for that.
    """

    def __init__(self, url: str, patience: float | None) -> None:
        self._store = locations.open_store(url, timeout=patience)
        self._rest = REST * (patience or 0)
        self._lock = threading.Lock()
        self._lost: dict[str, tuple[float, str]] = {}
        self._row: set[str] = set()  # shards that were lost since anything came, kept ones too

    def piece(self, name: str, begin: int, end: int) -> bytes:
        """One range of a shard; raises as `asked` does."""
        return self.asked(name, lambda store: store.get_range(name, begin, end - begin))

    def asked(self, name: str, call: Callable[[Store], Answer]) -> Answer:
        """The answer. Raises DamagedError for a shard that is gone, too short or lost, UserError for a lost store."""
        until, said = self._lost.get(name, (0.0, ""))
        if time.monotonic() < until:
            raise self._lost_error(said)
        try:
            answer = call(self._store)
        except BadFileError as error:
            raise DamagedError(self._named(name, error)) from None
        except OutOfReachError as error:
            raise self._mark(name, self._named(name, error)) from None
        with self._lock:
            self._lost.pop(name, None)
        self.goes_on()
        return answer

    def goes_on(self) -> None:
        """Something came, from the store or from what is kept of it: shards that are lost are not all there is."""
        with self._lock:
            self._row.clear()

    def _named(self, name: str, error: UserError) -> str:
        return str(error) if name in str(error) else f"{name} of {error}"

    def _mark(self, name: str, said: str) -> UserError:
        with self._lock:
            self._lost[name] = (time.monotonic() + self._rest, said)
            self._row.add(name)
            return self._lost_error(said)

    def _lost_error(self, said: str) -> UserError:
        down = len(self._row) >= DOWN
        return UserError(f"{DOWN} shards in a row cannot be fetched, the last: {said}") if down else LostError(said)
