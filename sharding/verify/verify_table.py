"""Manifest, quarantine and audit → their faults, before a shard is opened.

In: the manifest, and the other two files. Out: one line per kind of fault with the number of rows; no value is quoted,
since a wrong one may be an identity.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sharding import manifest
from sharding.build.quarantine import QUARANTINE_SCHEMA
from sharding.contract import AUDIT_NAME, IMAGE_MEMBERS, MANIFEST_NAME, QUARANTINE_NAME, SPLITS, Reason
from sharding.deid.pseudonyms import KEY_LENGTHS
from sharding.leaks import perceptual_hash
from sharding.manifest import Manifest
from sharding.store.base import Store
from sharding.verify.tarwalk import BLOCK, MAX_MEMBER
from sharding.verify.verify_sample import MAX_JSON

SHA256 = manifest.SHA256.pattern
MAX_MESSAGE = 500  # characters of a quarantine message
AGAIN = "build the data set again"
NAMED_COUNTS = ("left_out", "notes", "noticed")
Column = Any  # an Arrow array, chunked or not

# The pattern that every value of a column matches in full.
PATTERNS = {
    "key": f"[0-9a-f]{{{KEY_LENGTHS['image']}}}",
    "patient": f"[0-9a-f]{{{KEY_LENGTHS['patient']}}}",
    "study": f"[0-9a-f]{{{KEY_LENGTHS['study']}}}",
    "image_member": "|".join(IMAGE_MEMBERS),
    "image_sha256": SHA256,
    "json_sha256": SHA256,
    "image_likeness": f"({perceptual_hash.PATTERN})?",
    "view": "[A-Z0-9 _]{0,16}",  # a DICOM code
    "split": "|".join(SPLITS),
}
RANGES = {
    "image_offset": (BLOCK, 1 << 60),
    "json_offset": (BLOCK, 1 << 60),
    "image_bytes": (1, MAX_MEMBER),
    "json_bytes": (1, MAX_JSON),
    "width": (1, 1 << 20),
    "height": (1, 1 << 20),
}


def faults_of_metadata(metadata: dict[str, Any]) -> list[str]:
    """Whether shards and counts exist in their form; the other checks rely on it."""
    shards, counts = metadata["shards"], metadata["counts"]
    valid = isinstance(shards, dict) and isinstance(counts, dict) and isinstance(metadata["settings"], dict)
    valid = valid and manifest.describes_shards(shards)
    valid = valid and all(_is_count(shard.get("samples")) for shard in shards.values())
    valid = valid and _is_count(counts.get("read")) and _is_count(counts.get("samples"))
    # Data sets of an earlier version lack all but the first.
    named = [counts.get("rejected"), *(counts.get(name, {}) for name in NAMED_COUNTS)] if valid else []
    valid = valid and all(map(manifest.are_counts, named))
    return [] if valid else [f"{MANIFEST_NAME}: its shards or counts are damaged; {AGAIN}"]


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def faults_of_rows(data_set: Manifest) -> list[str]:
    """Rows that no build writes: their members could not be found, or they hold more than a pseudonym."""
    table = data_set.table
    empty = [name for name in table.column_names if table[name].null_count or _flat(table[name]).null_count]
    if empty:
        return [f"{MANIFEST_NAME}: empty fields in {', '.join(empty)}; {AGAIN}"]
    if faults := [f"{MANIFEST_NAME}: {fault}; {AGAIN}" for fault in manifest.faults(data_set)]:
        return faults
    checks: dict[str, Column] = {name: _matches(table[name], pattern) for name, pattern in PATTERNS.items()}
    for name, (low, high) in RANGES.items():
        checks[name] = pc.and_(pc.greater_equal(table[name], low), pc.less_equal(table[name], high))
    checks["text_hashes"] = _matches(_flat(table["text_hashes"]), SHA256)
    checks["sentence_count"] = pc.equal(table["sentence_count"], pc.list_value_length(table["text_hashes"]))
    wrong = {name: _count_false(column) for name, column in checks.items()}
    return [f"{MANIFEST_NAME}: {_wrong_values(name, count)}; {AGAIN}" for name, count in wrong.items() if count]


def _wrong_values(name: str, count: int) -> str:
    return f"wrong values of {name} ({count})"


def faults_of_counts(data_set: Manifest) -> list[str]:
    """Whether the manifest's counts are those of its rows."""
    return [f"{MANIFEST_NAME}: {fault}; {AGAIN}" for fault in _wrong_counts(data_set)]


def _wrong_counts(data_set: Manifest) -> Iterator[str]:
    counts, shards, rows = data_set.metadata["counts"], data_set.metadata["shards"], data_set.table.num_rows
    if counts["samples"] != rows or sum(shard["samples"] for shard in shards.values()) != rows:
        yield f"counts {counts['samples']} samples and has {rows} rows"
    if repeated := rows - pc.count_distinct(data_set.table["key"]).as_py():
        yield f"{repeated} keys are repeated"
    if counts["read"] != counts["samples"] + sum(counts["rejected"].values()):
        yield "its count of images read is not samples plus rejected"
    if "sentences" in counts and counts["sentences"] != (pc.sum(data_set.table["sentence_count"]).as_py() or 0):
        yield "counts another number of sentences than its rows"
    if "splits" in counts and counts["splits"] != dict(Counter(data_set.table["split"].to_pylist())):
        yield "counts other splits than its rows"


def _flat(column: Column) -> Column:
    return pc.list_flatten(column) if pa.types.is_list(column.type) else column


def _matches(column: Column, pattern: str) -> Column:
    return pc.match_substring_regex(column, rf"\A(?:{pattern})\z")


def _count_false(column: Column) -> int:
    return len(column) - int(pc.sum(column).as_py() or 0)


def faults_of_quarantine(store: Store, data_set: Manifest) -> list[str]:
    """Whether the quarantine has its columns, one row per rejected input, and only messages of this software."""
    data = store.find(QUARANTINE_NAME)
    if data is None:
        return [f"{QUARANTINE_NAME}: missing; {AGAIN}"]
    try:
        table = pq.read_table(io.BytesIO(data))
        table.validate(full=True)
    except (pa.ArrowException, ValueError, OSError, MemoryError):
        return [f"{QUARANTINE_NAME}: damaged, or not a quarantine; {AGAIN}"]
    if not table.schema.equals(QUARANTINE_SCHEMA):
        return [f"{QUARANTINE_NAME}: other columns than a build writes; {AGAIN}"]
    return [f"{QUARANTINE_NAME}: {fault}; {AGAIN}" for fault in _faults_of_rejected(table, data_set)]


def _faults_of_rejected(table: pa.Table, data_set: Manifest) -> Iterator[str]:
    rejected = data_set.metadata["counts"]["rejected"]
    if any(table[name].null_count for name in table.column_names):
        yield "empty fields"
        return
    if dict(Counter(table["reason"].to_pylist())) != {reason: count for reason, count in rejected.items() if count}:
        yield f"{table.num_rows} rows, {sum(rejected.values())} rejected in the manifest, or for other reasons"
    columns: dict[str, Callable[[], Column]] = {
        "id": lambda: _matches(table["id"], PATTERNS["key"]),
        "stage": lambda: _matches(table["stage"], "[a-z]{1,20}"),
        "reason": lambda: pc.is_in(table["reason"], pa.array([reason.value for reason in Reason])),
        "message": lambda: _matches(table["message"], rf"[^\x00-\x1f\x7f]{{1,{MAX_MESSAGE}}}"),
    }
    for name, check in columns.items():
        if count := _count_false(check()):
            yield _wrong_values(name, count)
    both = pc.sum(pc.is_in(table["id"], data_set.table["key"].combine_chunks())).as_py() or 0
    if both or pc.count_distinct(table["id"]).as_py() != table.num_rows:
        yield "an id is repeated, or is that of a sample"


def faults_of_audit(store: Store, data_set: Manifest) -> list[str]:
    """Whether the audit is JSON and counts as many samples."""
    data = store.find(AUDIT_NAME)
    if data is None:
        return [f"{AUDIT_NAME}: missing; {AGAIN}"]
    try:
        agrees = json.loads(data)["samples"] == data_set.table.num_rows
    except (ValueError, KeyError, TypeError, RecursionError):
        return [f"{AUDIT_NAME}: damaged; {AGAIN}"]
    return [] if agrees else [f"{AUDIT_NAME}: counts other samples than the manifest; {AGAIN}"]
