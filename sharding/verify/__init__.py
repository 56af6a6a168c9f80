"""A data set → the list of what is wrong with it.

In: the URL of shards and manifest. Out: `Findings`: one line per fault, none for a sound data set, and the leaks
between its splits. Every byte is read once, in bounded memory. Nothing is mended here.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sharding import leaks, manifest, progress
from sharding.contract import AUDIT_NAME, MANIFEST_NAME, QUARANTINE_NAME
from sharding.leaks import Kind, Leak
from sharding.store.base import Store
from sharding.store.locations import open_store
from sharding.verify import verify_table
from sharding.verify.verify_shard import faults_of_shard

READERS = 4  # shards read at a time: checksums and downloads leave the interpreter to the others
SIDE_FILES = (MANIFEST_NAME, QUARANTINE_NAME, AUDIT_NAME)
MEND = "build again with --same-patient FILE, which `verify --leaks FILE` writes"


@dataclass(frozen=True)
class Findings:
    """The faults in words, leaks across splits among them; all leaks, also those within one split; what was counted."""

    faults: list[str]
    leaks: list[Leak]
    counts: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        listed = [asdict(leak) for leak in self.leaks]
        return {"sound": not self.faults, "faults": self.faults, "counts": self.counts, "leaks": listed}

    def lines(self) -> list[str]:
        """As printed: the faults, or that there are none; then what is worth knowing."""
        notes = [f"{what}: {count}" for what, count in self.counts.items() if count]
        return (self.faults or ["sound: every checksum, offset and count agrees, and no split leaks"]) + notes


def check(url: str) -> Findings:
    """Check every checksum, offset, count and member, then look for leaks.

    Raises UserError where there is no data set to check, or its manifest cannot be read at all.
    """
    store = open_store(url)
    found = manifest.read_from(store)
    faults = verify_table.faults_of_metadata(found.metadata) or verify_table.faults_of_rows(found)
    if faults:
        return Findings(faults, [], {})  # what such a manifest says cannot be looked up in the shards
    faults = [*verify_table.faults_of_counts(found), *verify_table.faults_of_quarantine(store, found)]
    faults += [*verify_table.faults_of_audit(store, found), *_faults_of_files(store, found)]
    faults += _faults_of_shards(store, found)
    leaking = leaks.find(found.table, store)
    faults += [_line(leak) for leak in leaking if leak.across]
    return Findings(faults, leaking, _counts(found.table, leaking))


def verify(url: str) -> list[str]:
    """The faults alone; raises UserError as `check` does."""
    return check(url).faults


def _faults_of_files(store: Store, found: manifest.Manifest) -> Iterator[str]:
    listed = {*found.metadata["shards"], *SIDE_FILES}
    for name in store.list():
        if name not in listed:
            yield f"{name.encode('unicode_escape').decode()[:100]}: not named in the manifest; take it out"


def _faults_of_shards(store: Store, found: manifest.Manifest) -> list[str]:
    shards: dict[str, Any] = found.metadata["shards"]
    rows = _rows_of_shards(found.table)
    readers = min(READERS, os.cpu_count() or 1)
    total = sum(said["bytes"] for said in shards.values())
    with ThreadPoolExecutor(readers) as pool, progress.bar("shards", total, in_bytes=True) as advance:

        def faults_of(name: str) -> list[str]:
            table = found.table.take(rows.get(name, pa.array([], pa.int64())))
            return faults_of_shard(store, name, shards[name], table.to_pylist(), advance)

        return [fault for faults in pool.map(faults_of, sorted(shards)) for fault in faults]


def _rows_of_shards(table: pa.Table) -> dict[str, pa.Array]:
    """The row numbers of each shard, in order."""
    encoded = table["shard"].combine_chunks().dictionary_encode()
    codes = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(encoded.dictionary) + 1))
    return {
        name: pa.array(order[first:last])
        for name, first, last in zip(encoded.dictionary.to_pylist(), bounds, bounds[1:], strict=False)
    }


def _line(leak: Leak) -> str:
    if leak.kind == Kind.SPLITS:
        return (
            f"leak: patient {leak.patient} stands in {leak.split} and {leak.other_split} (images {leak.key} and "
            f"{leak.other_key}); correct the splits of the source, or leave the patient out"
        )
    return (
        f"leak: patients {leak.patient} in {leak.split} and {leak.other_patient} in {leak.other_split} have "
        f"{leak.kind} ({leak.key} and {leak.other_key}, agreement {leak.agreement:.2f}); {MEND}"
    )


def _counts(table: pa.Table, found: list[Leak]) -> dict[str, int]:
    """How many leaks of each kind across splits, pairs within one, reports alike, and patients that hang together."""
    across = Counter(leak.kind for leak in found if leak.across)
    together = leaks.groups(found)
    return {
        "patients in two splits": across[Kind.SPLITS],
        "equal images across splits": across[Kind.EXACT],
        "nearly equal images across splits": across[Kind.NEAR],
        "image pairs of two patients within a split": sum(not leak.across for leak in found),
        "patients that look like another": sum(map(len, together)),
        "largest group of patients that look like one": max(map(len, together), default=0),
        "reports word for word under two patients in two splits": leaks.repeated_texts(table),
    }
