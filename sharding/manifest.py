"""The manifest: one row per sample and what holds for the whole data set, as one Parquet file.

In: rows and metadata, or the URL of a data set. Out: the file's bytes, or `Manifest`. Checking it against the shards is
in `verify`.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from sharding.contract import FORMAT_VERSION, MANIFEST_NAME, MANIFEST_SCHEMA, METADATA_KEYS, UserError
from sharding.store.base import Store
from sharding.store.locations import open_store


@dataclass(frozen=True)
class Manifest:
    """The table (MANIFEST_SCHEMA), its metadata (METADATA_KEYS) and a fingerprint that any change of either changes."""

    table: pa.Table
    metadata: dict[str, Any]
    fingerprint: str


def encode(rows: pa.Table, settings: dict[str, Any], shards: dict[str, Any], counts: dict[str, Any]) -> bytes:
    """The Parquet file; the same rows and metadata give the same bytes."""
    metadata = {"format_version": FORMAT_VERSION, "settings": settings, "shards": shards, "counts": counts}
    texts = {name: json.dumps(metadata[name], sort_keys=True) for name in METADATA_KEYS}
    table = rows.cast(MANIFEST_SCHEMA).replace_schema_metadata(texts)
    buffer = io.BytesIO()
    pa.parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read(url: str) -> Manifest:
    """The manifest of the data set at `url`; raises UserError where there is none or it has another format."""
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
        metadata = {name: json.loads((table.schema.metadata or {})[name.encode()]) for name in METADATA_KEYS}
    except (pa.ArrowInvalid, pa.ArrowException, KeyError, ValueError, OSError, RecursionError):
        raise UserError(f"{store.url}: {MANIFEST_NAME} is damaged or no manifest; build the data set again") from None
    if metadata["format_version"] != FORMAT_VERSION:
        raise UserError(
            f"{store.url}: format {metadata['format_version']}, this version reads {FORMAT_VERSION}; build it again"
        )
    if not table.schema.equals(MANIFEST_SCHEMA):
        raise UserError(f"{store.url}: {MANIFEST_NAME} has other columns than format {FORMAT_VERSION}; build it again")
    return Manifest(table, metadata, hashlib.sha256(data).hexdigest())
