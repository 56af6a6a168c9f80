"""The manifest of a data set as training needs it: read once a process, checked, its rows sorted by split.

In: the folder or URL of the shards. Out: `Index`. A new process reads the manifest again. The checks themselves are in
`sharding.manifest`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from sentalign.stream.read.cache import ShardFile
from sharding import manifest
from sharding.contract import MANIFEST_NAME, UserError

OF_A_ROW = ("key", "shard", "image_member", "patient", "study", *manifest.MEMBERS)
COLUMNS = (*OF_A_ROW, "sentence_count", "text_hashes")


@dataclass(frozen=True)
class Index:
    """`rows` are the samples with text of each split (COLUMNS), `split_sizes` the samples with and without text.

    `fingerprint` is the manifest's: any change of it is other data.
    """

    fingerprint: str
    shards: list[ShardFile]
    rows: dict[str, pa.Table]
    split_sizes: dict[str, int]

    def count(self, split: str) -> int:
        """Samples with text."""
        return int(self.rows[split].num_rows) if split in self.rows else 0


@cache
def read_index(url: str) -> Index:
    """The index of a data set. Raises UserError where there is no valid manifest."""
    found = manifest.read(url)
    if fault := next(manifest.faults(found), None):
        raise UserError(f"{url}: {MANIFEST_NAME} {fault}; build or copy the data set again")
    shards = [ShardFile(name, entry["sha256"], entry["bytes"]) for name, entry in found.metadata["shards"].items()]
    sizes = {row["values"]: row["counts"] for row in found.table["split"].value_counts().to_pylist()}
    with_text = pc.greater(found.table["sentence_count"], 0)
    # A manifest of millions of rows fills gigabytes, so only the columns that training reads are kept.
    columns = found.table.select(COLUMNS)
    rows = {split: columns.filter(pc.and_(pc.equal(found.table["split"], split), with_text)) for split in sizes}
    return Index(found.fingerprint, sorted(shards, key=lambda shard: shard.name), rows, sizes)


def count_with_text(urls: Iterable[str], split: str) -> int:
    """How many samples of a split have a sentence; 0 where the split is empty. Raises UserError as `read_index`."""
    return sum(read_index(url).count(split) for url in urls)
