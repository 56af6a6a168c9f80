"""Studies → outcomes in the order of the studies, made by workers: processes here, or Ray's on many machines.

In: an iterator of studies and `Workers`. Out: an iterator of outcomes. A worker that dies costs nothing: its studies
are made again one by one, and one that takes its process down twice is rejected. Ray's workers are in `cluster`.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Protocol, TypeVar

from sharding.build.tuples import Outcome, Recipe, crashed, make_all
from sharding.contract import UserError
from sharding.sources import SourceImage

CHUNK = 16  # studies that one message carries: the way to a process and back costs as much as a small image
AHEAD = 4  # chunks in flight per worker; bounds what waits in memory
TRIES = 2  # of a study alone: what ended its worker the first time may have come from outside


Job = TypeVar("Job")


class Crashed(Exception):
    """The worker that held a chunk is gone, and its results with it."""


class Workers(Protocol[Job]):
    """Where chunks of studies are made. `count` workers work at once."""

    count: int

    def submit(self, studies: list[SourceImage]) -> Job: ...

    def result(self, job: Job) -> list[Outcome]:
        """Waits for the job; raises Crashed where its worker died."""

    def again(self, studies: list[SourceImage], job: Job) -> Job:
        """The job itself where it lives on after another one crashed, else a new one for the same studies."""

    def close(self) -> None: ...


def outcomes(studies: Iterable[SourceImage], workers: Workers[Job], recipe: Recipe) -> Generator[Outcome, None, None]:
    """The outcome of every study, in order; the workers begin at once, and are closed where the caller stops early.

    Raises UserError where workers cannot even start.
    """
    source = iter(studies)
    chunks = iter(lambda: list(itertools.islice(source, CHUNK)), [])
    first = itertools.islice(chunks, workers.count * AHEAD)
    return _in_order(chunks, deque((chunk, workers.submit(chunk)) for chunk in first), workers, recipe)


def _in_order(
    chunks: Iterator[list[SourceImage]],
    pending: deque[tuple[list[SourceImage], Job]],
    workers: Workers[Job],
    recipe: Recipe,
) -> Generator[Outcome, None, None]:
    try:
        while pending:
            chunk, job = pending.popleft()
            for following in itertools.islice(chunks, 1):
                pending.append((following, workers.submit(following)))
            try:
                made = workers.result(job)
            except Crashed:
                made = [_alone(study, workers, recipe) for study in chunk]
                pending = deque((waiting, workers.again(waiting, other)) for waiting, other in pending)
            yield from made
    finally:
        workers.close()


def _alone(study: SourceImage, workers: Workers[Job], recipe: Recipe) -> Outcome:
    """The study as a job of its own, so that a crash names the study that caused it."""
    for _ in range(TRIES):
        try:
            return workers.result(workers.submit([study]))[0]
        except Crashed:
            continue
    try:
        workers.result(workers.submit([]))
    except Crashed:
        # No study is to blame where workers die without one.
        raise UserError(
            "worker processes end as soon as they start; see what they said above, and free memory"
        ) from None
    return crashed(study, recipe)


class Processes:
    """Workers on this machine; also a single one is a process, which a decoder may take down without the build."""

    def __init__(self, recipe: Recipe, count: int) -> None:
        self.count, self._recipe = count, recipe
        self._pool = self._fresh()

    def submit(self, studies: list[SourceImage]) -> Future[list[Outcome]]:
        try:
            return self._pool.submit(make_all, studies, self._recipe)
        except BrokenProcessPool:
            self._pool = self._fresh()
            return self._pool.submit(make_all, studies, self._recipe)

    def result(self, job: Future[list[Outcome]]) -> list[Outcome]:
        try:
            return job.result()
        except BrokenProcessPool:
            raise Crashed from None

    def again(self, studies: list[SourceImage], job: Future[list[Outcome]]) -> Future[list[Outcome]]:
        # One dead process breaks the whole pool; only what had been done before stays.
        lost = not job.done() or isinstance(job.exception(), BrokenProcessPool)
        return self.submit(studies) if lost else job

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _fresh(self) -> ProcessPoolExecutor:
        # Not fork: the store and the progress bar run threads in this process. The server imports once for all.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["sharding.build.tuples"])
        return ProcessPoolExecutor(self.count, mp_context=context, initializer=_follow_parent)


def _follow_parent() -> None:
    """Ends this worker with the build, also where that is killed: nobody would fetch the results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the build, which then ends its workers
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
