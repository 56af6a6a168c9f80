"""Finished units → the files that describe the whole data set, and the account.

In: what the journal says of every unit. Out: quarantine.parquet, audit.json, manifest.parquet, `Account`.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from sharding import leaks, manifest
from sharding.build import quarantine
from sharding.build.account import Account
from sharding.build.journal import Journal, Unit
from sharding.build.tuples import JPEG_QUALITY, TupleSettings
from sharding.contract import AUDIT_NAME, MANIFEST_NAME, QUARANTINE_NAME, Reason
from sharding.deid import audit
from sharding.sources import Reading
from sharding.store.base import Store


@dataclass(frozen=True)
class BuildSettings:
    """What decides the bytes of the data set; all of it stands in the manifest."""

    source: str
    tuples: TupleSettings = field(default_factory=TupleSettings)
    shard_images: int = 1000

    def as_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "shard_studies": self.shard_images,  # the key of format 2: renaming it would change every manifest
            "jpeg_quality": JPEG_QUALITY,
            **asdict(self.tuples),
        }


def finish(
    reading: Reading, units: list[Unit], already: int, store: Store, journal: Journal, settings: BuildSettings
) -> Account:
    """Quarantine, audit and manifest of the finished units; the manifest comes last, as the sign that all is there."""
    entries = [entry for unit in units if (entry := journal.find(unit))]
    assert len(entries) == len(units), "a unit is missing in the journal"
    rows = pa.concat_tables([journal.rows(unit.number) for unit in units]).combine_chunks()
    rejections = [row for entry in entries for row in entry.rejected]
    reasons = Counter(row["reason"] for row in rejections)
    rejected = {reason.value: reasons[reason.value] for reason in Reason if reasons[reason.value]}
    counted: Counter[str] = Counter()
    for entry in entries:
        counted.update(entry.audit)
    counts = {
        "read": len(reading.studies),
        "samples": rows.num_rows,
        "sentences": sum(rows["sentence_count"].to_pylist()),
        "rejected": rejected,
        "splits": dict(sorted(Counter(rows["split"].to_pylist()).items())),
    }
    shards = {entry.shard.name: entry.shard for entry in entries}
    store.put(QUARANTINE_NAME, quarantine.encode(rejections))
    store.put(AUDIT_NAME, _audit(counted, rows.num_rows, rejected, settings.tuples))
    _remove_old(store, journal, set(shards))
    listed = {
        name: {part: getattr(shard, part) for part in ("sha256", "bytes", "samples")} for name, shard in shards.items()
    }
    store.put(MANIFEST_NAME, manifest.encode(rows, settings.as_dict(), listed, counts))
    return Account(
        read=len(reading.studies),
        written=rows.num_rows - already,
        already=already,
        rejected=rejected,
        left_out=reading.left_out,
        shards=len(shards),
        notes=reading.notes,
        # What the manifest alone shows; near-duplicates take a look at the images, which `verify` does.
        leaks=dict(Counter(leak.kind.value for leak in leaks.certain(rows) if leak.across)),
    )


def _remove_old(store: Store, journal: Journal, shards: set[str]) -> None:
    """Removes what an earlier build with more shards left."""
    journal.forget_from(len(shards))
    for name in store.list():
        if name.startswith("shard-") and name.endswith(".tar") and name not in shards:
            store.delete(name)


def _audit(counted: Counter[str], samples: int, rejected: dict[str, int], settings: TupleSettings) -> bytes:
    said = audit.summary(
        counted, samples=samples, rejected=rejected, strict=settings.strict_captures, image_member=settings.image
    )
    return (json.dumps(said, indent=2) + "\n").encode()
