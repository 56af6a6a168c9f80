"""Shards → decoded samples, one at a time, by byte offset and checked against the manifest.

In: the folder or URL of the shards, and a split. Out: `Sample`s by index, the fingerprint of what is trained on. The
order is in `plan`, resizing and padding in `batch`. A reader may be forked and pickled: it opens files when it reads.
"""

# H rows, W columns
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sentalign.config import Tag
from sentalign.stream.read.byte_ranges import DamagedError, SpanReader
from sentalign.stream.read.cache import Cache
from sentalign.stream.read.validate import SHA256, sound_shards, span
from sharding import manifest, pixels
from sharding.contract import IMAGE_MEMBERS, Rejected, UserError
from sharding.store import locations

Grey = NDArray[np.uint8]
OF_A_ROW = (
    *("key", "shard", "image_member", "patient", "study"),
    *("image_offset", "image_bytes", "image_sha256", "json_offset", "json_bytes", "json_sha256"),
)
TAGS = frozenset(get_args(Tag))
COLUMNS = (*OF_A_ROW, "sentence_count", "text_hashes")


@dataclass(frozen=True)
class Sample:
    """One picture in display space and what its report says, in the report's order."""

    key: str
    grey_HW: Grey
    sentences: tuple[str, ...]
    tags: tuple[frozenset[str], ...]
    hashes: tuple[str, ...]
    patient: str
    study: str


Members = tuple[bytes, bytes]


class Shards:
    """The samples of one split that have a sentence; index i is row i of them in the manifest.

    `without_text` counts the rows of the split that are kept in the shards but never trained on. `fingerprint` is the
    manifest's: any change of it is other data. `shard_N` numbers the shard of each sample.
    """

    def __init__(self, url: str, split: str, patience: float | None = None, cache: Cache | None = None) -> None:
        """Reads the manifest; `patience` and `cache` are those of `SpanReader`.

        Raises UserError where there is no sound manifest, or no sample of the split has a sentence.
        """
        self.url, self.split = url, split
        found = manifest.read(url)
        self.fingerprint = found.fingerprint
        described = sound_shards(url, found)
        table, rows = _rows(found.table, split)
        # For the account: what else the data set holds.
        self.split_sizes = {one["values"]: one["counts"] for one in found.table["split"].value_counts().to_pylist()}
        # One array a column: Arrow looks a row up in them without searching chunks, and forks share them.
        self._last: tuple[int, dict[str, Any]] = (-1, {})
        self._columns = {name: rows[name].combine_chunks() for name in COLUMNS}
        self.without_text = table.num_rows - rows.num_rows
        if not len(self):
            raise UserError(f"no sample with text in split {split!r} of {url}; see `sentalign shard inspect {url}`")
        unknown = set(pc.unique(rows["image_member"]).to_pylist()) - set(IMAGE_MEMBERS)
        if unknown:
            raise UserError(f"{url} has images that are no {', '.join(IMAGE_MEMBERS)}; build the shards again")
        self.most_sentences = int(pc.max(rows["sentence_count"]).as_py())
        self.shard_N = self._columns["shard"].dictionary_encode().indices.to_numpy()
        self.local = locations.local_path(url) is not None
        used = set(pc.unique(self._columns["shard"]).to_pylist())
        read = [shard for shard in described if shard.name in used]
        self.shard_bytes = sum(shard.size for shard in read)
        self._spans = SpanReader(url, read, patience, cache)

    def __len__(self) -> int:
        return len(self._columns["key"])

    def row(self, index: int) -> dict[str, Any]:
        """The manifest's row of a sample, the columns OF_A_ROW."""
        last = self._last  # a sample's row is asked for several times, by one of several threads
        if last[0] != index:
            last = self._last = index, {name: self._columns[name][index].as_py() for name in OF_A_ROW}
        return last[1]

    def column(self, name: str) -> pa.Array:
        """One of COLUMNS for all samples."""
        return self._columns[name]

    def size(self, index: int) -> int:
        """Bytes from the first of a sample's members to the end of the last: they are neighbours in the tar."""
        begin, end = span(self.row(index))
        return end - begin

    def missing(self, index: int) -> int:
        """Bytes of its whole shard that are fetched before the sample can be read."""
        return self._spans.missing(self.row(index)["shard"])

    def read(self, index: int) -> Sample:
        """The sample of one row. Raises DamagedError with shard and key where its bytes are not the manifest's."""
        return self.decode(index, self.fetch([index])[0])

    def read_again(self, index: int) -> Sample:
        """As `read`, of a sample that was damaged on its way here, or while its shard was kept."""
        self._spans.check(self.row(index)["shard"])
        return self.read(index)

    def fetch(self, indices: Sequence[int]) -> list[bytes]:
        """The bytes of the span of each sample; neighbours are read together. Raises DamagedError, UserError."""
        rows = [self.row(index) for index in indices]
        found: dict[int, bytes] = {}
        for shard in dict.fromkeys(row["shard"] for row in rows):
            inside = [i for i, row in enumerate(rows) if row["shard"] == shard]
            found |= zip(inside, self._spans.read(shard, [span(rows[i]) for i in inside]), strict=True)
        return [found[i] for i in range(len(rows))]

    def decode(self, index: int, content: bytes) -> Sample:
        """The sample in the bytes of its span. Raises DamagedError as `read` does."""
        row = self.row(index)
        image, text = self._members(row, content)
        where = f"sample {row['key']} of {row['shard']}"
        try:
            grey_HW = pixels.read(image, row["image_member"]).grey_HW
        except Rejected as error:
            raise DamagedError(f"{where}: {error.message}; build the shards again") from None
        said, tags, hashes = _sentences(where, text)
        return Sample(row["key"], grey_HW, said, tags, hashes, row["patient"], row["study"])

    def sentences(self, index: int) -> list[str]:
        """The sentences of one row, without its picture. Raises DamagedError as `read` does."""
        row = self.row(index)
        begin = row["json_offset"]
        (content,) = self._spans.read(row["shard"], [(begin, begin + row["json_bytes"])])
        self._check(row, "json", content)
        return list(_sentences(f"sample {row['key']} of {row['shard']}", content)[0])

    def _members(self, row: dict[str, Any], content: bytes) -> Members:
        begin, _ = span(row)
        places = [row[f"{member}_offset"] - begin for member in ("image", "json")]
        image, text = (
            content[place : place + row[f"{member}_bytes"]]
            for place, member in zip(places, ("image", "json"), strict=True)
        )
        self._check(row, "image", image)
        self._check(row, "json", text)
        return image, text

    def _check(self, row: dict[str, Any], member: str, content: bytes) -> None:
        if hashlib.sha256(content).hexdigest() == row[f"{member}_sha256"]:
            return
        name = row["image_member"] if member == "image" else "json"
        raise DamagedError(
            f"{row['shard']} is damaged: the {name} of sample {row['key']} is not what the manifest says; "
            f"copy the shard again, and see `sentalign shard verify {self.url}`"
        )


def _sentences(where: str, text: bytes) -> tuple[tuple[str, ...], tuple[frozenset[str], ...], tuple[str, ...]]:
    """Texts, tags and hashes of a sample's sentences. Raises DamagedError where the member is none of this format."""
    try:
        sentences = json.loads(text)["sentences"]
        said = tuple(sentence["text"] for sentence in sentences)
        tags = tuple(frozenset(sentence["tags"]) for sentence in sentences)
        hashes = tuple(sentence["hash"] for sentence in sentences)
        "".join(said).encode()  # a lone half of a character is no text
        if said and all(map(SHA256.fullmatch, hashes)) and all(map(TAGS.issuperset, tags)):
            return said, tags, hashes
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise DamagedError(f"{where}: its json member holds no sentences; build the shards again")


def with_text(urls: Iterable[str], split: str) -> int:
    """How many samples of a split have a sentence; 0 where the split is empty. Raises UserError without a manifest."""
    return sum(int(_rows(manifest.read(url).table, split)[1].num_rows) for url in urls)


def _rows(table: pa.Table, split: str) -> tuple[pa.Table, pa.Table]:
    """The rows of a split, one column of them, and those that have a sentence, all of COLUMNS.

    A manifest of millions of rows fills gigabytes, so no more of it is copied than is used.
    """
    inside = pc.equal(table["split"], split)
    said = pc.and_(inside, pc.greater(table["sentence_count"], 0))
    return table.select(["split"]).filter(inside), table.select(COLUMNS).filter(said)
