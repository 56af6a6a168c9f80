"""Whole shards of remote stores, kept in a local folder that runs, ranks and workers share.

In: a folder, how many bytes it may hold, and the shards of the data sets. Out: ranges of a shard from its file, fetched
first where it is not there; None where it cannot be kept, and the caller asks the store for ranges.

A file is named by its sha256: a changed shard is another file, equal shards of two data sets are one. It is written
under a name of its own, checked and renamed, so that no reader meets a half. A lock of the kernel's, which ends with
its holder, keeps two processes from fetching one shard at once; nothing but the number of fetches depends on it.
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

from sentalign.config import Data
from sharding.contract import UserError
from sharding.store import locations

log = logging.getLogger(__name__)

PIECE = 8 << 20  # bytes of one request: what a fetch holds in memory
POLL = 0.05  # seconds between two looks for a shard that another process fetches
USED = 600.0  # seconds since its last use in which a file is not removed for another one
REST = 600.0  # seconds until a shard that could not be kept is tried again
YOUNG = 5.0  # seconds in which a new part may not be locked yet
LEFT = 3600.0  # seconds without a write after which a part was left by a killed process, where locks do not tell
FILE, PART = re.compile(r"[0-9a-f]{64}\.tar"), re.compile(r"\.[0-9a-f]{64}\..+\.part")

Spans = list[tuple[int, int]]
Piece = Callable[[int, int], bytes]  # from begin to end; raises UserError


@dataclass(frozen=True)
class Shard:
    """A shard as the manifest describes it."""

    name: str
    sha256: str
    size: int


class Cache:
    """The folder. May be pickled; any number of processes may use it at once."""

    def __init__(self, folder: str, bound: int, patience: float) -> None:
        """`bound` in bytes; `patience`: seconds in which a shard must come whole, here or to another process.

        Raises UserError where the folder cannot be made or written to.
        """
        self._folder, self._bound, self._patience = Path(folder).absolute(), bound, patience
        self._planned: set[Shard] = set()
        self._resting: dict[str, float] = {}  # sha256 of what could not be kept, and until when it is not tried
        self._slow_until = 0.0  # while the line is too slow for whole shards
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _fresh(self._folder / f".{'0' * 64}") as (part, _):
                part.touch()
        except OSError as error:
            raise UserError(
                f"data.cache {folder} cannot be written to ({error.strerror}); name another folder, or null for none"
            ) from None

    def plan(self, shards: Iterable[Shard]) -> None:
        """Shards that this run reads. They are kept in this order while they fit: the rest is never fetched whole.

        An order that shuffles over all shards needs each of them again and again, so replacing them would fetch each
        many times an epoch.
        """
        for shard in shards:
            if sum(planned.size for planned in self._planned) + shard.size <= self._bound:
                self._planned.add(shard)

    def missing(self, shard: Shard) -> int:
        """Bytes that will be fetched before any of the shard can be read."""
        return 0 if self._path(shard).exists() or not self._wanted(shard) else shard.size

    def read(self, shard: Shard, spans: Spans, piece: Piece) -> list[bytes] | None:
        """The ranges from begin to end, fetched with `piece` where the shard is not there; None if it is not kept."""
        for _ in range(2):  # what is removed between its fetch and its use is fetched again
            try:
                with FileIO(str(self._path(shard))) as file:
                    os.utime(file.fileno())
                    return ranges(file, spans)
            except FileNotFoundError:
                if not self._wanted(shard) or not self._fetched(shard, piece):
                    return None
            except OSError as error:
                self._rest(shard, f"cannot be read in data.cache ({error.strerror})")
                return None
        return None

    def check(self, shard: Shard) -> None:
        """Removes a file that is not the manifest's any more."""
        path = self._path(shard)
        with contextlib.suppress(OSError):
            with path.open("rb") as file:
                sound = hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256
            if not sound:
                log.warning("%s has changed in data.cache; it is fetched again", shard.name)
                path.unlink()

    def _path(self, shard: Shard) -> Path:
        return self._folder / f"{shard.sha256}.tar"

    def _wanted(self, shard: Shard) -> bool:
        until = max(self._resting.get(shard.sha256, 0.0), self._slow_until)
        return shard in self._planned and time.monotonic() >= until

    def _rest(self, shard: Shard, why: str) -> None:
        self._resting[shard.sha256] = time.monotonic() + REST
        log.warning("%s %s; it is read by ranges for the next %d s", shard.name, why, REST)

    def _fetched(self, shard: Shard, piece: Piece) -> bool:
        """Whether the file is there in the end, fetched here or by another process."""
        with self._turn(shard) as ours:
            if self._path(shard).exists():
                return True
            if ours and self._wanted(shard):
                try:
                    self._fetch(shard, piece)
                    return True
                except UserError as error:
                    self._rest(shard, f"cannot be fetched whole ({error})")
                except OSError as error:
                    self._rest(shard, f"cannot be kept in data.cache ({error.strerror})")
            elif self._wanted(shard):
                self._rest(shard, "is still being fetched by another process")
        return False

    @contextlib.contextmanager
    def _turn(self, shard: Shard) -> Iterator[bool]:
        """Waits until nobody else fetches the shard, it is there, or patience ends; yields whether it is our turn."""
        path = self._folder / f".{shard.sha256}.turn"
        late = time.monotonic() + self._patience
        with path.open("ab") as file:
            while not (ours := _locked(file.fileno())) and time.monotonic() < late:
                if self._path(shard).exists() or not self._wanted(shard):
                    break
                time.sleep(POLL)
            yield ours
            if ours:
                path.unlink(missing_ok=True)

    def _fetch(self, shard: Shard, piece: Piece) -> None:
        """Raises OSError where the disk does not take it, UserError where the store does not bring it whole."""
        digest = hashlib.sha256()
        with _fresh(self._folder / f".{shard.sha256}") as (part, file):
            if shard.size:
                os.posix_fallocate(file.fileno(), 0, shard.size)  # a full disk says so now, and others see it taken
            if not self._room():
                raise OSError(errno.ENOSPC, "data.cache_gb is full of shards in use")
            late = time.monotonic() + self._patience
            for begin in range(0, shard.size, PIECE):
                if time.monotonic() > late:
                    self._slow_until = time.monotonic() + REST  # the next ones would be as late
                    raise UserError(f"{shard.name} takes more than {self._patience:g} s")
                content = piece(begin, min(begin + PIECE, shard.size))
                digest.update(content)
                _write(file, content)
            if digest.hexdigest() != shard.sha256:
                raise UserError(f"{shard.name} is damaged; copy it again")
            part.replace(self._path(shard))

    def _room(self) -> bool:
        """Removes what was not used for longest until the folder's bound is kept; whether it is."""
        held: list[tuple[float, int, Path]] = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):
                said = entry.stat()
                if FILE.fullmatch(entry.name) or (PART.fullmatch(entry.name) and not _left(Path(entry.path), said)):
                    held.append((said.st_mtime, said.st_size, Path(entry.path)))
        surplus = sum(size for _, size, _ in held) - self._bound
        ours = {self._path(shard) for shard in self._planned}
        for used, size, path in sorted(held):
            if surplus > 0 and FILE.fullmatch(path.name) and path not in ours and time.time() - used > USED:
                path.unlink(missing_ok=True)  # whoever reads it has it open, and reads on
                surplus -= size
        return surplus <= 0


def cache_of(data: Data) -> Cache | None:
    """The cache that the settings name, if any data set is remote."""
    remote = any(locations.local_path(url) is None for url in data.urls)
    return Cache(data.cache, round(data.cache_gb * 1e9), data.patience) if data.cache and remote else None


def ranges(file: FileIO, spans: Spans) -> list[bytes]:
    """Ranges of a local file; what lies behind its end is cut off before memory is taken for it. Raises OSError."""
    size = os.fstat(file.fileno()).st_size
    return [os.pread(file.fileno(), max(0, min(end, size) - begin), begin) for begin, end in spans]


@contextlib.contextmanager
def _fresh(stem: Path) -> Iterator[tuple[Path, FileIO]]:
    """A new file that nobody else writes to, locked as a sign of life; removed where it was not renamed."""
    part = stem.with_name(f"{stem.name}.{uuid.uuid4().hex}.part")
    try:
        with FileIO(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            _locked(file.fileno())
            yield part, file
    finally:
        part.unlink(missing_ok=True)


def _write(file: FileIO, content: bytes) -> None:
    """All of it: a raw write may take a part."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _locked(descriptor: int) -> bool:
    """Whether the file is ours now; so it is where the file system knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
    return True


def _left(part: Path, said: os.stat_result) -> bool:
    """Whether the process that wrote a part is gone; the part is then removed."""
    age = time.time() - said.st_mtime
    if age < YOUNG:
        return False
    with part.open("rb") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES) or age < LEFT:
                return False
        part.unlink(missing_ok=True)
    return True
