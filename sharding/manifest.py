"""The manifest: one row per sample, and metadata of the whole data set, as one Parquet file.

In: rows and metadata, or the URL of a data set. Out: the file's bytes, or `Manifest`, and its `faults`. A manifest may
come from anywhere; a fault is whatever makes it unsafe to read samples by it: names that leave the data set, ranges
outside of their shards. What no reader relies on, and the shards themselves, are checked in `verify`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from sharding.contract import (
    CHECKSUMS_KEY,
    CHECKSUMS_NAME,
    FORMAT_VERSION,
    KEY_PATTERN,
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    METADATA_KEYS,
    SHARD_PATTERN,
    UserError,
)
from sharding.store.base import Store
from sharding.store.locations import open_store

SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_SHARD = 1 << 50  # bytes; sums of two such numbers are far from overflowing
MAX_SAMPLE = 1 << 30  # bytes that are read at once; a picture of 200 megapixels of 16 bits is less
MAX_GAP = 1 << 16  # bytes between the two members of a sample: a header, padding, a long name
MEMBERS = ("image_offset", "image_bytes", "image_sha256", "json_offset", "json_bytes", "json_sha256")
NEEDED = ("key", "shard", "image_member", "patient", "study", "split", "sentence_count", "text_hashes", *MEMBERS)


@dataclass(frozen=True)
class Manifest:
    """The table (MANIFEST_SCHEMA), its metadata (METADATA_KEYS, mostly CHECKSUMS_KEY too) and a fingerprint.

    Any change of table or metadata changes the fingerprint.
    """

    table: pa.Table
    metadata: dict[str, Any]
    fingerprint: str


def encode(
    rows: pa.Table,
    settings: dict[str, Any],
    shards: dict[str, Any],
    counts: dict[str, Any],
    has_checksums: bool = False,
) -> bytes:
    """The Parquet file; the same rows and metadata give the same bytes. It says whether SHA256SUMS lies beside it."""
    metadata = {"format_version": FORMAT_VERSION, "settings": settings, "shards": shards, "counts": counts}
    metadata |= {CHECKSUMS_KEY: CHECKSUMS_NAME} if has_checksums else {}
    texts = {name: json.dumps(value, sort_keys=True) for name, value in metadata.items()}
    table = rows.cast(MANIFEST_SCHEMA).replace_schema_metadata(texts)
    buffer = io.BytesIO()
    pa.parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read(url: str) -> Manifest:
    """The manifest of the data set at `url`; raises UserError if there is none or it has another format."""
    return read_from(open_store(url))


def read_from(store: Store) -> Manifest:
    """The manifest in an open store; raises UserError as `read` does."""
    if not store.exists(MANIFEST_NAME):
        raise UserError(
            f"{store.url}: no {MANIFEST_NAME}; build the data set with `sentalign shard build`, or let a build finish"
        )
    data = store.get(MANIFEST_NAME)
    try:
        table = pa.parquet.read_table(io.BytesIO(data))
        texts = table.schema.metadata or {}
        names = (*METADATA_KEYS, *([CHECKSUMS_KEY] if CHECKSUMS_KEY.encode() in texts else []))
        metadata = {name: json.loads(texts[name.encode()]) for name in names}
    except (pa.ArrowInvalid, pa.ArrowException, KeyError, ValueError, OSError, RecursionError):
        raise UserError(
            f"{store.url}: {MANIFEST_NAME} is damaged or not a manifest; build the data set again"
        ) from None
    if metadata["format_version"] != FORMAT_VERSION:
        raise UserError(
            f"{store.url}: format {metadata['format_version']}, this version reads {FORMAT_VERSION}; build it again"
        )
    if not table.schema.equals(MANIFEST_SCHEMA):
        raise UserError(f"{store.url}: {MANIFEST_NAME} has other columns than format {FORMAT_VERSION}; build it again")
    return Manifest(table, metadata, hashlib.sha256(data).hexdigest())


def faults(manifest: Manifest) -> Iterator[str]:
    """Why no sample may be read by the manifest; none for a valid one. No value is quoted: it may be an identity.

    The simplest checks come first, since each may rely on the earlier ones.
    """
    table, shards = manifest.table, manifest.metadata["shards"]
    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        yield "holds text that is not UTF-8"
        return
    if not describes_shards(shards):
        yield "names a shard outside of the data set, or describes its shards in another form than a build writes"
        return
    if empty := [name for name in NEEDED if table[name].null_count or _flat(table[name]).null_count]:
        yield f"has empty fields in {', '.join(empty)}"
        return
    if not pc.all(pc.is_in(table["shard"], pa.array(list(shards), pa.string())), min_count=0).as_py():
        yield "has samples in a shard that it does not describe"
    elif not pc.all(pc.match_substring_regex(table["key"], rf"\A(?:{KEY_PATTERN.pattern})\z"), min_count=0).as_py():
        yield "has a key that no build writes"
    else:
        yield from _faults_of_ranges(table, {name: entry["bytes"] for name, entry in shards.items()})


def describes_shards(shards: Any) -> bool:
    """Whether `shards` maps names as a build writes them to a sha256 and a number of bytes each."""
    return isinstance(shards, dict) and all(
        SHARD_PATTERN.fullmatch(name)
        and isinstance(entry, dict)
        and isinstance(entry.get("sha256"), str)
        and SHA256.fullmatch(entry["sha256"])
        and type(entry.get("bytes")) is int
        and 0 <= entry["bytes"] <= MAX_SHARD
        for name, entry in shards.items()
    )


def are_counts(value: Any) -> TypeGuard[dict[str, int]]:
    """Whether `value` maps names that can be printed to numbers, as the counts of a build do."""
    return isinstance(value, dict) and all(
        isinstance(name, str) and name.isprintable() and type(count) is int and count >= 0
        for name, count in value.items()
    )


def _faults_of_ranges(table: pa.Table, sizes: dict[str, int]) -> Iterator[str]:
    """Ranges outside of a shard, and ranges that would read far more than the sample."""
    columns = [table[name].to_numpy() for name in ("image_offset", "image_bytes", "json_offset", "json_bytes")]
    if any((column < 0).any() or (column > MAX_SHARD).any() for column in columns):
        yield "has a member outside of any shard"
        return
    offset_image, bytes_image, offset_json, bytes_json = columns
    ends_image, ends_json = offset_image + bytes_image, offset_json + bytes_json
    coded = table["shard"].combine_chunks().dictionary_encode()
    size_N = np.array([sizes[name] for name in coded.dictionary.to_pylist()], np.int64)[coded.indices.to_numpy()]
    if (ends_image > size_N).any() or (ends_json > size_N).any():
        yield "has a member beyond the end of its shard"
    length = ends_image.clip(min=ends_json) - offset_image.clip(max=offset_json)
    if (length > MAX_SAMPLE).any() or (length > bytes_image + bytes_json + MAX_GAP).any():
        yield "has a sample whose members are too large, or not next to each other"


def _flat(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.list_flatten(column) if pa.types.is_list(column.type) else column
