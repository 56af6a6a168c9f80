"""Manifest and quarantine → the figures of a data set.

In: an open store and its manifest. Out: one dictionary, ready for JSON. The figures of all samples come from the
manifest alone; what only the descriptions know (tags, origin of the pixels) is counted in LOOKED_AT samples spread
evenly, so that 400,000 samples cost no more reads than a hundred.
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

from sharding import leaks, members
from sharding.contract import QUARANTINE_NAME, SPLITS, Rejected, UserError
from sharding.leaks import Kind
from sharding.manifest import Manifest
from sharding.store.base import Store

REPEATED = 10
LOOKED_AT = 96
LISTED = 8  # sizes and messages named one by one
READERS = 8
PROVENANCE = ("codec", "photometric", "bits", "voi_source", "inverted")

Counts = dict[str, int]
Rows = list[dict[str, Any]]


def of(store: Store, found: Manifest) -> dict[str, Any]:
    """The figures; raises UserError where the store fails."""
    table = found.table.combine_chunks()
    shards = found.metadata["shards"].values()
    return {
        "samples": table.num_rows,
        "patients": _distinct(table, "patient"),
        "studies": _distinct(table, "study"),
        "shards": len(shards),
        "bytes": sum(shard["bytes"] for shard in shards),
        "splits": _splits(table),
        "views": {name or "unknown": count for name, count in _counted(table["view"]).items()},
        "rejected": found.metadata["counts"]["rejected"],
        "quarantine": _quarantine(store),
        "sentences": _sentences(table),
        "image_sizes": _sizes(table),
        "most_repeated": _most_repeated(store, table),
        "looked_at": _looked_at(store, table),
        "leaks": _leaks(table),
        "settings": found.metadata["settings"],
        "fingerprint": found.fingerprint,
    }


def spread(table: pa.Table, count: int) -> Rows:
    """At most `count` rows, spread evenly over the table."""
    places = np.unique(np.linspace(0, table.num_rows - 1, min(count, table.num_rows)).astype(int))
    return list(table.take(pa.array(places)).to_pylist())


def descriptions(store: Store, rows: Rows) -> list[dict[str, Any] | None]:
    """The content of each KEY.json, None where it cannot be read."""

    def read(row: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return members.description(store, row)
        except (Rejected, UserError):
            return None

    with ThreadPoolExecutor(READERS) as readers:
        return list(readers.map(read, rows))


def sentences_of(description: dict[str, Any] | None) -> Rows:
    """The sentences of a description, none where it has none that can be read."""
    said = (description or {}).get("sentences")
    return [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []


def _distinct(table: pa.Table, name: str) -> int:
    return int(pc.count_distinct(table[name]).as_py())


def _counted(column: Any) -> Counts:
    """How often each value stands, the most frequent first, equal ones by name."""
    found = pc.value_counts(column).to_pylist()
    return {str(item["values"]): item["counts"] for item in sorted(found, key=_rank)}


def _rank(item: dict[str, Any]) -> tuple[int, str]:
    return -item["counts"], str(item["values"])


def _splits(table: pa.Table) -> dict[str, Counts]:
    """Samples and patients of each split, in the usual order."""
    samples = _counted(table["split"])
    people = table.group_by("split").aggregate([("patient", "count_distinct")]).to_pylist()
    patients = {item["split"]: item["patient_count_distinct"] for item in people}
    order = sorted(samples, key=lambda name: (SPLITS.index(name) if name in SPLITS else len(SPLITS), name))
    return {name: {"samples": samples[name], "patients": patients[name]} for name in order}


def _sentences(table: pa.Table) -> dict[str, Any]:
    counts_L = table["sentence_count"].to_numpy()
    if not len(counts_L):
        return {"total": 0, "distinct": 0, "median": 0, "most": 0, "without": 0, "histogram": {}}
    numbers, samples = np.unique(counts_L, return_counts=True)
    return {
        "total": int(counts_L.sum()),
        "distinct": int(pc.count_distinct(pc.list_flatten(table["text_hashes"])).as_py()),
        "median": float(np.median(counts_L)),
        "most": int(counts_L.max()),
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
    """The hashes are counted in the manifest; one sample of each is fetched for its words."""
    hashes, parents = pc.list_flatten(table["text_hashes"]), pc.list_parent_indices(table["text_hashes"])
    ranked = list(_counted(hashes).items())[:REPEATED]
    holders = [parents[pc.index(hashes, text).as_py()].as_py() for text, _ in ranked]
    said = descriptions(store, table.take(pa.array(holders, pa.int64())).to_pylist())
    return [
        {"count": count, "text": _words(description, text)}
        for (text, count), description in zip(ranked, said, strict=True)
    ]


def _words(description: dict[str, Any] | None, text: str) -> str:
    words = (str(sentence.get("text")) for sentence in sentences_of(description) if sentence.get("hash") == text)
    return next(words, "(cannot be read)")


def _looked_at(store: Store, table: pa.Table) -> dict[str, Any]:
    """Tags and sections of the sentences and the origin of the pixels, in some samples."""
    said = [one for one in descriptions(store, spread(table, LOOKED_AT)) if one is not None]
    sentences = [sentence for one in said for sentence in sentences_of(one)]
    pixels = [one["pixels"] for one in said if isinstance(one.get("pixels"), dict)]
    return {
        "samples": len(said),
        "sentences": len(sentences),
        "tags": _tally(tag for sentence in sentences for tag in sentence.get("tags") or ["none"]),
        "sections": _tally(sentence.get("section") or "none" for sentence in sentences),
        "pixels": {name: _tally(one.get(name, "unknown") for one in pixels) for name in PROVENANCE},
    }


def _tally(values: Iterable[Any]) -> Counts:
    return dict(sorted(Counter(map(str, values)).items(), key=lambda item: (-item[1], item[0])))


def _quarantine(store: Store) -> dict[str, Any]:
    """Rejected inputs by stage and reason, and the words most often given."""
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
    """What the manifest alone shows; `verify` looks for images that are nearly equal."""
    found = Counter(leak.kind for leak in leaks.certain(table) if leak.across)
    return {
        "patients in two splits": found[Kind.SPLITS],
        "equal images of two patients across splits": found[Kind.EXACT],
        "reports word for word under two patients in two splits": leaks.repeated_texts(table),
    }
