"""Whether a manifest can be read by: names that stay in the data set, ranges that lie in their shards.

In: a manifest, which may come from anywhere. Out: the shards that it describes, or one line. What no reader relies on
is not looked at; `sentalign shard verify` looks at all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sentalign.stream.read.cache import Shard
from sharding.contract import KEY_PATTERN, MANIFEST_NAME, UserError
from sharding.manifest import Manifest

SHARD_PATTERN = re.compile(r"shard-[0-9]{6,12}\.tar")  # no folder, no scheme
SHA256 = re.compile(r"[0-9a-f]{64}")  # the name of a file, where shards are kept
MOST_SHARD = 1 << 50  # bytes; sums of two such numbers are far from overflowing
MOST_SAMPLE = 1 << 30  # bytes that are read at once; a picture of 200 megapixels of 16 bits is less
APART = 1 << 16  # bytes between the two members of a sample: a header, padding, a long name
NEEDED = ("key", "shard", "image_member", "patient", "study", "split", "sentence_count", "text_hashes")
MEMBERS = ("image_offset", "image_bytes", "image_sha256", "json_offset", "json_bytes", "json_sha256")


def span(row: dict[str, Any]) -> tuple[int, int]:
    """First byte and end of a sample in its shard."""
    begin = min(row["image_offset"], row["json_offset"])
    return begin, max(row["image_offset"] + row["image_bytes"], row["json_offset"] + row["json_bytes"])


def sound_shards(url: str, found: Manifest) -> list[Shard]:
    """The shards of a manifest by name. Raises UserError where it leads outside them; no value of it is quoted."""
    fault = next(_faults(found), None)
    if fault:
        raise UserError(f"{url}: {MANIFEST_NAME} {fault}; build or copy the data set again")
    described = found.metadata["shards"].items()
    return [Shard(name, said["sha256"], said["bytes"]) for name, said in sorted(described)]


def _faults(found: Manifest) -> Iterator[str]:
    """What is wrong, the simplest first: each check may rely on those before it."""
    table, shards = found.table, found.metadata["shards"]
    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        yield "holds words that are no text"
        return
    if not isinstance(shards, dict) or not all(_is_shard(said) for said in shards.values()):
        yield "describes its shards in no way that can be read"
    if not all(map(SHARD_PATTERN.fullmatch, shards)):
        yield "names a shard that no build names so, or one that lies elsewhere"
    if empty := [name for name in (*NEEDED, *MEMBERS) if table[name].null_count]:
        yield f"has empty fields in {', '.join(empty)}"
    if pc.list_flatten(table["text_hashes"]).null_count:
        yield "has empty fields in text_hashes"
    if not pc.all(pc.is_in(table["shard"], pa.array(list(shards), pa.string())), min_count=0).as_py():
        yield "has samples in a shard that it does not describe"
    if not pc.all(pc.match_substring_regex(table["key"], rf"\A(?:{KEY_PATTERN.pattern})\z"), min_count=0).as_py():
        yield "has a key that no build makes"
    yield from _faults_of_ranges(table, {name: said["bytes"] for name, said in shards.items()})


def _is_shard(said: Any) -> bool:
    if not isinstance(said, dict) or not isinstance(said.get("sha256"), str) or type(said.get("bytes")) is not int:
        return False
    return bool(SHA256.fullmatch(said["sha256"])) and 0 <= said["bytes"] <= MOST_SHARD


def _faults_of_ranges(table: pa.Table, sizes: dict[str, int]) -> Iterator[str]:
    """Ranges outside of a shard, and spans that would read far more than the sample."""
    places = [table[name].to_numpy() for name in ("image_offset", "image_bytes", "json_offset", "json_bytes")]
    if any((column < 0).any() or (column > MOST_SHARD).any() for column in places):
        yield "has a member at a place that no shard has"
        return
    offset_image, bytes_image, offset_json, bytes_json = places
    ends_image, ends_json = offset_image + bytes_image, offset_json + bytes_json
    coded = table["shard"].combine_chunks().dictionary_encode()
    size_N = np.array([sizes[name] for name in coded.dictionary.to_pylist()], np.int64)[coded.indices.to_numpy()]
    if (ends_image > size_N).any() or (ends_json > size_N).any():
        yield "has a member behind the end of its shard"
    length = ends_image.clip(min=ends_json) - offset_image.clip(max=offset_json)
    if (length > MOST_SAMPLE).any() or (length > bytes_image + bytes_json + APART).any():
        yield "has a sample whose members are too large, or no neighbours"
