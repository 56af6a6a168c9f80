"""Manifest → what of one person stands in several splits, and which patients look like one.

In: the manifest's table and the store of its shards. Out: `Leak` rows: patients in several splits, equal images and
nearly equal ones under two patients. Fingerprints of the manifest name the candidates; small pictures fetched from the
shards decide. The list as a file is in `same_patient`, whether a leak is a fault in `verify`.
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

from sharding import members, progress
from sharding.contract import Rejected, UserError
from sharding.leaks import alignment, neighbours, perceptual_hash
from sharding.pixels.picture import Grey
from sharding.store.base import Store

READERS = 8  # range reads under way at a time
BATCH = 64
KEPT = 20_000  # thumbnails of 16 KB that stay in memory
LEAST_PATIENCE = 300
PATIENCE_SHARE = 0.01

Pair = tuple[int, int]


class Kind(StrEnum):
    """What gives a leak away."""

    SPLITS = "one patient in two splits"
    EXACT = "the same image"
    NEAR = "nearly the same image"


@dataclass(frozen=True)
class Leak:
    """Two images, by key, patient and split; `agreement` is the correlation after alignment, 1 for equal files."""

    kind: Kind
    patient: str
    other_patient: str
    split: str
    other_split: str
    key: str
    other_key: str
    agreement: float

    @property
    def across(self) -> bool:
        """Whether it joins two splits; within one it only says that two patients may be one."""
        return self.split != self.other_split


class Joined:
    """Which of the things numbered from 0 hang together (union by the smaller number)."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, item: int) -> int:
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, one: int, other: int) -> bool:
        """False where they hang together already."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parent[high] = low
        return low != high


def find(table: pa.Table, store: Store) -> list[Leak]:
    """Every leak that is needed to join what belongs together, the surest first; pairs within one split included.

    Images without structure (an empty likeness) are like no other. Where a picture cannot be read it is passed over.
    """
    search = _Search(table)
    return [*search.splits(), *search.exact(), *search.near(store)]


def certain(table: pa.Table) -> list[Leak]:
    """The leaks that the manifest alone shows: patients in several splits, and images with the same bytes."""
    search = _Search(table)
    return [*search.splits(), *search.exact()]


def groups(leaks: Iterable[Leak]) -> list[tuple[str, ...]]:
    """The patients that hang together by the leaks, two or more each, in order."""
    return joined_names((leak.patient, leak.other_patient) for leak in leaks)


def joined_names(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """The names that hang together by the pairs, two or more each, in order."""
    pairs = [pair for pair in pairs if pair[0] != pair[1]]
    names = sorted({name for pair in pairs for name in pair})
    number = {name: index for index, name in enumerate(names)}
    joined = Joined(len(names))
    for one, other in pairs:
        joined.join(number[one], number[other])
    found: dict[int, list[str]] = {}
    for name in names:
        found.setdefault(joined.root(number[name]), []).append(name)
    return sorted(map(tuple, found.values()))


def repeated_texts(table: pa.Table) -> int:
    """Reports that stand word for word under two patients in two splits; normal chests may well read alike."""
    hashes, _ = _codes(pc.list_flatten(table["text_hashes"]))
    lengths_L = pc.list_value_length(table["text_hashes"]).to_numpy()
    ends_L = lengths_L.cumsum()
    places = (column.tolist() for column in (ends_L - lengths_L, ends_L, *_people(table)))
    first: dict[bytes, tuple[int, int]] = {}
    differs: dict[bytes, list[bool]] = {}
    for start, end, patient, split in zip(*places, strict=True):
        text = hashes[start:end].tobytes()
        if text:
            one = first.setdefault(text, (patient, split))
            seen = differs.setdefault(text, [False, False])
            seen[0] |= patient != one[0]
            seen[1] |= split != one[1]
    return sum(all(seen) for seen in differs.values())


def _people(table: pa.Table) -> list[NDArray[np.int64]]:
    return [_codes(table[name])[0] for name in ("patient", "split")]


class _Search:
    """The columns of a manifest and what was joined so far."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._patient_L, patients = _codes(table["patient"])
        self._split_L, _ = _codes(table["split"])
        self._like_L = table["image_likeness"].to_numpy(zero_copy_only=False)
        structured = pc.match_substring_regex(table["image_likeness"], perceptual_hash.PATTERN)
        self._structured_L = structured.to_numpy(zero_copy_only=False).astype(bool)
        self._joined = Joined(patients)

    def splits(self) -> Iterator[Leak]:
        """Each patient in several splits: its first image of one against the first of each other."""
        for one, other in _stars(self._patient_L, self._split_L):
            yield self._leak(Kind.SPLITS, one, other)

    def exact(self) -> Iterator[Leak]:
        """Images with the same bytes under two patients."""
        images_L, _ = _codes(self._table["image_sha256"])
        for one, other in _stars(np.where(self._structured_L, images_L, -1), self._patient_L):
            if self._join(one, other):
                yield self._leak(Kind.EXACT, one, other)

    def near(self, store: Store) -> Iterator[Leak]:
        """Images that agree once aligned, down the list of candidates until none has agreed for long."""
        thumbnail = functools.lru_cache(KEPT)(functools.partial(self._thumbnail, store))
        pairs_P2 = self._candidates()
        missed, patience = 0, max(LEAST_PATIENCE, round(PATIENCE_SHARE * len(self._like_L)))
        with ThreadPoolExecutor(READERS) as readers, progress.bar("images alike", len(pairs_P2)) as advance:
            for first in range(0, len(pairs_P2), BATCH):
                batch = [pair for pair in pairs_P2[first : first + BATCH].tolist() if self._apart(*pair)]
                list(readers.map(thumbnail, sorted({row for pair in batch for row in pair})))
                for one, other in batch:
                    agreement = _agreement(thumbnail(one), thumbnail(other))
                    missed = 0 if agreement >= alignment.SAME else missed + 1
                    if not missed and self._join(one, other):
                        yield self._leak(Kind.NEAR, one, other, agreement)
                advance(BATCH)
                if missed > patience:
                    return

    def _candidates(self) -> NDArray[np.int64]:
        """Pairs of rows, shape (P, 2): those of equal fingerprints first, then the likest of the others."""
        rows_L = np.flatnonzero(self._structured_L)
        if not len(rows_L):
            return np.empty((0, 2), np.int64)
        texts, firsts, codes = np.unique(self._like_L[rows_L].astype(str), return_index=True, return_inverse=True)
        equal_P2 = np.array(_stars(codes, self._patient_L[rows_L]), np.int64).reshape(-1, 2)
        alike_P2 = neighbours.alike(perceptual_hash.vectors(texts.tolist()), self._patient_L[rows_L[firsts]])
        return np.concatenate([rows_L[equal_P2], rows_L[firsts[alike_P2]]])

    def _thumbnail(self, store: Store, row: int) -> Grey | None:
        place = self._place(row, "shard", "image_offset", "image_bytes")
        try:
            return alignment.thumbnail(members.grey(store, place, alignment.LONG_SIDE))
        except (Rejected, UserError):
            return None  # a shard that cannot be read is a fault of its own

    def _apart(self, one: int, other: int) -> bool:
        one, other = (self._joined.root(int(self._patient_L[row])) for row in (one, other))
        return one != other

    def _join(self, one: int, other: int) -> bool:
        return self._joined.join(int(self._patient_L[one]), int(self._patient_L[other]))

    def _leak(self, kind: Kind, one: int, other: int, agreement: float = 1.0) -> Leak:
        first, second = (self._place(row, "patient", "split", "key") for row in (one, other))
        one_patient, one_split, one_key = first.values()
        other_patient, other_split, other_key = second.values()
        agreement = round(agreement, 3)
        return Leak(kind, one_patient, other_patient, one_split, other_split, one_key, other_key, agreement)

    def _place(self, row: int, *names: str) -> dict[str, Any]:
        return {name: self._table[name][row].as_py() for name in names}


def _agreement(one_HW: Grey | None, other_HW: Grey | None) -> float:
    return 0.0 if one_HW is None or other_HW is None else alignment.agreement(one_HW, other_HW)


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], int]:
    """The column's values numbered in the order in which they first stand, and how many there are."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def _stars(group_L: NDArray[np.int64], part_L: NDArray[np.int64]) -> list[Pair]:
    """For each group (negative: none) with several parts: its first row with the first row of every other part."""
    _, firsts = np.unique(group_L << 32 | part_L, return_index=True)
    rows = sorted(firsts[group_L[firsts] >= 0].tolist(), key=lambda row: (int(group_L[row]), row))
    stars = (list(found) for _, found in itertools.groupby(rows, key=lambda row: int(group_L[row])))
    return [(first, other) for first, *others in stars for other in others]
