"""The build: studies → shards, manifest, quarantine, audit and ledger.

In: the studies of a source and the settings. Out: the data set at a URL and an `Account` of what became of every study.
Samples stand in the order of their pseudonyms, which tells nothing, and shard number k holds those of the k-th
`shard_images` studies: what changes in one study changes one shard, however many workers there are.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, field
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from sharding import progress
from sharding.build import pool, quarantine
from sharding.build.account import Account
from sharding.build.finish import BuildSettings, finish
from sharding.build.journal import Entry, Journal, Unit
from sharding.build.tuples import TIMEOUT, Outcome, Recipe, Sample
from sharding.build.writer import ShardWriter
from sharding.contract import FORMAT_VERSION, MANIFEST_NAME, SHARD_NAME, UserError
from sharding.deid import pseudonyms
from sharding.deid.private_folder import PrivateFolder
from sharding.sources import Reading, SourceImage
from sharding.store.base import Store
from sharding.store.locations import open_store


@dataclass(frozen=True)
class Build:
    """One build: what goes in, where it goes, and who does the work."""

    settings: BuildSettings
    out: str
    private: PrivateFolder
    workers: Callable[[Recipe], pool.Workers[Any]]
    same_patient: dict[str, str] = field(default_factory=dict)
    retry: frozenset[str] = frozenset()
    timeout: float = TIMEOUT

    @property
    def recipe(self) -> Recipe:
        return Recipe(self.settings.tuples, self.private.salt, self.same_patient, self.timeout)


@dataclass(frozen=True)
class Job:
    """A unit to make: all of it, or what `again` names beside what an earlier build left of it."""

    unit: Unit
    entry: Entry | None
    again: frozenset[str] = frozenset()

    @property
    def fresh(self) -> list[SourceImage]:
        return [study for key, study in self.unit.studies if self.entry is None or key in self.again]


def build(reading: Reading, plan: Build) -> Account:
    """Build the data set, or go on where an interrupted build stopped: what is finished and unchanged stays.

    With `retry`, studies that were rejected for one of these reasons are tried again. The manifest is written last.
    Raises UserError for an output made with another private folder, an empty input, a full disk.
    """
    if not reading.studies:
        raise UserError("no image to read in the input; check the folder, the table and --views")
    with plan.private.locked(), _room_needed():
        store = open_store(plan.out, create=True)
        journal = Journal(plan.private.path, store.url)
        if store.exists(MANIFEST_NAME) and not journal.known:
            raise UserError(
                f"{plan.out} holds a data set built with another private folder; give --private or another --out"
            )
        units = _units(reading.studies, plan)
        jobs = [_job(unit, journal.find(unit), store, plan.retry) for unit in units]
        already = sum(job.entry.shard.samples for job in jobs if job.entry)
        pending = [job for job in jobs if job.fresh]
        if pending:
            store.delete(MANIFEST_NAME)
            _make_shards(pending, store, journal, plan)
        return finish(reading, units, already, store, journal, plan.settings)


@contextlib.contextmanager
def _room_needed() -> Iterator[None]:
    """Turns a full disk into one line; what is finished stays, and the same command goes on."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError("no space left on the disk; free some and run the same command again") from None
    except sqlite3.OperationalError as error:
        raise UserError(f"the ledger cannot be written ({error}); free space and run the same command again") from None


def _units(studies: list[SourceImage], plan: Build) -> list[Unit]:
    keyed = {pseudonyms.pseudonym(plan.private.salt, "image", study.image): study for study in studies}
    assert len(keyed) == len(studies), "a source names an image twice"
    ranges = _ranges(sorted(keyed.items(), key=lambda item: item[0]), plan.settings.shard_images)
    return [Unit(number, part, _digest(part, plan)) for number, part in enumerate(ranges)]


def _ranges(studies: list[tuple[str, SourceImage]], size: int) -> Iterator[list[tuple[str, SourceImage]]]:
    for first in range(0, len(studies), size):
        yield studies[first : first + size]


def _digest(studies: list[tuple[str, SourceImage]], plan: Build) -> str:
    """Changes with the settings, this software's version and all that the studies are read from."""
    decisive = [FORMAT_VERSION, version("sentalign"), plan.settings.as_dict(), sorted(plan.same_patient.items())]
    digest = hashlib.sha256(json.dumps(decisive).encode() + plan.private.salt)
    for _, study in studies:
        digest.update(json.dumps(astuple(study)).encode())
    return digest.hexdigest()


def _job(unit: Unit, entry: Entry | None, store: Store, retry: frozenset[str]) -> Job:
    """What is left to do for a unit; a shard that is lost or cut off is made again."""
    if entry is None or store.size(entry.shard.name) != entry.shard.bytes:
        return Job(unit, None)
    return Job(unit, entry, frozenset(row["id"] for row in entry.rejected if row["reason"] in retry))


def _make_shards(jobs: list[Job], store: Store, journal: Journal, plan: Build) -> None:
    fresh = [study for job in jobs for study in job.fresh]
    outcomes = pool.outcomes(fresh, plan.workers(plan.recipe), plan.recipe)
    with contextlib.closing(outcomes), progress.bar("images", len(fresh)) as advance:
        shown = _shown(outcomes, advance)
        for job in jobs:
            journal.put(*_make_shard(job, shown, store, journal, plan))


def _shown(outcomes: Iterable[Outcome], advance: progress.Advance) -> Iterator[Outcome]:
    for outcome in outcomes:
        advance(1)
        yield outcome


def _make_shard(
    job: Job, outcomes: Iterator[Outcome], store: Store, journal: Journal, plan: Build
) -> tuple[Entry, pa.Table]:
    name, path = SHARD_NAME.format(job.unit.number), plan.private.path / "shard.part"
    kept = {sample.key: sample for sample in _kept(job, store, journal)}
    rejected = {row["id"]: row for row in job.entry.rejected if row["id"] not in job.again} if job.entry else {}
    counted = Counter(job.entry.audit if job.entry else {})
    ledger: list[tuple[str, str, str]] = []
    with ShardWriter(path, name) as writer:
        for key, _ in job.unit.studies:
            if key in rejected:
                continue
            if key in kept:
                writer.add(kept[key])
                continue
            outcome = next(outcomes)
            assert outcome.key == key, "outcomes come in the order of the studies"
            ledger += outcome.ledger
            counted.update(outcome.audit)
            if outcome.sample is None:
                rejected[key] = quarantine.row(outcome)
            else:
                writer.add(outcome.sample)
        shard, rows = writer.finish()
        plan.private.record(ledger)
        # A tar is padded, so another one may have the size of the old: no entry may speak of it meanwhile.
        journal.forget(job.unit.number)
        store.put_file(name, path)
    in_order = [rejected[key] for key in sorted(rejected)]
    return Entry(job.unit.number, job.unit.digest, shard, in_order, dict(counted)), rows


def _kept(job: Job, store: Store, journal: Journal) -> Iterator[Sample]:
    """The samples that an earlier build left of the unit, read back from its shard."""
    if job.entry is None:
        return
    for row in journal.rows(job.unit.number).to_pylist():
        image = store.get_range(row["shard"], row["image_offset"], row["image_bytes"])
        description = store.get_range(row["shard"], row["json_offset"], row["json_bytes"])
        yield Sample(row["key"], image, description, row)
