"""The build: source images → shards, manifest, quarantine, audit and ledger.

In: the images of a source and the settings. Out: the data set at a URL, and an `Account` of every image. Samples are
ordered by their pseudonyms, which reveal nothing, and shard number k holds the k-th `shard_images` images: a change in
one image changes one shard, for any number of workers.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from operator import attrgetter
from typing import Any

from sharding import progress
from sharding.build import pool, shard_job
from sharding.build.account import Account
from sharding.build.finish import BuildSettings, finish
from sharding.build.journal import BuildJournal, JournalEntry, ShardInputs
from sharding.build.samples import SampleResult
from sharding.build.sentence_tuple import TIMEOUT, WorkerConfig
from sharding.build.shard_job import ShardJob
from sharding.contract import FORMAT_VERSION, MANIFEST_NAME, UserError
from sharding.deid import pseudonyms
from sharding.deid.private_folder import PrivateFolder
from sharding.sources import SourceImage, SourceListing
from sharding.store.base import Store
from sharding.store.locations import open_store

# Not `astuple`, whose deep copies took a third of the time that the driver of a cluster has for an image.
IMAGE_FIELDS = attrgetter(*(field.name for field in fields(SourceImage)))


@dataclass(frozen=True)
class Build:
    """One build: its settings, where the output goes, and the workers."""

    settings: BuildSettings
    out: str
    private: PrivateFolder
    workers: Callable[[WorkerConfig], pool.Workers[Any]]
    same_patient: dict[str, str] = field(default_factory=dict)
    retry: frozenset[str] = frozenset()
    timeout: float = TIMEOUT

    @property
    def config(self) -> WorkerConfig:
        return WorkerConfig(self.settings.samples, self.private.salt, self.same_patient, self.timeout)


def build(listing: SourceListing, plan: Build) -> Account:
    """Build the data set, or resume an interrupted build: shards that are finished and unchanged are kept.

    With `retry`, images that were rejected for one of these reasons are tried again. The manifest is written last.
    Raises UserError for an output of another private folder, an empty input, an image listed twice, a full disk.
    """
    if not listing.images:
        counted = ", ".join(f"{what} {count}" for what, count in {**listing.left_out, **listing.notes}.items())
        why = f" ({counted})" if counted else ""
        raise UserError(f"no image to read in the input{why}; check the folder, the table and --views")
    with plan.private.locked(), _disk_errors():
        store = open_store(plan.out, create=True)
        journal = BuildJournal(plan.private.path, store.url)
        if store.exists(MANIFEST_NAME) and not journal.is_known:
            raise UserError(
                f"{plan.out} holds a data set built with another private folder; give --private or another --out"
            )
        shards = _shard_inputs(listing.images, plan)
        jobs = [_job(inputs, journal.find(inputs), store, plan.retry) for inputs in shards]
        already = sum(job.entry.shard.samples for job in jobs if job.entry)
        pending = [job for job in jobs if job.pending]
        if pending:
            store.delete(MANIFEST_NAME)
            _write_shards(pending, store, journal, plan)
        return finish(listing, shards, already, store, journal, plan.settings)


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    """Turns a full disk into one line; finished shards are kept, and the same command resumes."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError("no space left on the disk; free some and run the same command again") from None
    except sqlite3.OperationalError as error:
        raise UserError(f"the ledger cannot be written ({error}); free space and run the same command again") from None


def _shard_inputs(images: list[SourceImage], plan: Build) -> list[ShardInputs]:
    keyed = {pseudonyms.pseudonym(plan.private.salt, "image", image.id): image for image in images}
    if repeated := len(images) - len(keyed):
        raise UserError(f"the source lists {repeated} images more than once; give each image its own id")
    ordered, size = sorted(keyed.items(), key=lambda item: item[0]), plan.settings.shard_images
    parts = (ordered[first : first + size] for first in range(0, len(ordered), size))
    return [ShardInputs(number, part, _digest(part, plan)) for number, part in enumerate(parts)]


def _digest(images: list[tuple[str, SourceImage]], plan: Build) -> str:
    """Changes with the settings, the version of this software, and everything that the images are read from."""
    decisive = [FORMAT_VERSION, version("sentalign"), plan.settings.as_dict(), sorted(plan.same_patient.items())]
    digest = hashlib.sha256(json.dumps(decisive).encode() + plan.private.salt)
    for _, image in images:
        digest.update(json.dumps(IMAGE_FIELDS(image)).encode())
    return digest.hexdigest()


def _job(inputs: ShardInputs, entry: JournalEntry | None, store: Store, retry: frozenset[str]) -> ShardJob:
    """What is left to do for a shard; a missing or truncated one is written again."""
    if entry is None or store.size(entry.shard.name) != entry.shard.bytes:
        return ShardJob(inputs, None)
    return ShardJob(inputs, entry, frozenset(row["id"] for row in entry.rejected if row["reason"] in retry))


def _write_shards(jobs: list[ShardJob], store: Store, journal: BuildJournal, plan: Build) -> None:
    pending = [image for job in jobs for image in job.pending]
    writing: deque[Callable[[], None]] = deque()
    with contextlib.closing(plan.workers(plan.config)) as workers, progress.bar("images", len(pending)) as advance:
        counted = _counted(pool.results(pending, workers, plan.config), advance)
        for job in jobs:
            writing.append(shard_job.start(job, counted, workers, store, journal, plan.private))
            while len(writing) > workers.writing:
                writing.popleft()()
        while writing:
            writing.popleft()()


def _counted(results: Iterable[SampleResult], advance: progress.Advance) -> Iterator[SampleResult]:
    for result in results:
        advance(1)
        yield result
