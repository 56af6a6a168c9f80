"""Leaks: one person in several splits, and patients whose images show that they are one person.

In: the manifest's table and the store of its shards. Out: `Leak` rows: patients in several splits, equal images and
near-duplicates of two patients. The manifest's perceptual hashes give the candidates (`neighbours`); aligned thumbnails
of the images decide (`alignment`). `same_patient` is the list as a file; `verify` decides which leaks are faults.
"""

# L images, P pairs
from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sharding import progress, sample_reader
from sharding.contract import Rejected, UserError
from sharding.leaks import alignment, neighbours, perceptual_hash
from sharding.pixels.picture import Grey
from sharding.store.base import Store

READERS = 8  # parallel range reads
BATCH = 64
CACHED = 20_000  # thumbnails of 16 KB in memory
# The search stops after this many candidates in a row without a match: a share of all images, or the minimum.
MIN_MISSES, MISSES_SHARE = 300, 0.01

Pair = tuple[int, int]


class LeakKind(StrEnum):
    """What the leak was found by."""

    SPLITS = "one patient in two splits"
    EXACT = "the same image"
    NEAR = "nearly the same image"


@dataclass(frozen=True)
class Leak:
    """Two images of one person; `agreement` is the correlation after alignment, 1 for equal files."""

    kind: LeakKind
    patient: str
    other_patient: str
    split: str
    other_split: str
    key: str
    other_key: str
    agreement: float

    @property
    def crosses_splits(self) -> bool:
        """Whether the images are in two splits; within one split, two patients may be one person."""
        return self.split != self.other_split


class DisjointSets:
    """Union-find over the numbers from 0; the root of a set is its smallest number."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, item: int) -> int:
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, one: int, other: int) -> bool:
        """Merges two sets; False if they are one already."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parent[high] = low
        return low != high


def find(table: pa.Table, store: Store) -> list[Leak]:
    """The leaks that connect all images of one person, the surest first; pairs within one split included.

    Images without structure (an empty hash) match no other. An image that cannot be read is skipped.
    """
    search = _Search(table)
    return [*search.splits(), *search.exact(), *search.near(store)]


def certain(table: pa.Table) -> list[Leak]:
    """The leaks that are found in the manifest alone: patients in several splits, and images with the same bytes."""
    search = _Search(table)
    return [*search.splits(), *search.exact()]


def groups(leaks: Iterable[Leak]) -> list[tuple[str, ...]]:
    """The groups of two or more patients that the leaks connect, in order."""
    return connected_names((leak.patient, leak.other_patient) for leak in leaks)


def connected_names(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """The groups of two or more names that the pairs connect, in order."""
    pairs = [pair for pair in pairs if pair[0] != pair[1]]
    names = sorted({name for pair in pairs for name in pair})
    number = {name: index for index, name in enumerate(names)}
    sets = DisjointSets(len(names))
    for one, other in pairs:
        sets.join(number[one], number[other])
    members_of: dict[int, list[str]] = {}
    for name in names:
        members_of.setdefault(sets.root(number[name]), []).append(name)
    return sorted(map(tuple, members_of.values()))


def repeated_texts(table: pa.Table) -> int:
    """Reports that two patients in two splits share word for word; reports of normal chests often do."""
    hashes, _ = _codes(pc.list_flatten(table["text_hashes"]))
    lengths_L = pc.list_value_length(table["text_hashes"]).to_numpy()
    ends_L = lengths_L.cumsum()
    columns = (ends_L - lengths_L, ends_L, *(_codes(table[name])[0] for name in ("patient", "split")))
    first: dict[bytes, tuple[int, int]] = {}
    differs: dict[bytes, list[bool]] = {}
    for start, end, patient, split in zip(*(column.tolist() for column in columns), strict=True):
        text = hashes[start:end].tobytes()
        if text:
            one = first.setdefault(text, (patient, split))
            seen = differs.setdefault(text, [False, False])
            seen[0] |= patient != one[0]
            seen[1] |= split != one[1]
    return sum(all(seen) for seen in differs.values())


class _Search:
    """The columns of a manifest, and which patients are one person so far."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._patient_L, patients = _codes(table["patient"])
        self._split_L, _ = _codes(table["split"])
        self._hash_L = table["image_likeness"].to_numpy(zero_copy_only=False)
        structured = pc.match_substring_regex(table["image_likeness"], perceptual_hash.PATTERN)
        self._structured_L = structured.to_numpy(zero_copy_only=False).astype(bool)
        self._persons = DisjointSets(patients)

    def splits(self) -> Iterator[Leak]:
        """Patients in several splits: the first image of one split with the first of each other."""
        for one, other in _pairs(self._patient_L, self._split_L):
            yield self._leak(LeakKind.SPLITS, one, other)

    def exact(self) -> Iterator[Leak]:
        """Images of two patients with the same bytes."""
        images_L, _ = _codes(self._table["image_sha256"])
        for one, other in _pairs(np.where(self._structured_L, images_L, -1), self._patient_L):
            if self._join(one, other):
                yield self._leak(LeakKind.EXACT, one, other)

    def near(self, store: Store) -> Iterator[Leak]:
        """Images that agree after alignment, down the list of candidates until no more are found."""
        thumbnail = functools.lru_cache(CACHED)(functools.partial(self._thumbnail, store))
        pairs_P2 = self._candidates()
        misses, max_misses = 0, max(MIN_MISSES, round(MISSES_SHARE * len(self._hash_L)))
        with ThreadPoolExecutor(READERS) as readers, progress.bar("near-duplicates", len(pairs_P2)) as advance:
            for first in range(0, len(pairs_P2), BATCH):
                batch = [pair for pair in pairs_P2[first : first + BATCH].tolist() if self._differ(*pair)]
                list(readers.map(thumbnail, sorted({row for pair in batch for row in pair})))
                for one, other in batch:
                    agreement = _agreement(thumbnail(one), thumbnail(other))
                    misses = 0 if agreement >= alignment.SAME else misses + 1
                    if not misses and self._join(one, other):
                        yield self._leak(LeakKind.NEAR, one, other, agreement)
                advance(BATCH)
                if misses > max_misses:
                    return

    def _candidates(self) -> NDArray[np.int64]:
        """Pairs of rows, shape (P, 2): those of equal hashes first, then by similarity."""
        rows_L = np.flatnonzero(self._structured_L)
        if not len(rows_L):
            return np.empty((0, 2), np.int64)
        hashes, firsts, codes = np.unique(self._hash_L[rows_L].astype(str), return_index=True, return_inverse=True)
        equal_P2 = np.array(_pairs(codes, self._patient_L[rows_L]), np.int64).reshape(-1, 2)
        similar_P2 = neighbours.candidates(perceptual_hash.vectors(hashes.tolist()), self._patient_L[rows_L[firsts]])
        return np.concatenate([rows_L[equal_P2], rows_L[firsts[similar_P2]]])

    def _thumbnail(self, store: Store, row: int) -> Grey | None:
        location = self._values(row, "shard", "image_offset", "image_bytes")
        try:
            return alignment.thumbnail(sample_reader.grey(store, location, alignment.LONG_SIDE))
        except (Rejected, UserError):
            return None  # `verify` reports a shard that cannot be read

    def _differ(self, one: int, other: int) -> bool:
        one, other = (self._persons.root(int(self._patient_L[row])) for row in (one, other))
        return one != other

    def _join(self, one: int, other: int) -> bool:
        return self._persons.join(int(self._patient_L[one]), int(self._patient_L[other]))

    def _leak(self, kind: LeakKind, one: int, other: int, agreement: float = 1.0) -> Leak:
        first, second = (self._values(row, "patient", "split", "key") for row in (one, other))
        one_patient, one_split, one_key = first.values()
        other_patient, other_split, other_key = second.values()
        agreement = round(agreement, 3)
        return Leak(kind, one_patient, other_patient, one_split, other_split, one_key, other_key, agreement)

    def _values(self, row: int, *names: str) -> dict[str, Any]:
        return {name: self._table[name][row].as_py() for name in names}


def _agreement(one_HW: Grey | None, other_HW: Grey | None) -> float:
    return 0.0 if one_HW is None or other_HW is None else alignment.agreement(one_HW, other_HW)


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], int]:
    """The column's values, numbered in order of first occurrence, and how many there are."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def _pairs(group_L: NDArray[np.int64], part_L: NDArray[np.int64]) -> list[Pair]:
    """For each group (negative: none) of several parts: its first row, paired with the first row of each other part."""
    _, firsts = np.unique(group_L << 32 | part_L, return_index=True)
    rows = sorted(firsts[group_L[firsts] >= 0].tolist(), key=lambda row: (int(group_L[row]), row))
    groups = (list(members) for _, members in itertools.groupby(rows, key=lambda row: int(group_L[row])))
    return [(first, other) for first, *others in groups for other in others]
