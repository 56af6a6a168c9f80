"""A data set → the list of its faults (`sentalign shard verify`).

In: the URL of shards and manifest. Out: `Findings`: one line per fault, none for a valid data set, and the leaks
between its splits. Every byte of a shard is read once, in bounded memory. Nothing is repaired. Read this file, then
`verify_checksums` and `verify_table` (manifest, quarantine, audit), `verify_shard` (one shard), `tarwalk` (its members)
and `verify_sample` (their content).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from sharding import checksums, leaks, manifest, progress
from sharding.contract import CHECKSUMS_NAME
from sharding.leaks import Leak, LeakKind
from sharding.store.base import Store
from sharding.store.locations import open_store
from sharding.verify import verify_checksums, verify_table
from sharding.verify.verify_shard import faults_of_shard

READERS = 4  # shards read at once: checksums and downloads release the interpreter lock
SIDE_FILES = (*checksums.COVERED, CHECKSUMS_NAME)
REMEDY = "build again with --same-patient FILE, which `verify --leaks FILE` writes"


@dataclass(frozen=True)
class Findings:
    """The faults in words, including leaks across splits; all leaks, also within one split; counts of leaks; notes."""

    faults: list[str]
    leaks: list[Leak]
    counts: dict[str, int]
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        listed = [asdict(leak) for leak in self.leaks]
        counts = {"counts": self.counts, "leaks": listed, "notes": self.notes}
        return {"valid": not self.faults, "faults": self.faults, **counts}

    def lines(self) -> list[str]:
        """As printed: the faults, or that there are none; then the counts."""
        notes = [f"note: {note}" for note in self.notes]
        notes += [f"{kind}: {count}" for kind, count in self.counts.items() if count]
        return (self.faults or ["valid: every checksum, offset and count agrees, and no split leaks"]) + notes


def check(url: str) -> Findings:
    """Check every checksum, offset, count and member, then search for leaks.

    Raises UserError if there is no data set to check, or its manifest cannot be read at all.
    """
    store = open_store(url)
    data_set = manifest.read_from(store)
    changed, notes = verify_checksums.absence(store, data_set.metadata)
    changed += verify_checksums.faults_of_files(store)
    faults = verify_table.faults_of_metadata(data_set.metadata) or verify_table.faults_of_rows(data_set)
    if faults:
        return Findings(changed + faults, [], {})  # such a manifest does not lead to the shards
    faults = [*changed, *verify_table.faults_of_counts(data_set), *verify_table.faults_of_quarantine(store, data_set)]
    faults += [*verify_table.faults_of_audit(store, data_set), *_faults_of_files(store, data_set)]
    faults += _faults_of_shards(store, data_set)
    all_leaks = leaks.find(data_set.table, store)
    faults += [_line(leak) for leak in all_leaks if leak.crosses_splits]
    return Findings(faults, all_leaks, _counts(data_set.table, all_leaks), notes)


def verify(url: str) -> list[str]:
    """The faults alone; raises UserError as `check` does."""
    return check(url).faults


def _faults_of_files(store: Store, data_set: manifest.Manifest) -> Iterator[str]:
    listed = {*data_set.metadata["shards"], *SIDE_FILES}
    for name in store.list():
        if name not in listed:
            yield f"{name.encode('unicode_escape').decode()[:100]}: not in the manifest; remove it"


def _faults_of_shards(store: Store, data_set: manifest.Manifest) -> list[str]:
    shards: dict[str, Any] = data_set.metadata["shards"]
    rows = _rows_of_shards(data_set.table)
    readers = min(READERS, os.cpu_count() or 1)
    total = sum(shard["bytes"] for shard in shards.values())
    with ThreadPoolExecutor(readers) as pool, progress.bar("shards", total, in_bytes=True) as advance:

        def faults_of(name: str) -> list[str]:
            table = data_set.table.take(rows.get(name, pa.array([], pa.int64())))
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
    if leak.kind == LeakKind.SPLITS:
        return (
            f"leak: patient {leak.patient} is in {leak.split} and {leak.other_split} (images {leak.key} and "
            f"{leak.other_key}); correct the splits of the source, or leave the patient out"
        )
    return (
        f"leak: patients {leak.patient} in {leak.split} and {leak.other_patient} in {leak.other_split} have "
        f"{leak.kind} ({leak.key} and {leak.other_key}, agreement {leak.agreement:.2f}); {REMEDY}"
    )


def _counts(table: pa.Table, all_leaks: list[Leak]) -> dict[str, int]:
    """Leaks across splits by kind, pairs within one, repeated reports, and groups of patients that look like one."""
    across = Counter(leak.kind for leak in all_leaks if leak.crosses_splits)
    groups = leaks.groups(all_leaks)
    return {
        "patients in two splits": across[LeakKind.SPLITS],
        "equal images across splits": across[LeakKind.EXACT],
        "nearly equal images across splits": across[LeakKind.NEAR],
        "image pairs of two patients within a split": sum(not leak.crosses_splits for leak in all_leaks),
        "patients that look like another": sum(map(len, groups)),
        "largest group of patients that look like one": max(map(len, groups), default=0),
        "reports word for word under two patients in two splits": leaks.repeated_texts(table),
    }
