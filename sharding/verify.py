"""A data set → the list of what is wrong with it.

In: the URL of shards and manifest. Out: one line per fault, none for a sound data set. Nothing is mended here.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from typing import Any

from rich.console import Console
from rich.progress import track

from sharding import manifest
from sharding.contract import IMAGE_MEMBERS, KEY_PATTERN, MANIFEST_NAME, QUARANTINE_NAME, text_hash
from sharding.run import AUDIT_NAME
from sharding.storage import Store, open_store

SIDE_FILES = frozenset((MANIFEST_NAME, QUARANTINE_NAME, AUDIT_NAME))


def verify(url: str) -> list[str]:
    """Check every checksum, offset, count and member; raises UserError where there is no data set to check."""
    store = open_store(url)
    found = manifest.read_from(store)
    shards: dict[str, Any] = found.metadata["shards"]
    names = set(store.list())
    faults = [f"{name}: named in the manifest and missing" for name in sorted(set(shards) - names)]
    faults += [f"{name}: not named in the manifest" for name in sorted(names - set(shards) - SIDE_FILES)]
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in shards}
    for row in found.table.to_pylist():
        rows.setdefault(row["shard"], []).append(row)
    faults += [f"{name}: has rows in the manifest and no checksum" for name in sorted(set(rows) - set(shards))]
    faults += _wrong_counts(found)
    present = sorted(set(shards) & names)
    for name in track(present, "shards", console=Console(stderr=True), disable=not sys.stderr.isatty()):
        faults += _faults_of_shard(store, name, shards[name], rows[name])
    return faults


def _wrong_counts(found: manifest.Manifest) -> list[str]:
    counts, shards = found.metadata["counts"], found.metadata["shards"]
    keys = found.table["key"].to_pylist()
    faults = []
    if counts["samples"] != len(keys) or sum(shard["samples"] for shard in shards.values()) != len(keys):
        faults.append(f"{MANIFEST_NAME}: counts {counts['samples']} samples and has {len(keys)} rows")
    if len(set(keys)) != len(keys):
        faults.append(f"{MANIFEST_NAME}: {len(keys) - len(set(keys))} keys stand twice")
    if counts["read"] != counts["samples"] + sum(counts["rejected"].values()):
        faults.append(f"{MANIFEST_NAME}: read is not samples plus rejected")
    return faults


def _faults_of_shard(store: Store, name: str, said: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    data = store.get(name)
    faults = []
    if len(data) != said["bytes"]:
        faults.append(f"{name}: {len(data)} bytes, the manifest says {said['bytes']}")
    if hashlib.sha256(data).hexdigest() != said["sha256"]:
        faults.append(f"{name}: checksum differs from the manifest")
    if len(rows) != said["samples"]:
        faults.append(f"{name}: {len(rows)} rows, the manifest says {said['samples']}")
    places, broken = _members(name, data)
    faults += broken
    expected = {f"{row['key']}.{member}" for row in rows for member in (row["image_member"], "json")}
    faults += [f"{name}: {member} stands in no row" for member in sorted(set(places) - expected)]
    return faults + [fault for row in rows for fault in _faults_of_row(name, data, places, row)]


def _members(name: str, data: bytes) -> tuple[dict[str, tuple[int, int]], list[str]]:
    places: dict[str, tuple[int, int]] = {}
    faults = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                if not member.isreg() or kind not in (*IMAGE_MEMBERS, "json") or not KEY_PATTERN.fullmatch(key):
                    faults.append(f"{name}: a member that does not belong in a shard")
                elif member.name in places:
                    faults.append(f"{name}: {member.name} stands twice")
                places[member.name] = (member.offset_data, member.size)
    except tarfile.TarError:
        faults.append(f"{name}: no readable tar")
    return places, faults


def _faults_of_row(name: str, data: bytes, places: dict[str, tuple[int, int]], row: dict[str, Any]) -> list[str]:
    faults = []
    for part, member in (("image", row["image_member"]), ("json", "json")):
        offset, length = row[f"{part}_offset"], row[f"{part}_bytes"]
        if places.get(f"{row['key']}.{member}") != (offset, length):
            faults.append(f"{name}: {row['key']}.{member} is not where the manifest says")
        elif hashlib.sha256(data[offset : offset + length]).hexdigest() != row[f"{part}_sha256"]:
            faults.append(f"{name}: {row['key']}.{member} differs from its checksum")
    return faults or _disagreements(name, data[row["json_offset"] : row["json_offset"] + row["json_bytes"]], row)


def _disagreements(name: str, description: bytes, row: dict[str, Any]) -> list[str]:
    try:
        said = json.loads(description)
        hashes = [text_hash(sentence["text"]) for sentence in said["sentences"]]
        agrees = hashes == row["text_hashes"] == [sentence["hash"] for sentence in said["sentences"]]
        agrees &= all(said[part] == row[part] for part in ("view", "study", "patient", "split"))
        agrees &= row["sentence_count"] == len(hashes)
        agrees &= (said["geometry"]["height"], said["geometry"]["width"]) == (row["height"], row["width"])
    except (ValueError, KeyError, TypeError):
        return [f"{name}: {row['key']}.json cannot be read"]
    return [] if agrees else [f"{name}: {row['key']}.json and its row disagree"]
