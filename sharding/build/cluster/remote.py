"""What runs on the machines of a Ray cluster: chunks of samples, and shards written into the output.

In: images, or references to samples that are on one of the machines. Out: outcomes and ledger rows, apart from the
samples, so that these stay in the cluster and the ledger rows leave it; or the shard that was written. Nothing
identifying comes to the machine that writes a shard.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from sharding import ray_cluster
from sharding.build.samples import EncodedSample, SampleResult, make_samples
from sharding.build.sentence_tuple import WorkerConfig
from sharding.build.writer import Destination, WrittenShard, write_here
from sharding.contract import PROBE_NAME, UserError
from sharding.sources import SourceImage
from sharding.store.base import Store
from sharding.store.locations import open_store

Part = tuple[Any, list[int]]  # a reference to the samples of a chunk, and the places of those that are meant


def make_chunk(
    images: list[SourceImage], config: WorkerConfig
) -> tuple[list[SampleResult], list[EncodedSample | None], str]:
    """The outcome of each image, its sample, and this machine. Small results travel in ray's answer, others stay."""
    results = make_samples(images, config)
    samples: list[Any] = [result.sample for result in results]
    return [replace(result, sample=None) for result in results], samples, ray_cluster.this_node()


def write_shard(url: str, name: str, parts: list[Part]) -> tuple[WrittenShard, pa.Table]:
    """Writes a shard into the store, which must exist already. Raises UserError, and OSError for a full disk."""
    store = open_store(url)
    with tempfile.TemporaryDirectory(prefix="sentalign-") as folder:
        destination = Destination(store, name, Path(folder) / name)
        return write_here(destination, _samples(parts), lambda: None)


def _samples(parts: list[Part]) -> Iterator[EncodedSample]:
    """Fetched one chunk at a time: a shard may be larger than the memory."""
    for chunk, places in parts:
        content = ray_cluster.fetch(chunk)
        yield from (content[place] for place in places)


def can_write(url: str, probe: str, own: str) -> bool:
    """Whether this machine sees the file `probe` of the store, and could write another one, `own`."""
    try:
        store = open_store(url)
        if not store.exists(probe):
            return False
        store.put(own, b"")
    except (UserError, OSError):
        return False
    return True


def is_shared(
    store: Store, nodes: list[str], start: Callable[..., Any], wait: Callable[[list[Any]], list[bool]]
) -> bool:
    """Whether every machine can write where this one can; `start` runs `can_write` on a node."""
    probe = PROBE_NAME + secrets.token_hex(4)
    names = {f"{probe}-{number}": node for number, node in enumerate(nodes)}
    store.put(probe, b"")
    try:
        return all(wait([start(node, store.url, probe, own) for own, node in names.items()]))
    finally:
        for name in (probe, *names):
            store.delete(name)
