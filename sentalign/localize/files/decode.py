"""Files → decoded pictures, in order, by processes that decode ahead of the model.

In: paths or URLs of images. Out: pictures, or in the place of one the reason why there is none. A file that makes a
decoder crash costs that file alone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from sentalign.localize.files.priority import after_the_model
from sharding import pixels
from sharding.contract import Rejected, UserError
from sharding.pixels import Picture
from sharding.store import locations
from sharding.text import encoding

AHEAD = 4  # pictures of each process that wait for the model, 9 MB each for 3,000 x 3,000 pixels
# Forked processes would inherit the locks of torch's threads; these import what decodes, and no torch.
CONTEXT = multiprocessing.get_context("spawn")
Decode = Callable[[str], Picture | str]


def decode(location: str) -> Picture | str:
    """The picture at a path or URL, or in a few words why there is none; they hold neither name nor value of it."""
    path = locations.local_path(location)
    if path is not None and stat.S_ISFIFO(_mode(path)):
        return "a pipe, not a file"  # nobody may ever write to one that lies in a folder
    try:
        return pixels.read(encoding.inflated(locations.read(location), "the file"), location)
    except (Rejected, UserError) as error:
        return str(error)
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"
    except MemoryError:
        return "the file is larger than the memory"


def _mode(path: Path) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0  # reading says why


def decoded(sources: Iterable[str], workers: int = 2, how: Decode = decode) -> Iterator[Picture | str]:
    """`decode`, or another function, of every location, in order, by so many processes; by this one with 0."""
    if not workers:
        yield from map(how, sources)
        return
    with _Decoders(workers, how) as decoders:
        waiting: deque[tuple[str, Future[Picture | str]]] = deque()
        for location in sources:
            waiting.append((location, decoders.submit(location)))
            if len(waiting) > AHEAD * workers:
                yield decoders.result(*waiting.popleft())
        while waiting:
            yield decoders.result(*waiting.popleft())


class _Decoders:
    """Processes that decode; a crash of one ends them all, so new ones are started then."""

    def __init__(self, workers: int, how: Decode) -> None:
        self._workers, self._how = workers, how
        self._pool = _pool(workers)

    def __enter__(self) -> _Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, location: str) -> Future[Picture | str]:
        try:
            return self._pool.submit(self._how, location)
        except BrokenProcessPool:
            self._pool = _pool(self._workers)
            return self._pool.submit(self._how, location)

    def result(self, location: str, future: Future[Picture | str]) -> Picture | str:
        """What was decoded; after a crash the file is decoded alone, since another may have caused it."""
        try:
            return future.result()
        except BrokenProcessPool:
            return self._alone(location)

    def _alone(self, location: str) -> Picture | str:
        with _pool(1) as pool:
            try:
                return pool.submit(self._how, location).result()
            except BrokenProcessPool:
                return "its decoder crashed"


def _pool(workers: int) -> ProcessPoolExecutor:
    """Ctrl-C is the main process's; its workers end with it, without texts of their own."""
    return ProcessPoolExecutor(workers, CONTEXT, _start_worker)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    after_the_model()
