"""Finished shards → the files that describe the whole data set, and the account.

In: the journal's entry of every shard. Out: quarantine.parquet, audit.json, SHA256SUMS, manifest.parquet, `Account`.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from sharding import checksums, leaks, manifest
from sharding.build import quarantine
from sharding.build.account import Account
from sharding.build.inputs import report_sentences
from sharding.build.journal import BuildJournal, ShardInputs
from sharding.build.sentence_tuple import BLANK, JPEG_QUALITY, OTHER_MODEL, SampleSettings
from sharding.contract import AUDIT_NAME, CHECKSUMS_NAME, MANIFEST_NAME, PROBE_NAME, QUARANTINE_NAME, Reason
from sharding.deid import audit
from sharding.pixels.checks import noticed
from sharding.sources import SourceListing, nonzero
from sharding.store.base import Store


@dataclass(frozen=True)
class BuildSettings:
    """What decides the bytes of the data set; the manifest holds all of it."""

    source: str
    samples: SampleSettings = field(default_factory=SampleSettings)
    shard_images: int = 1000

    def as_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "shard_studies": self.shard_images,  # the key of format 2: another name would change every manifest
            "jpeg_quality": JPEG_QUALITY,
            **asdict(self.samples),
        }


SEVERAL, MANY = 5, 10  # studies, and images, that one patient may have
NOTE_OF = {  # counts of samples → what the account calls them
    BLANK: "picture of fewer than 8 grey levels or 8 pixels a side, kept",
    OTHER_MODEL: "header that contradicts --photometric-column, the header counts",
}
ONE_PATIENT = "all images have one patient's id (or one study's, and no patient's), so they are in one split"
TWO_SPLITS = "study whose images name several patients, or not all of them one, in two splits"


def finish(
    listing: SourceListing,
    shards: list[ShardInputs],
    already: int,
    store: Store,
    journal: BuildJournal,
    settings: BuildSettings,
) -> Account:
    """Write all files beside the shards; the manifest comes last, as the sign that the data set is complete."""
    entries = [entry for inputs in shards if (entry := journal.find(inputs))]
    assert len(entries) == len(shards), "a shard has no entry in the journal"
    rows = pa.concat_tables([journal.rows(inputs.number) for inputs in shards]).combine_chunks()
    rejections = [row for entry in entries for row in entry.rejected]
    reasons = Counter(row["reason"] for row in rejections)
    rejected = {reason.value: reasons[reason.value] for reason in Reason if reasons[reason.value]}
    masked = sum((Counter(entry.audit) for entry in entries), Counter[str]())
    written = {shard.pop("name"): shard for shard in (asdict(entry.shard) for entry in entries)}
    notes = (
        listing.notes
        | _one_patient(rows)
        | _in_two_splits(rows)
        | nonzero({note: masked[kind] for kind, note in NOTE_OF.items()})
    )
    notes |= nonzero({note: masked[note] for note in report_sentences.NOTES})
    seen = nonzero({name: masked[name] for name in noticed.NAMES})
    counts = _counts(len(listing.images), rows, rejected)
    counts |= {"left_out": listing.left_out, "notes": notes, "noticed": seen}
    files = {
        QUARANTINE_NAME: quarantine.encode(rejections),
        AUDIT_NAME: _audit(masked, rows.num_rows, rejected, settings.samples),
        MANIFEST_NAME: manifest.encode(rows, settings.as_dict(), written, counts, has_checksums=True),
    }
    _remove_old(store, journal, set(written))
    for name in (QUARANTINE_NAME, AUDIT_NAME):
        store.put(name, files[name])
    store.put(CHECKSUMS_NAME, checksums.encode(files))
    store.put(MANIFEST_NAME, files[MANIFEST_NAME])
    return Account(
        read=len(listing.images),
        written=rows.num_rows - already,
        already=already,
        rejected=rejected,
        left_out=listing.left_out,
        shards=len(shards),
        notes=notes,
        noticed=seen,
        # What the manifest alone shows; `verify` also compares the images for near-duplicates.
        leaks=dict(Counter(leak.kind.value for leak in leaks.certain(rows) if leak.crosses_splits)),
    )


def _one_patient(rows: pa.Table) -> dict[str, int]:
    """The number of images if all of them are one patient's, which an anonymiser may have made of many."""
    patients, studies = set(rows["patient"].to_pylist()), set(rows["study"].to_pylist())
    several = len(studies) >= SEVERAL or rows.num_rows >= MANY
    return {ONE_PATIENT: rows.num_rows} if len(patients) == 1 and several else {}


def _in_two_splits(rows: pa.Table) -> dict[str, int]:
    """The number of studies in several splits; one patient never is, so their images name several, or some nobody."""
    splits = rows.group_by("study").aggregate([("split", "count_distinct")])["split_count_distinct"].to_pylist()
    return nonzero({TWO_SPLITS: sum(count > 1 for count in splits)})


def _counts(read: int, rows: pa.Table, rejected: dict[str, int]) -> dict[str, Any]:
    return {
        "read": read,
        "samples": rows.num_rows,
        "sentences": sum(rows["sentence_count"].to_pylist()),
        "rejected": rejected,
        "splits": dict(sorted(Counter(rows["split"].to_pylist()).items())),
    }


def _audit(masked: Counter[str], samples: int, rejected: dict[str, int], settings: SampleSettings) -> bytes:
    summary = audit.summary(
        masked,
        samples=samples,
        rejected=rejected,
        strict=settings.strict_captures,
        image_member=settings.image,
        pixel_text=settings.pixel_text,
    )
    return (json.dumps(summary, indent=2) + "\n").encode()


def _remove_old(store: Store, journal: BuildJournal, shards: set[str]) -> None:
    """Removes the shards of an earlier, larger build, and what a killed one has left."""
    journal.remove_from(len(shards))
    for name in store.list():
        is_shard = name.startswith("shard-") and name.endswith(".tar")
        if (is_shard and name not in shards) or name.startswith(PROBE_NAME):
            store.delete(name)
