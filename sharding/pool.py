"""Studies → outcomes in the order of the studies, made by worker processes.

In: an iterator of studies. Out: an iterator of outcomes. A decoder that dies takes its process with it: the study that
did it is found and rejected, and the rest goes on.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from sharding import deid
from sharding.contract import Reason
from sharding.sources import Study
from sharding.tuples import Outcome, TupleSettings, make, make_all

CHUNK = 16  # studies that one message carries: the way to a process and back costs as much as a small image
AHEAD = 4  # chunks in flight per process; bounds what waits in memory

Pending = deque[tuple[list[Study], "Future[list[Outcome]]"]]


def outcomes(studies: list[Study], settings: TupleSettings, salt: bytes, processes: int) -> Iterator[Outcome]:
    """The outcome of every study, in order; one process means this one."""
    if processes == 1:
        for study in studies:
            yield make(study, settings, salt)
        return
    source = iter(studies)
    chunks = iter(lambda: list(itertools.islice(source, CHUNK)), [])
    processes = min(processes, -(-len(studies) // CHUNK)) or 1
    pool = _pool(processes)
    pending: Pending = deque()
    try:
        while True:
            for chunk in itertools.islice(chunks, processes * AHEAD - len(pending)):
                pending.append((chunk, pool.submit(make_all, chunk, settings, salt)))
            if not pending:
                return
            chunk, future = pending.popleft()
            try:
                made = future.result()
            except BrokenProcessPool:
                pool.shutdown(cancel_futures=True)
                made = [_alone(study, settings, salt) for study in chunk]
                pool = _pool(processes)
                pending = deque((waiting, pool.submit(make_all, waiting, settings, salt)) for waiting, _ in pending)
            yield from made
    finally:
        pool.shutdown(cancel_futures=True)


def _alone(study: Study, settings: TupleSettings, salt: bytes) -> Outcome:
    """The study in a process of its own, so that a crash names the study that caused it."""
    with _pool(1) as pool:
        try:
            return pool.submit(make, study, settings, salt).result()
        except BrokenProcessPool:
            key = deid.pseudonym(salt, "image", study.image)
            message = "the decoder crashed on this file"
            return Outcome(key, [("image", key, study.image)], None, "pixels", Reason.DECODE.value, message)


def _pool(processes: int) -> ProcessPoolExecutor:
    # Not fork: the store and the progress bar run threads in this process.
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
