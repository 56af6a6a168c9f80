"""One shard of a build: which of its images become samples, its ledger rows, and its entry in the journal.

In: a `ShardJob`, and the results of its images in their order. Out: the shard in the store, and a function that waits
for it and enters it into the journal. Killed at any moment, it leaves the shard with its entry, or no entry. Who writes
the shard is up to the workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sharding.build import quarantine
from sharding.build.journal import BuildJournal, JournalEntry, ShardInputs
from sharding.build.pool import Workers
from sharding.build.samples import EncodedSample, SampleReference, SampleResult
from sharding.build.writer import Destination
from sharding.contract import SHARD_NAME
from sharding.deid.private_folder import PrivateFolder
from sharding.sources import SourceImage
from sharding.store.base import Store


@dataclass(frozen=True)
class ShardJob:
    """A shard to write: all of its images, or the `retried` ones beside what an earlier build finished (`entry`)."""

    inputs: ShardInputs
    entry: JournalEntry | None
    retried: frozenset[str] = frozenset()

    @property
    def pending(self) -> list[SourceImage]:
        """The images that workers have to make into samples."""
        return [image for key, image in self.inputs.images if self.entry is None or key in self.retried]


def start(
    job: ShardJob,
    results: Iterator[SampleResult],
    workers: Workers[Any],
    store: Store,
    journal: BuildJournal,
    private: PrivateFolder,
) -> Callable[[], None]:
    """Takes the results of the shard's images and has it written; the returned function waits and journals it."""
    number = job.inputs.number
    images = _Images(job, results, {result.key: result for result in _kept(job, store, journal)})

    def replacing() -> None:
        private.ledger.record(images.ledger)
        # Tar files are padded, so the new one may be as long as the old: no entry may describe it until it is complete.
        journal.remove(number)

    destination = Destination(store, SHARD_NAME.format(number), private.path / "shard.part")
    written = workers.write(destination, images.samples(), replacing)

    def enter() -> None:
        shard, rows = written()
        in_order = [images.rejected[key] for key in sorted(images.rejected)]
        journal.put(number, JournalEntry(job.inputs.digest, shard, in_order, dict(images.audit)), rows)

    return enter


class _Images:
    """The images of a shard, sorted into samples and rejections as their results come."""

    def __init__(self, job: ShardJob, results: Iterator[SampleResult], kept: dict[str, SampleResult]) -> None:
        self._job, self._results, self._kept = job, results, kept
        before = job.entry.rejected if job.entry else []
        self.rejected = {row["id"]: row for row in before if row["id"] not in job.retried}
        self.audit = Counter(job.entry.audit if job.entry else {})
        self.ledger: list[tuple[str, str, str]] = []

    def samples(self) -> Iterator[EncodedSample | SampleReference]:
        """The samples in the order of the shard; once all are taken, `rejected`, `audit` and `ledger` are complete."""
        for key, _ in self._job.inputs.images:
            if key in self.rejected:
                continue
            result = self._kept.pop(key, None) or next(self._results)
            assert result.key == key, "results come in the order of the images"
            self.ledger += result.ledger
            self.audit.update(result.audit)
            if result.sample:
                yield result.sample
            else:
                self.rejected[key] = quarantine.row(result)


def _kept(job: ShardJob, store: Store, journal: BuildJournal) -> Iterator[SampleResult]:
    """The samples of an earlier build, read back from the shard that is about to be replaced."""
    for row in journal.rows(job.inputs.number).to_pylist() if job.entry else ():
        image = store.get_range(row["shard"], row["image_offset"], row["image_bytes"])
        description = store.get_range(row["shard"], row["json_offset"], row["json_bytes"])
        yield SampleResult(row["key"], [], EncodedSample(row["key"], image, description, row))
