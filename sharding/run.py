"""The build: studies → shards, manifest, quarantine, audit and ledger.

In: the studies of a source and the settings. Out: the data set at a URL and an `Account` of what became of every study.
The order of samples is that of their pseudonyms, so it tells nothing and does not depend on the number of processes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from sharding import deid, manifest, pool, quarantine
from sharding.contract import FORMAT_VERSION, MANIFEST_NAME, QUARANTINE_NAME, SHARD_NAME, Reason, UserError
from sharding.journal import Entry, Journal
from sharding.sources import Reading, Study
from sharding.storage import Store, open_store
from sharding.tuples import JPEG_QUALITY, Outcome, Sample, TupleSettings
from sharding.writer import write_shard

AUDIT_NAME = "audit.json"


@dataclass(frozen=True)
class BuildSettings:
    """What decides the bytes of the data set; all of it stands in the manifest."""

    source: str
    tuples: TupleSettings = field(default_factory=TupleSettings)
    shard_samples: int = 1000

    def as_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "shard_samples": self.shard_samples,
            "jpeg_quality": JPEG_QUALITY,
            **asdict(self.tuples),
        }


@dataclass(frozen=True)
class Account:
    """What became of the studies: read = written + rejected + already there."""

    read: int
    written: int
    already: int
    rejected: dict[str, int]
    left_out: dict[str, int]
    shards: int

    @property
    def failed_share(self) -> float:
        """Share of the studies rejected for a fault; another modality than the wanted ones is none."""
        faults = sum(count for reason, count in self.rejected.items() if reason != Reason.MODALITY)
        return faults / max(1, self.read)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"failed_share": self.failed_share}

    def lines(self) -> list[str]:
        """The account as printed."""
        rejected = sum(self.rejected.values())
        lines = [f"read {self.read} = written {self.written} + rejected {rejected} + already there {self.already}"]
        if rejected:
            lines.append("rejected: " + ", ".join(f"{reason} {count}" for reason, count in self.rejected.items()))
        lines += [f"left out: {why} {count}" for why, count in self.left_out.items()]
        return [*lines, f"shards: {self.shards}"]


def build(reading: Reading, settings: BuildSettings, out: str, private: deid.PrivateFolder, processes: int) -> Account:
    """Build the data set at `out`, or go on where an interrupted build of the same plan stopped.

    The manifest is written last. Raises UserError for an output made with another private folder, or an empty input.
    """
    if not reading.studies:
        raise UserError("no image to read in the input; check the folder, the table and --views")
    studies = _ordered(reading.studies, private.salt)
    store = open_store(out, create=True)
    journal = Journal(private.path, store.url, _plan(studies, settings, private.salt))
    if store.exists(MANIFEST_NAME) and not journal.known:
        raise UserError(
            f"{out} holds a data set that was built with another private folder; give --private or another --out"
        )
    journal.resume(store)
    already = sum(len(entry.shard.rows) for entry in journal.entries if entry.shard)
    if not _complete(journal, len(studies)):
        store.delete(MANIFEST_NAME)
        _make_shards(studies, settings, store, journal, private, processes)
    return _finish(reading, settings, store, journal, already)


def _ordered(studies: list[Study], salt: bytes) -> list[Study]:
    return [study for _, study in sorted((deid.pseudonym(salt, "image", study.image), study) for study in studies)]


def _plan(studies: list[Study], settings: BuildSettings, salt: bytes) -> str:
    """A digest of the settings and of all that the studies are read from; a changed file changes it."""
    digest = hashlib.sha256(json.dumps([FORMAT_VERSION, settings.as_dict()]).encode() + salt)
    for study in studies:
        values = [study.image, study.patient, study.study, study.text, study.layout, study.view, study.split]
        digest.update(json.dumps([values, _state(study.path), _state(study.text_path)]).encode())
    return digest.hexdigest()


def _state(path: Path | None) -> list[int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _complete(journal: Journal, count: int) -> bool:
    return bool(journal.entries) and journal.entries[-1].next == count


def _make_shards(
    studies: list[Study],
    settings: BuildSettings,
    store: Store,
    journal: Journal,
    private: deid.PrivateFolder,
    processes: int,
) -> None:
    start = journal.entries[-1].next if journal.entries else 0
    number = sum(1 for entry in journal.entries if entry.shard)
    results = pool.outcomes(studies[start:], settings.tuples, private.salt, processes)
    for outcomes in _batches(_shown(results, start, len(studies)), settings.shard_samples):
        private.record(row for outcome in outcomes for row in outcome.ledger)
        start += len(outcomes)
        samples = [outcome.sample for outcome in outcomes if outcome.sample]
        shard = _put_shard(samples, number, store, private.path) if samples else None
        number += shard is not None
        audit: Counter[str] = Counter()
        for outcome in outcomes:
            audit.update(outcome.audit)
        rejected = [quarantine.row(outcome) for outcome in outcomes if outcome.sample is None]
        journal.append(Entry(start, shard, rejected, dict(audit)))


def _batches(outcomes: Iterator[Outcome], samples: int) -> Iterator[list[Outcome]]:
    """Runs of outcomes with `samples` samples each; the last has what is left."""
    batch: list[Outcome] = []
    filled = 0
    for outcome in outcomes:
        batch.append(outcome)
        filled += outcome.sample is not None
        if filled == samples:
            yield batch
            batch, filled = [], 0
    if batch:
        yield batch


def _shown(outcomes: Iterator[Outcome], start: int, total: int) -> Iterator[Outcome]:
    """The same outcomes, with a progress bar on a terminal."""
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("images", total=total, completed=start)
        for outcome in outcomes:
            progress.advance(task)
            yield outcome


def _put_shard(samples: list[Sample], number: int, store: Store, folder: Path) -> Any:
    local = folder / "shard.part"
    shard = write_shard(local, SHARD_NAME.format(number), samples)
    store.put_file(shard.name, local)
    local.unlink()
    return shard


def _finish(reading: Reading, settings: BuildSettings, store: Store, journal: Journal, already: int) -> Account:
    shards = [entry.shard for entry in journal.entries if entry.shard]
    rows = [row for shard in shards for row in shard.rows]
    rejections = [row for entry in journal.entries for row in entry.rejected]
    reasons = Counter(row["reason"] for row in rejections)
    rejected = {reason.value: reasons[reason.value] for reason in Reason if reasons[reason.value]}
    audit: Counter[str] = Counter()
    for entry in journal.entries:
        audit.update(entry.audit)
    counts = {
        "read": len(reading.studies),
        "samples": len(rows),
        "sentences": sum(row["sentence_count"] for row in rows),
        "rejected": rejected,
        "splits": dict(sorted(Counter(row["split"] for row in rows).items())),
    }
    store.put(QUARANTINE_NAME, quarantine.encode(rejections))
    store.put(AUDIT_NAME, _audit(audit, len(rows)))
    listed = {
        shard.name: {"sha256": shard.sha256, "bytes": shard.bytes, "samples": len(shard.rows)} for shard in shards
    }
    for name in store.list():
        if name.startswith("shard-") and name.endswith(".tar") and name not in listed:
            store.delete(name)  # of an earlier build with more shards
    store.put(MANIFEST_NAME, manifest.encode(rows, settings.as_dict(), listed, counts))
    return Account(len(reading.studies), len(rows) - already, already, rejected, reading.left_out, len(shards))


def _audit(replaced: Counter[str], samples: int) -> bytes:
    counts = {kind: replaced[kind] for kind in sorted({*deid.PATTERNS, *replaced})}
    return (
        json.dumps({"format_version": FORMAT_VERSION, "samples": samples, "masked_in_reports": counts}, indent=2) + "\n"
    ).encode()
