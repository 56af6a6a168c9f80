"""Resume time, shuffle quality and memory over an epoch of the stream, beside those of webdataset and mosaicml.

In: shards. Out: printed figures, each of 200,000 samples. For resume the shards are linked many times; order and memory
are those of an epoch of very small pictures in shards of 1,000.
"""

# N samples in the order of the manifest, P batches of B samples in an epoch
from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import stream_rivals as rivals
import stream_shards
from numpy.typing import NDArray
from webdataset import filters

from sentalign.config import Data
from sentalign.stream.dataset import Stream
from sentalign.stream.order.plan import StreamState
from sentalign.stream.read.manifest_index import read_index
from sentalign.tokenizer import SPECIAL, Tokenizer
from sharding.contract import MANIFEST_NAME

SAMPLES, PER_SHARD, BATCH = 200_000, 1000, 128
SAMPLED = 500  # batches, for the quality of the shuffle
Orders = dict[str, NDArray[np.int64]]


def report(shards: Path, scratch: Path, site: Path | None) -> None:
    """Prints all three."""
    resume(stream_shards.many(shards, scratch / "large", SAMPLES), shards)
    small = stream_shards.many(stream_shards.tiny(scratch / "tiny", PER_SHARD), scratch / "small", SAMPLES)
    shuffles(small, site)
    # In a process of its own, as a run is: workers would copy part of the memory of this one.
    subprocess.run([sys.executable, __file__, str(small)], check=True)


def stream_of(shards: Path, workers: int, side: int) -> Stream:
    data = Data(shards=str(shards), batch=BATCH, image_size=side, workers=workers)
    return Stream(data, 0, 0, 1, Tokenizer(list(SPECIAL), cased=True), "train")


def resume(large: Path, shards: Path) -> None:
    """From nothing to the first batch at 90% of an epoch."""
    for workers in (0, 2):
        seconds = [_resumed(large, workers)[0] for _ in range(3)]
        each = ", ".join(f"{one:.2f}" for one in seconds)
        print(f"\nresume at 90% of {SAMPLES:,}, {workers} workers: {statistics.median(seconds):.2f} s ({each})")
    _, read, used = _resumed(large, 0)
    print(f"bytes read for it beside the manifest: {read / 1e6:.2f} MB, those of the batch itself {used / 1e6:.2f} MB")
    count = int(0.9 * 1000)
    started = time.perf_counter()
    rivals.webdataset_skips(shards, count)
    passed = (time.perf_counter() - started) / count
    print(
        f"webdataset reads past samples, {1e6 * passed:.0f} us each: {0.9 * SAMPLES * passed:.0f} s to the same place"
    )


def _resumed(large: Path, workers: int) -> tuple[float, int, int]:
    """Seconds; bytes that this process read but for the manifest; bytes of the samples of the batch."""
    read_index.cache_clear()  # as in a new process
    before, started = _characters_read(), time.perf_counter()
    stream = stream_of(large, workers, 224)
    state = StreamState(int(0.9 * stream.epoch_batches), 0, stream.fingerprint)
    next(stream.batches(state))
    seconds, read = time.perf_counter() - started, _characters_read() - before
    refs = stream.mixture.samples(state.step, range(BATCH))
    used = sum(stream.mixture.data_sets[ref.data_set].size(ref.index) for ref in refs)
    return seconds, read - (large / MANIFEST_NAME).stat().st_size, used


def _characters_read() -> int:
    """Bytes that this process has read, from the page cache or not."""
    return int(Path("/proc/self/io").read_text().split()[1])


def shuffles(small: Path, site: Path | None) -> None:
    """How far a batch is from one of a full shuffle."""
    mixture = stream_of(small, 0, 64).mixture
    orders = {"sentalign, blocks of 16": mixture.epoch(0, 0).lanes_PB} | _webdataset_orders() | _streaming_orders(site)
    orders["full shuffle"] = _batched(np.random.default_rng(0).permutation(SAMPLES))
    print(f"\nshuffle, {SAMPLES:,} samples in shards of {PER_SHARD:,}, batches of {BATCH}; 1 is as a full shuffle")
    print(f"{'':36}{'pairs of one shard':>20}{'of 16 neighbours':>20}{'mean distance':>16}")
    for name, order_PB in orders.items():
        same, near, far = _quality(order_PB)
        print(f"{name:36}{same:20.2f}{near:20.2f}{far:16.2f}")


def _quality(order_PB: NDArray[np.int64]) -> tuple[float, float, float]:
    """Pairs in a batch that share a shard; that share sixteen neighbours; their mean distance: against chance."""
    chosen_PB = np.sort(order_PB[:: max(1, len(order_PB) // SAMPLED)], axis=1)
    one, other = np.triu_indices(BATCH, 1)
    pairs = len(one) * len(chosen_PB)
    found = np.zeros(3)
    for row_B in chosen_PB:
        first, second = row_B[one], row_B[other]
        found += (first // PER_SHARD == second // PER_SHARD).sum(), (first // 16 == second // 16).sum(), 0
        found[2] += (second - first).sum()
    by_chance = (PER_SHARD - 1) / (SAMPLES - 1), 15 / (SAMPLES - 1), (SAMPLES + 1) / 3
    same, near, far = found / pairs / by_chance
    return same, near, far


def _batched(order_N: NDArray[np.int64]) -> NDArray[np.int64]:
    # (N) -> (P, B), without the incomplete last batch
    return order_N[: len(order_N) // BATCH * BATCH].reshape(-1, BATCH)


def _webdataset_orders() -> Orders:
    """Its shuffle of shards and its own shuffle buffer, on sample numbers, in one process."""
    found = {}
    for size in (1000, 10_000):
        shards = np.random.default_rng(0).permutation(SAMPLES // PER_SHARD)
        order = (i for shard in shards for i in range(shard * PER_SHARD, (shard + 1) * PER_SHARD))
        found[f"webdataset, buffer of {size:,}"] = _batched(np.array(list(filters.shuffle(size, seed=0)(order))))
    return found


def _streaming_orders(site: Path | None) -> Orders:
    if site is None:
        return {}
    streaming = rivals.import_streaming(site)
    sizes = np.full(SAMPLES // PER_SHARD, PER_SHARD, np.int64)
    names = {("py1e", 1 << 18): "its default block", ("py1br", 1 << 18): "its default block"}
    names |= {("py1e", 10_000): "blocks of 10,000", ("py1br", 10_000): "blocks of 10,000"}
    return {
        f"mosaicml {algorithm}, {blocks}": _batched(
            streaming.base.shuffle.get_shuffle(algorithm, sizes, 1, 0, 0, block_size=block)
        )
        for (algorithm, block), blocks in names.items()
    }


def memory(small: Path) -> None:
    """At a tenth of an epoch and at its end, with two workers: each page counted once, and of each process alone."""
    stream = stream_of(small, 2, 64)
    batches: Iterator[Any] = stream.batches(stream.start())
    wanted = [stream.epoch_batches // 10, stream.epoch_batches - stream.epoch_batches // 10 - 1]
    found = []
    for count in wanted:
        for _ in islice(batches, count):
            pass
        found.append([_kilobytes(pid) for pid in (None, *(child.pid for child in active_children()))])
    print(f"\nmemory, {SAMPLES:,} samples, two workers, at 10% and at 100% of an epoch")
    for name, early, late in zip(("process", "worker 0", "worker 1"), *found, strict=True):
        kinds = (f"{kind} {_grown(early[kind], late[kind])}" for kind in ("Rss", "Pss"))
        print(f"{name:10} {', '.join(kinds)}")
    print(f"all together, Pss {_grown(*(sum(one['Pss'] for one in each) for each in found))}", flush=True)


def _grown(early: int, late: int) -> str:
    return f"{early / 1024:.0f} to {late / 1024:.0f} MB (x{late / early:.3f})"


def _kilobytes(pid: int | None) -> dict[str, int]:
    """Rss, and Pss: resident memory in which a page of n processes counts 1/n to each."""
    lines = Path(f"/proc/{pid or 'self'}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


if __name__ == "__main__":
    memory(Path(sys.argv[1]))
