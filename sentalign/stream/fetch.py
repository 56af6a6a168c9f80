"""Shards → decoded samples, one at a time, by byte offset and checked against the manifest.

In: the folder or URL of the shards, and a split. Out: `Sample`s by index, the fingerprint of what is trained on. The
order is in `plan`, resizing and padding in `batch`. A reader may be forked and pickled: it opens files when it reads.
"""

# H rows, W columns
from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sharding import manifest, pixels, storage
from sharding.contract import IMAGE_MEMBERS, Rejected, UserError

Grey = NDArray[np.uint8]
OPEN_FILES = 256  # of one process; the soft limit of many systems is 1,024 for everything
COLUMNS = (
    *("key", "shard", "image_member", "patient", "study", "sentence_count"),
    *("image_offset", "image_bytes", "image_sha256", "json_offset", "json_bytes", "json_sha256"),
)


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


class Shards:
    """The samples of one split that have a sentence; index i is row i of them in the manifest.

    `without_text` counts the rows of the split that are kept in the shards but never trained on. `fingerprint` is the
    manifest's: any change of it is other data.
    """

    def __init__(self, url: str, split: str) -> None:
        """Reads the manifest. Raises UserError where there is none, or no sample of the split has a sentence."""
        self.url, self.split = url, split
        found = manifest.read(url)
        self.fingerprint = found.fingerprint
        table, rows = _rows(found.table, split)
        # One array a column: Arrow looks a row up in them without searching chunks, and forks share them.
        self._columns = {name: rows[name].combine_chunks() for name in COLUMNS}
        self.without_text = table.num_rows - rows.num_rows
        if not len(self):
            raise UserError(f"no sample with text in split {split!r} of {url}; see `sentalign shard inspect {url}`")
        unknown = set(pc.unique(rows["image_member"]).to_pylist()) - set(IMAGE_MEMBERS)
        if unknown:
            raise UserError(f"{url} has images of unknown kind {', '.join(sorted(unknown))}; build the shards again")
        self.most_sentences = int(pc.max(rows["sentence_count"]).as_py())
        self.folder = storage.local_path(url)
        self._files: OrderedDict[str, FileIO] = OrderedDict()
        self._store: storage.Store | None = None

    def __len__(self) -> int:
        return len(self._columns["key"])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict(), "_store": None}

    def read(self, index: int) -> Sample:
        """The sample of one row. Raises UserError with shard and key where its bytes are not the manifest's."""
        row = {name: column[index].as_py() for name, column in self._columns.items()}
        image, text = self._members(row)
        where = f"sample {row['key']} of {row['shard']}"
        try:
            grey_HW = pixels.read(image, row["image_member"]).grey_HW
        except Rejected as error:
            raise UserError(f"{where}: {error.message}; build the shards again") from None
        sentences = json.loads(text)["sentences"]
        return Sample(
            row["key"],
            grey_HW,
            tuple(sentence["text"] for sentence in sentences),
            tuple(frozenset(sentence["tags"]) for sentence in sentences),
            tuple(sentence["hash"] for sentence in sentences),
            row["patient"],
            row["study"],
        )

    def sentences(self, index: int) -> list[str]:
        """The sentences of one row, without its picture. Raises UserError as `read` does."""
        row = {name: column[index].as_py() for name, column in self._columns.items()}
        start = row["json_offset"]
        content = self._range(row["shard"], start, start + row["json_bytes"])
        self._check(row, "json", content)
        return [sentence["text"] for sentence in json.loads(content)["sentences"]]

    def _check(self, row: dict[str, Any], member: str, content: bytes) -> None:
        if hashlib.sha256(content).hexdigest() == row[f"{member}_sha256"]:
            return
        name = row["image_member"] if member == "image" else "json"
        raise UserError(
            f"{row['shard']} is damaged: the {name} of sample {row['key']} is not what the manifest says; "
            f"copy the shard again, and see `sentalign shard verify {self.url}`"
        )

    def _members(self, row: dict[str, Any]) -> tuple[bytes, bytes]:
        """Image and JSON bytes in one read: the members of a sample are neighbours in the tar."""
        begin = min(row["image_offset"], row["json_offset"])
        end = max(row["image_offset"] + row["image_bytes"], row["json_offset"] + row["json_bytes"])
        data = self._range(row["shard"], begin, end)
        found = []
        for member in ("image", "json"):
            start = row[f"{member}_offset"] - begin
            found.append(data[start : start + row[f"{member}_bytes"]])
            self._check(row, member, found[-1])
        return found[0], found[1]

    def _range(self, shard: str, begin: int, end: int) -> bytes:
        if self.folder is not None:
            return os.pread(self._file(self.folder / shard).fileno(), end - begin, begin)
        self._store = self._store or storage.open_store(self.url)
        return self._store.get_range(shard, begin, end - begin)

    def _file(self, path: Path) -> FileIO:
        """The shard's open file; the longest unused one is closed where there are too many."""
        if path.name not in self._files:
            try:
                self._files[path.name] = FileIO(str(path))
            except OSError as error:
                raise UserError(f"{path.name} cannot be read ({error.strerror}); copy it to {self.url} again") from None
            if len(self._files) > OPEN_FILES:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(path.name)
        return self._files[path.name]


def with_text(url: str, split: str) -> int:
    """How many samples of a split have a sentence; 0 where the split is empty. Raises UserError without a manifest."""
    return int(_rows(manifest.read(url).table, split)[1].num_rows)


def _rows(table: pa.Table, split: str) -> tuple[pa.Table, pa.Table]:
    """The rows of a split, and those of them that have a sentence."""
    chosen = table.filter(pc.equal(table["split"], split))
    return chosen, chosen.filter(pc.greater(chosen["sentence_count"], 0))
