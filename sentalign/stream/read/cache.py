"""The cache: whole shards of remote stores in a local folder that runs, ranks and workers share.

In: a folder, how many bytes it may hold, and the shards of the data sets. Out: ranges of a shard from its file, fetched
first where it is missing; None where it cannot be cached, and the caller reads ranges from the store.

A file is named by its sha256: a changed shard is another file, equal shards of two data sets are one. It is written
under a temporary name, checked and renamed, so that no reader sees a part of it. A file lock, which ends with its
process, keeps two processes from fetching one shard at once; only the number of fetches depends on it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from sentalign.config import Data
from sharding.contract import UserError
from sharding.store import locations

log = logging.getLogger(__name__)

PIECE = 8 << 20  # bytes of one request: what a fetch holds in memory
POLL = 0.05  # seconds between two checks for a shard that another process fetches
IN_USE = 600.0  # seconds since its last use in which a file is not removed for another one
RETRY_AFTER = 600.0  # seconds until a shard that could not be cached is tried again
LOCK_DELAY = 5.0  # seconds in which a new part may not be locked yet
STALE_AFTER = 3600.0  # seconds without a write after which a part is of a killed process, if locks are not supported
FILE, PART = re.compile(r"[0-9a-f]{64}\.tar"), re.compile(r"\.[0-9a-f]{64}\..+\.part")

ByteRanges = list[tuple[int, int]]  # begin and end of each
GetRange = Callable[[int, int], bytes]  # from begin to end; raises UserError


@dataclass(frozen=True)
class ShardFile:
    """A shard as the manifest describes it."""

    name: str
    sha256: str
    size: int


class Cache:
    """The folder. May be pickled; any number of processes may use it at once."""

    def __init__(self, folder: str, max_bytes: int, timeout: float) -> None:
        """`timeout`: seconds in which a shard must be fetched whole, here or by another process.

        Raises UserError where the folder cannot be made or written to.
        """
        self._folder, self._max_bytes, self._timeout = Path(folder).absolute(), max_bytes, timeout
        self._planned: set[ShardFile] = set()
        self._skipped: dict[str, float] = {}  # sha256 of shards that could not be cached, until when
        self._slow_until = 0.0  # while the network is too slow for whole shards
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _new_part(self._folder / f".{'0' * 64}") as (part, _):
                part.touch()
        except OSError as error:
            raise UserError(
                f"data.cache {folder} cannot be written to ({error.strerror}); name another folder, or null for none"
            ) from None

    def plan(self, shards: Iterable[ShardFile]) -> None:
        """Shards that this run reads. They are cached in this order while they fit: the rest is never fetched whole.

        An order that shuffles over all shards needs each of them again and again, so evicting them would fetch each
        many times an epoch.
        """
        for shard in shards:
            if sum(planned.size for planned in self._planned) + shard.size <= self._max_bytes:
                self._planned.add(shard)

    def missing(self, shard: ShardFile) -> int:
        """Bytes that will be fetched before any of the shard can be read."""
        return 0 if self._path(shard).exists() or not self._wanted(shard) else shard.size

    def read(self, shard: ShardFile, ranges: ByteRanges, get_range: GetRange) -> list[bytes] | None:
        """The ranges; a shard that is missing is fetched with `get_range`; None if it is not cached."""
        for _ in range(2):  # a file that is removed between its fetch and its use is fetched again
            try:
                with FileIO(str(self._path(shard))) as file:
                    os.utime(file.fileno())
                    return read_ranges(file, ranges)
            except FileNotFoundError:
                if not self._wanted(shard) or not self._ensure(shard, get_range):
                    return None
            except OSError as error:
                self._skip(shard, f"cannot be read in data.cache ({error.strerror})")
                return None
        return None

    def check(self, shard: ShardFile) -> None:
        """Removes a file whose checksum is no longer the manifest's."""
        path = self._path(shard)
        with contextlib.suppress(OSError):
            with path.open("rb") as file:
                valid = hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256
            if not valid:
                log.warning("%s has changed in data.cache; it is fetched again", shard.name)
                path.unlink()

    def _path(self, shard: ShardFile) -> Path:
        return self._folder / f"{shard.sha256}.tar"

    def _wanted(self, shard: ShardFile) -> bool:
        until = max(self._skipped.get(shard.sha256, 0.0), self._slow_until)
        return shard in self._planned and time.monotonic() >= until

    def _skip(self, shard: ShardFile, reason: str) -> None:
        self._skipped[shard.sha256] = time.monotonic() + RETRY_AFTER
        log.warning("%s %s; it is read by ranges for the next %d s", shard.name, reason, RETRY_AFTER)

    def _ensure(self, shard: ShardFile, get_range: GetRange) -> bool:
        """Whether the file exists in the end, fetched here or by another process."""
        with self._fetch_lock(shard) as ours:
            if self._path(shard).exists():
                return True
            if ours and self._wanted(shard):
                try:
                    self._fetch(shard, get_range)
                    return True
                except UserError as error:
                    self._skip(shard, f"cannot be fetched whole ({error})")
                except OSError as error:
                    self._skip(shard, f"cannot be cached in data.cache ({error.strerror})")
            elif self._wanted(shard):
                self._skip(shard, "is still being fetched by another process")
        return False

    @contextlib.contextmanager
    def _fetch_lock(self, shard: ShardFile) -> Iterator[bool]:
        """Waits until no other process fetches the shard, the file exists, or time is up; yields whether it locked."""
        path = self._folder / f".{shard.sha256}.turn"
        deadline = time.monotonic() + self._timeout
        with path.open("ab") as file:
            while not (ours := _lock(file.fileno()) is not False) and time.monotonic() < deadline:
                if self._path(shard).exists() or not self._wanted(shard):
                    break
                time.sleep(POLL)
            yield ours
            if ours:
                path.unlink(missing_ok=True)

    def _fetch(self, shard: ShardFile, get_range: GetRange) -> None:
        """Raises OSError for a failure of the disk, UserError for one of the store."""
        digest = hashlib.sha256()
        with _new_part(self._folder / f".{shard.sha256}") as (part, file):
            if shard.size:
                os.posix_fallocate(file.fileno(), 0, shard.size)  # a full disk fails now, and other processes count it
            if not self._make_room():
                raise OSError(errno.ENOSPC, "data.cache_gb is full of shards in use")
            deadline = time.monotonic() + self._timeout
            for begin in range(0, shard.size, PIECE):
                if time.monotonic() > deadline:
                    self._slow_until = time.monotonic() + RETRY_AFTER  # the next ones would be as slow
                    raise UserError(f"{shard.name} takes more than {self._timeout:g} s")
                content = get_range(begin, min(begin + PIECE, shard.size))
                digest.update(content)
                file.write(content)
            if digest.hexdigest() != shard.sha256:
                raise UserError(f"{shard.name} is damaged; copy it again")
            file.flush()
            part.replace(self._path(shard))

    def _make_room(self) -> bool:
        """Evicts the least recently used files until the folder is within its limit; whether it is."""
        files: list[tuple[float, int, Path]] = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):
                stat = entry.stat()
                if FILE.fullmatch(entry.name) or (PART.fullmatch(entry.name) and not _removed(Path(entry.path), stat)):
                    files.append((stat.st_mtime, stat.st_size, Path(entry.path)))
        surplus = sum(size for _, size, _ in files) - self._max_bytes
        ours = {self._path(shard) for shard in self._planned}
        for used, size, path in sorted(files):
            if surplus > 0 and FILE.fullmatch(path.name) and path not in ours and time.time() - used > IN_USE:
                path.unlink(missing_ok=True)  # a reader that has it open is not disturbed
                surplus -= size
        return surplus <= 0


def cache_of(data: Data) -> Cache | None:
    """The cache that the settings name, if any data set is remote."""
    remote = any(locations.local_path(url) is None for url in data.urls)
    return Cache(data.cache, round(data.cache_gb * 1e9), data.store_timeout) if data.cache and remote else None


def read_ranges(file: FileIO, ranges: ByteRanges) -> list[bytes]:
    """Ranges of a local file; they are cut at its end before memory is allocated. Raises OSError."""
    size = os.fstat(file.fileno()).st_size
    return [os.pread(file.fileno(), max(0, min(end, size) - begin), begin) for begin, end in ranges]


@contextlib.contextmanager
def _new_part(stem: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file of this process, locked while it lives; removed unless it was renamed."""
    part = stem.with_name(f"{stem.name}.{uuid.uuid4().hex}.part")
    try:
        with open(part, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            _lock(file.fileno())
            yield part, file
    finally:
        part.unlink(missing_ok=True)


def _lock(descriptor: int) -> bool | None:
    """Whether the file is locked now; None on a file system without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES) else None
    return True


def _removed(part: Path, stat: os.stat_result) -> bool:
    """Removes a part whose process is gone; whether it did."""
    age = time.time() - stat.st_mtime
    if age < LOCK_DELAY:
        return False
    with part.open("rb") as file:
        locked = _lock(file.fileno())
    if locked or (locked is None and age > STALE_AFTER):
        part.unlink(missing_ok=True)
        return True
    return False
