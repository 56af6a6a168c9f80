"""Source images → sample results in the same order, made by worker processes on this machine.

In: an iterator of images and `Workers`. Out: an iterator of results. If a worker dies, its images are made again one by
one, and an image that kills its process twice is rejected. The workers of a Ray cluster are in `cluster`.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Protocol, TypeVar, cast

import pyarrow as pa

from sharding.build.samples import EncodedSample, SampleReference, SampleResult, crash_result, make_samples
from sharding.build.sentence_tuple import WorkerConfig
from sharding.build.writer import Destination, WrittenShard, write_here
from sharding.contract import UserError
from sharding.sources import SourceImage

CHUNK = 16  # images per message: sending one to a process and back costs as much as making a small sample
CHUNKS_PER_WORKER = 4  # in flight; bounds the memory of waiting results
ATTEMPTS = 2  # for a single image: the first crash may have had another cause


Job = TypeVar("Job")


class WorkerCrashed(Exception):
    """The worker that held a chunk died before it returned the results."""


class Workers(Protocol[Job]):
    """Where chunks of images are made into samples; `count` workers run at once."""

    count: int
    writing: int  # shards that may be written while the next ones are made

    def submit(self, images: list[SourceImage]) -> Job: ...

    def result(self, job: Job) -> list[SampleResult]:
        """Waits for the job; raises WorkerCrashed if its worker died."""

    def resubmit(self, images: list[SourceImage], job: Job) -> Job:
        """The job itself if it survived the crash of another one, else a new job for the same images."""

    def write(
        self,
        destination: Destination,
        samples: Iterable[EncodedSample | SampleReference],
        replacing: Callable[[], None],
    ) -> Callable[[], tuple[WrittenShard, pa.Table]]:
        """Writes a shard; the returned function waits until it is in the store.

        `replacing` is called when all samples are known and before the shard takes its place.
        """

    def close(self) -> None: ...


def results(
    images: Iterable[SourceImage], workers: Workers[Job], config: WorkerConfig
) -> Generator[SampleResult, None, None]:
    """The result of every image, in order; workers start at once. Raises UserError if workers cannot even start."""
    source = iter(images)
    chunks = iter(lambda: list(itertools.islice(source, CHUNK)), [])
    first = itertools.islice(chunks, workers.count * CHUNKS_PER_WORKER)
    return _in_order(chunks, deque((chunk, workers.submit(chunk)) for chunk in first), workers, config)


def _in_order(
    chunks: Iterator[list[SourceImage]],
    pending: deque[tuple[list[SourceImage], Job]],
    workers: Workers[Job],
    config: WorkerConfig,
) -> Generator[SampleResult, None, None]:
    while pending:
        chunk, job = pending.popleft()
        for following in itertools.islice(chunks, 1):
            pending.append((following, workers.submit(following)))
        try:
            finished = workers.result(job)
        except WorkerCrashed:
            finished = [_alone(image, workers, config) for image in chunk]
            pending = deque((waiting, workers.resubmit(waiting, other)) for waiting, other in pending)
        yield from finished


def _alone(image: SourceImage, workers: Workers[Job], config: WorkerConfig) -> SampleResult:
    """The image as a job of its own, so that a crash is traced to the image that caused it."""
    for _ in range(ATTEMPTS):
        try:
            return workers.result(workers.submit([image]))[0]
        except WorkerCrashed:
            continue
    try:
        workers.result(workers.submit([]))
    except WorkerCrashed:  # workers die without any image
        raise UserError("worker processes crash at start; see their messages above, and free memory") from None
    return crash_result(image, config)


class Processes:
    """Workers on this machine; a single one is a process too, so that a crashing decoder never ends the build."""

    writing = 0

    def __init__(self, config: WorkerConfig, count: int) -> None:
        self.count, self._config = count, config
        self._pool = self._new_pool()

    def submit(self, images: list[SourceImage]) -> Future[list[SampleResult]]:
        try:
            return self._pool.submit(make_samples, images, self._config)
        except BrokenProcessPool:
            self._pool = self._new_pool()
            return self._pool.submit(make_samples, images, self._config)

    def result(self, job: Future[list[SampleResult]]) -> list[SampleResult]:
        try:
            return job.result()
        except BrokenProcessPool:
            raise WorkerCrashed from None

    def resubmit(self, images: list[SourceImage], job: Future[list[SampleResult]]) -> Future[list[SampleResult]]:
        # One dead process breaks the whole pool; only jobs that had finished keep their results.
        lost = not job.done() or isinstance(job.exception(), BrokenProcessPool)
        return self.submit(images) if lost else job

    def write(
        self,
        destination: Destination,
        samples: Iterable[EncodedSample | SampleReference],
        replacing: Callable[[], None],
    ) -> Callable[[], tuple[WrittenShard, pa.Table]]:
        """Writes it at once: the samples have come to this process anyway."""
        written = write_here(destination, cast("Iterable[EncodedSample]", samples), replacing)
        return lambda: written

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _new_pool(self) -> ProcessPoolExecutor:
        # Not fork: the store and the progress bar run threads in this process. The server imports once for all.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["sharding.build.samples"])
        return ProcessPoolExecutor(self.count, mp_context=context, initializer=_exit_with_parent)


def _exit_with_parent() -> None:
    """Ends this worker when the build ends, also when the build is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the build, which then ends its workers
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
