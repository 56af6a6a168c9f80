"""Manifest and quarantine → the statistics of a data set.

In: an open store and its manifest. Out: one dictionary, ready for JSON. Counts over all samples come from the manifest
alone; what only KEY.json holds (tags, pixel provenance) is counted in SAMPLED evenly spaced samples, so that 400,000
samples cost no more reads than a hundred.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sharding import leaks, sample_reader
from sharding.contract import QUARANTINE_NAME, SPLITS, Rejected, UserError
from sharding.leaks import LeakKind
from sharding.manifest import Manifest, are_counts
from sharding.pixels.checks.orientation import LOOKS
from sharding.store.base import Store

REPEATED = 10  # most frequent sentences
SAMPLED = 96
LISTED = 8  # sizes and messages that are listed; the others are summed
READERS = 8
PROVENANCE = ("codec", "photometric", "bits", "voi_source", "inverted", "looks")

Counts = dict[str, int]
Rows = list[dict[str, Any]]


def compute(store: Store, manifest: Manifest) -> dict[str, Any]:
    """The statistics; raises UserError if the store fails."""
    table = manifest.table.combine_chunks()
    shards = manifest.metadata["shards"].values()
    return {
        "samples": table.num_rows,
        "patients": _distinct(table, "patient"),
        "studies": _distinct(table, "study"),
        "shards": len(shards),
        "bytes": sum(shard["bytes"] for shard in shards),
        "splits": _splits(table),
        "views": {name or "unknown": count for name, count in _counted(table["view"]).items()},
        **{name: _told(manifest, name) for name in ("rejected", "left_out", "notes", "noticed")},
        "quarantine": _quarantine(store),
        "sentences": _sentences(table),
        "image_sizes": _sizes(table),
        "most_repeated": _most_repeated(store, table),
        "sampled": _sampled(store, table),
        "leaks": _leaks(table),
        "settings": manifest.metadata["settings"],
        "fingerprint": manifest.fingerprint,
    }


def evenly_spaced(table: pa.Table, count: int) -> Rows:
    """At most `count` rows, evenly spaced over the table."""
    indices = np.unique(np.linspace(0, table.num_rows - 1, min(count, table.num_rows)).astype(int))
    return list(table.take(pa.array(indices)).to_pylist())


def descriptions(store: Store, rows: Rows) -> list[dict[str, Any] | None]:
    """The content of each KEY.json, None if it cannot be read."""

    def read(row: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return sample_reader.description(store, row)
        except (Rejected, UserError):
            return None

    with ThreadPoolExecutor(READERS) as readers:
        return list(readers.map(read, rows))


def sentences_of(description: dict[str, Any] | None) -> Rows:
    """The well-formed sentences of a description."""
    rows = (description or {}).get("sentences")
    rows = rows if isinstance(rows, list) else []
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("tags"), list)]


def looks_of(description: dict[str, Any] | None) -> str:
    """How the picture looks if it does not stand upright or is inverted, as the build noticed; else empty."""
    pixels = (description or {}).get("pixels")
    looks = pixels.get("looks") if isinstance(pixels, dict) else None
    return looks if looks in LOOKS[1:] else ""


def _told(manifest: Manifest, name: str) -> Counts:
    """Counts of the build; empty for a manifest, perhaps of an earlier version, without them as a build writes them."""
    counts = manifest.metadata["counts"]
    told = counts.get(name) if isinstance(counts, dict) else None
    return told if are_counts(told) else {}


def _distinct(table: pa.Table, name: str) -> int:
    return int(pc.count_distinct(table[name]).as_py())


def _counted(column: Any) -> Counts:
    """How often each value occurs, the most frequent first, ties by name."""
    return _by_frequency({str(item["values"]): item["counts"] for item in pc.value_counts(column).to_pylist()})


def _tally(values: Iterable[Any]) -> Counts:
    return _by_frequency(Counter(map(str, values)))


def _by_frequency(counts: Counts) -> Counts:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _splits(table: pa.Table) -> dict[str, Counts]:
    """Samples and patients of each split: train, validate, test."""
    samples = _counted(table["split"])
    groups = table.group_by("split").aggregate([("patient", "count_distinct")]).to_pylist()
    patients = {group["split"]: group["patient_count_distinct"] for group in groups}
    order = sorted(samples, key=lambda name: (SPLITS.index(name) if name in SPLITS else len(SPLITS), name))
    return {name: {"samples": samples[name], "patients": patients[name]} for name in order}


def _sentences(table: pa.Table) -> dict[str, Any]:
    counts_L = table["sentence_count"].to_numpy()
    if not len(counts_L):
        return {"total": 0, "distinct": 0, "median": 0, "max": 0, "without": 0, "histogram": {}}
    numbers, samples = np.unique(counts_L, return_counts=True)
    return {
        "total": int(counts_L.sum()),
        "distinct": int(pc.count_distinct(pc.list_flatten(table["text_hashes"])).as_py()),
        "median": float(np.median(counts_L)),
        "max": int(counts_L.max()),
        "without": int((counts_L == 0).sum()),
        "histogram": dict(zip(map(str, numbers.tolist()), samples.tolist(), strict=True)),
    }


def _sizes(table: pa.Table) -> Counts:
    widths, heights = (pc.cast(table[name], pa.string()) for name in ("width", "height"))
    sizes = _counted(pc.binary_join_element_wise(widths, heights, "x"))
    listed = dict(list(sizes.items())[:LISTED])
    rest = sum(sizes.values()) - sum(listed.values())
    return listed | ({"others": rest} if rest else {})


def _most_repeated(store: Store, table: pa.Table) -> Rows:
    """The manifest counts the hashes; one sample of each is fetched for its text."""
    hashes, parents = pc.list_flatten(table["text_hashes"]), pc.list_parent_indices(table["text_hashes"])
    ranked = list(_counted(hashes).items())[:REPEATED]
    first_rows = [parents[pc.index(hashes, text_hash).as_py()].as_py() for text_hash, _ in ranked]
    contents = descriptions(store, table.take(pa.array(first_rows, pa.int64())).to_pylist())
    return [
        {"count": count, "text": _text(description, text_hash)}
        for (text_hash, count), description in zip(ranked, contents, strict=True)
    ]


def _text(description: dict[str, Any] | None, text_hash: str) -> str:
    texts = (str(sentence.get("text")) for sentence in sentences_of(description) if sentence.get("hash") == text_hash)
    return next(texts, "(cannot be read)")


def _sampled(store: Store, table: pa.Table) -> dict[str, Any]:
    """Tags and sections of the sentences, and pixel provenance, in some samples."""
    contents = [content for content in descriptions(store, evenly_spaced(table, SAMPLED)) if content is not None]
    sentences = [sentence for content in contents for sentence in sentences_of(content)]
    pixels = [content["pixels"] for content in contents if isinstance(content.get("pixels"), dict)]
    return {
        "samples": len(contents),
        "sentences": len(sentences),
        "tags": _tally(tag for sentence in sentences for tag in sentence["tags"] or ["none"]),
        "sections": _tally(sentence.get("section") or "none" for sentence in sentences),
        "pixels": {name: _tally(fields.get(name, "unknown") for fields in pixels) for name in PROVENANCE},
    }


def _quarantine(store: Store) -> dict[str, Any]:
    """Rejected inputs by stage and reason, and the most frequent messages."""
    data = store.find(QUARANTINE_NAME)
    try:
        rows = pq.read_table(io.BytesIO(data or b"")).to_pylist()
        reasons = Counter((row["stage"], row["reason"]) for row in rows)
        messages = _tally(row["message"] for row in rows)
    except (pa.ArrowException, ValueError, OSError, KeyError):
        return {"readable": False, "reasons": [], "messages": {}}
    listed = [{"stage": stage, "reason": reason, "count": count} for (stage, reason), count in reasons.most_common()]
    return {"readable": True, "reasons": listed, "messages": dict(list(messages.items())[:LISTED])}


def _leaks(table: pa.Table) -> Counts:
    """Leaks that the manifest alone shows; `verify` also searches for near-duplicate images."""
    across = Counter(leak.kind for leak in leaks.certain(table) if leak.crosses_splits)
    return {
        "patients in two splits": across[LeakKind.SPLITS],
        "equal images of two patients across splits": across[LeakKind.EXACT],
        "reports word for word under two patients in two splits": leaks.repeated_texts(table),
    }
