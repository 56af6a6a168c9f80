"""Shards → decoded samples, one at a time, by byte offset and checked against the manifest.

In: the folder or URL of the shards, and a split. Out: `DecodedSample`s by index, sentences, the fingerprint of the
data. The order is in `stream/order`, padding in `batch`. May be forked and pickled: files are opened by the first read.
"""

# N samples, H rows, W columns
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sentalign.config import Tag
from sentalign.stream.order.plan import Indices
from sentalign.stream.read import duplicate_keys
from sentalign.stream.read.byte_ranges import DamagedError, RangeReader
from sentalign.stream.read.cache import PIECE, Cache
from sentalign.stream.read.manifest_index import COLUMNS, OF_A_ROW, read_index
from sharding import pixels
from sharding.contract import IMAGE_MEMBERS, Rejected, UserError
from sharding.manifest import SHA256
from sharding.store import locations

Grey = NDArray[np.uint8]
Report = tuple[tuple[str, ...], tuple[frozenset[str], ...], tuple[str, ...]]  # texts, tags and hashes of its sentences
TAGS = frozenset(get_args(Tag))
KEY_COLUMNS = {"text": "text_hashes", "patient": "patient", "study": "study"}  # of the manifest, by data.duplicate_keys
THREADS = 16  # concurrent requests for the sentences of all samples


@dataclass(frozen=True)
class DecodedSample:
    """One picture in display space, and the sentences of its report in order."""

    key: str
    grey_HW: Grey
    sentences: tuple[str, ...]
    tags: tuple[frozenset[str], ...]
    hashes: tuple[str, ...]
    patient: str
    study: str


class Shards:
    """The samples of one split that have a sentence, in the order of the manifest.

    `without_text` counts the samples of the split that training leaves out. `fingerprint` is the manifest's.
    """

    def __init__(self, url: str, split: str, timeout: float | None = None, cache: Cache | None = None) -> None:
        """Reads the manifest; `timeout` and `cache` are those of `RangeReader`.

        Raises UserError where there is no valid manifest, or no sample of the split has a sentence.
        """
        self.url, self.split = url, split
        index = read_index(url)
        self.fingerprint, self.split_sizes = index.fingerprint, index.split_sizes
        if not index.count(split):
            raise UserError(f"no sample with text in split {split!r} of {url}; see `sentalign shard inspect {url}`")
        rows = index.rows[split]
        self.without_text = index.split_sizes[split] - rows.num_rows
        # One array a column: Arrow looks a row up in them without searching chunks, and forks share them.
        self._columns = {name: rows[name].combine_chunks() for name in COLUMNS}
        if set(pc.unique(rows["image_member"]).to_pylist()) - set(IMAGE_MEMBERS):
            raise UserError(f"{url} has images that are no {', '.join(IMAGE_MEMBERS)}; build the shards again")
        self.max_sentences = int(pc.max(rows["sentence_count"]).as_py())
        coded = self._columns["shard"].dictionary_encode()
        self.shard_N: Indices = coded.indices.to_numpy()
        used = set(coded.dictionary.to_pylist())
        shards = [shard for shard in index.shards if shard.name in used]
        self.shard_bytes = sum(shard.size for shard in shards)
        self.local = locations.local_path(url) is not None
        self._reader = RangeReader(url, shards, timeout, cache)
        self._groups: dict[tuple[str, ...], Indices] = {}
        self._last: tuple[int, dict[str, Any]] = (-1, {})

    def __len__(self) -> int:
        return len(self._columns["key"])

    def row(self, index: int) -> dict[str, Any]:
        """The manifest's row of a sample, the columns OF_A_ROW."""
        last = self._last  # a sample's row is read several times, by one of several threads
        if last[0] != index:
            last = self._last = index, {name: self._columns[name][index].as_py() for name in OF_A_ROW}
        return last[1]

    def column(self, name: str) -> pa.Array:
        """One of COLUMNS for all samples."""
        return self._columns[name]

    def duplicate_groups(self, keys: Sequence[str]) -> Indices:
        """(N, G): equal numbers for samples of one text, patient or study, as `data.duplicate_keys` lists them."""
        if (key := tuple(keys)) not in self._groups:
            self._groups[key] = duplicate_keys.duplicate_groups([self._columns[KEY_COLUMNS[kind]] for kind in key])
        return self._groups[key]

    def spans(self) -> tuple[Indices, Indices]:
        """First byte and end of each sample in its shard, both (N,): its members are neighbours in the tar."""
        names = ("image_offset", "json_offset", "image_bytes", "json_bytes")
        image_N, json_N, image_size_N, json_size_N = (self._columns[name].to_numpy() for name in names)
        return np.minimum(image_N, json_N), np.maximum(image_N + image_size_N, json_N + json_size_N)

    def size(self, index: int) -> int:
        """Bytes from the first of a sample's members to the end of the last."""
        begin, end = _span(self.row(index))
        return end - begin

    def missing(self, index: int) -> int:
        """Bytes of its whole shard that are fetched before the sample can be read."""
        return self._reader.missing(self.row(index)["shard"])

    def read(self, index: int) -> DecodedSample:
        """The sample of one row. Raises DamagedError with shard and key where its bytes are not the manifest's."""
        return self.decode(index, self.fetch([index])[0])

    def read_again(self, index: int) -> DecodedSample:
        """As `read`, for a sample that was damaged in transit or in the cache."""
        self._reader.check(self.row(index)["shard"])
        return self.read(index)

    def fetch(self, indices: Sequence[int]) -> list[bytes]:
        """The bytes of each sample; neighbours are read together. Raises DamagedError, UserError."""
        rows = [self.row(index) for index in indices]
        contents: dict[int, bytes] = {}
        for shard in dict.fromkeys(row["shard"] for row in rows):
            inside = [i for i, row in enumerate(rows) if row["shard"] == shard]
            contents |= zip(inside, self._reader.read(shard, [_span(rows[i]) for i in inside]), strict=True)
        return [contents[i] for i in range(len(rows))]

    def decode(self, index: int, content: bytes) -> DecodedSample:
        """The sample in its bytes, as `fetch` returns them. Raises DamagedError as `read` does."""
        row = self.row(index)
        begin, _ = _span(row)
        image, text = (self._member(row, member, content, begin) for member in ("image", "json"))
        try:
            grey_HW = pixels.read(image, row["image_member"]).grey_HW
        except Rejected as error:
            raise DamagedError(f"{_name(row)}: {error.message}; build the shards again") from None
        return DecodedSample(row["key"], grey_HW, *parse_sentences(_name(row), text), row["patient"], row["study"])

    def report(self, index: int) -> Report:
        """Texts, tags and hashes of a sample's sentences, without its picture. Raises DamagedError as `read` does."""
        return self._reports_of([index])[0]

    def sentences(self) -> Iterator[str]:
        """The sentences of all samples, without pictures. Raises DamagedError as `read` does.

        A remote store is read in large pieces, pictures included: a request for each report would take hours.
        """
        with ThreadPoolExecutor(1 if self.local else THREADS) as pool:
            for reports in pool.map(self._reports_of, self._pieces(0 if self.local else PIECE)):
                for texts, _, _ in reports:
                    yield from texts

    def _pieces(self, size: int) -> Iterator[list[int]]:
        """All samples, as those of one shard that lie within `size` bytes; at least one in each piece."""
        begin_N, end_N = self.spans()
        piece: list[int] = []
        for i in np.lexsort((begin_N, self.shard_N)).tolist():
            if piece and (self.shard_N[i] != self.shard_N[piece[0]] or end_N[i] - begin_N[piece[0]] > size):
                yield piece
                piece = []
            piece.append(i)
        yield piece

    def _reports_of(self, indices: Sequence[int]) -> list[Report]:
        rows = [self.row(index) for index in indices]
        begin = min(row["json_offset"] for row in rows)
        end = max(row["json_offset"] + row["json_bytes"] for row in rows)
        (content,) = self._reader.read(rows[0]["shard"], [(begin, end)])
        return [parse_sentences(_name(row), self._member(row, "json", content, begin)) for row in rows]

    def _member(self, row: dict[str, Any], member: str, content: bytes, begin: int) -> bytes:
        """The member `image` or `json` of a sample, in bytes of its shard from `begin` on; DamagedError as `read`."""
        place = row[f"{member}_offset"] - begin
        part = content[place : place + row[f"{member}_bytes"]]
        if hashlib.sha256(part).hexdigest() == row[f"{member}_sha256"]:
            return part
        name = row["image_member"] if member == "image" else "json"
        raise DamagedError(
            f"{row['shard']} is damaged: the checksum of the {name} of sample {row['key']} is not the manifest's; "
            f"copy the shard again, and see `sentalign shard verify {self.url}`"
        )


def _span(row: dict[str, Any]) -> tuple[int, int]:
    """First byte and end of a sample in its shard."""
    begin = min(row["image_offset"], row["json_offset"])
    return begin, max(row["image_offset"] + row["image_bytes"], row["json_offset"] + row["json_bytes"])


def _name(row: dict[str, Any]) -> str:
    return f"sample {row['key']} of {row['shard']}"


def parse_sentences(name: str, text: bytes) -> Report:
    """Texts, tags and hashes of a sample's sentences. Raises DamagedError where the member has another format."""
    try:
        sentences = json.loads(text)["sentences"]
        texts = tuple(sentence["text"] for sentence in sentences)
        tags = tuple(frozenset(sentence["tags"]) for sentence in sentences)
        hashes = tuple(sentence["hash"] for sentence in sentences)
        "".join(texts).encode()  # raises for a lone surrogate
        if texts and all(map(SHA256.fullmatch, hashes)) and all(map(TAGS.issuperset, tags)):
            return texts, tags, hashes
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise DamagedError(f"{name}: its json member holds no sentences; build the shards again")
