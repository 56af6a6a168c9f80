"""Which samples are in which global batch: pure functions of (fingerprint, seed, step).

In: numbers, the fingerprint of the data and the shard of each sample. Out: sample indices, the state of a stream,
random numbers keyed by a name. Files, ranks and workers are not known here, so none of them can change the order.

A global batch of B samples has B lanes. An epoch shuffles blocks of neighbours in the shards, lays them end to end and
cuts that into B equal pieces: lane b walks through piece b, one sample a batch. So a batch takes its samples from B
distant places, each byte of a shard belongs to one lane, and ranks and workers, which split the lanes between them,
never fetch the same bytes twice, however many they are.
"""

# N samples in the order of the manifest, B lanes, P batches in an epoch

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sharding.contract import UserError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class StreamState:
    """Where a stream is: `step` is the next global batch, counted from the start of the run."""

    step: int
    seed: int
    fingerprint: str

    def as_dict(self) -> dict[str, Any]:
        """As a checkpoint stores it; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**values)


def draws(count: int, *name: str | int) -> NDArray[np.uint64]:
    """`count` random 64-bit numbers keyed by `name`: the same on every machine and in every numpy version.

    Raw Philox output keyed by sha256 of the name: numpy keeps bit generators stable, not what `Generator` makes of it.
    """
    digest = hashlib.sha256(json.dumps(name).encode()).digest()
    return np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(count)


def short_draws(count: int, *name: str | int) -> list[int]:
    """As `draws`, for the few numbers that one sample needs: a tenth of the time, other numbers."""
    key = json.dumps(name).encode()
    blocks = (hashlib.sha256(b"%d:%b" % (number, key)).digest() for number in range(-(-count // 4)))
    return list(struct.unpack(f"<{count}Q", b"".join(blocks)[: 8 * count]))


@dataclass(frozen=True)
class Epoch:
    """One epoch: `lanes_PB[p, b]` is the sample of lane b in batch p; `block_N` the block of each sample."""

    lanes_PB: Indices
    block_N: Indices
    dropped: Indices


def epoch_order(fingerprint: str, seed: int, epoch: int, shard_N: Indices, block: int, batch: int) -> Epoch:
    """The order of an epoch over samples whose shards are `shard_N`, in blocks of `block` samples (1: no blocks).

    Blocks have other boundaries in each epoch, so that no two neighbours always stay together. The last samples of
    the order that fill no batch are dropped: other ones in each epoch (docs/stream.md).
    """
    name = (fingerprint, seed, epoch)
    phase = int(draws(1, "phase", *name)[0] % np.uint64(block))
    block_N = _blocks(shard_N, block, phase)
    count = int(block_N[-1]) + 1 if len(block_N) else 0
    # The place of each block in the order, and a number for each sample by which a block is shuffled.
    place = np.argsort(np.argsort(draws(count, "blocks", *name), kind="stable"), kind="stable")
    sequence_N = np.lexsort((draws(len(shard_N), "within", *name), place[block_N]))
    batches = len(shard_N) // batch
    # (B, P) -> (P, B)
    lanes_PB = sequence_N[: batches * batch].reshape(batch, batches).T
    return Epoch(lanes_PB, block_N, sequence_N[batches * batch :])


def _blocks(shard_N: Indices, size: int, phase: int) -> Indices:
    """The number of the block of each sample: a block is in one shard and has `size` samples, fewer at its ends."""
    first_N = np.ones(len(shard_N), bool)
    first_N[1:] = shard_N[1:] != shard_N[:-1]
    starts = np.flatnonzero(first_N)
    place_N = np.arange(len(shard_N)) - np.repeat(starts, np.diff(np.append(starts, len(shard_N))))
    return np.cumsum(first_N | ((place_N + phase) % size == 0)) - 1


def substitute(fingerprint: str, sample: int, attempt: int, samples: int) -> int:
    """The sample that replaces one that cannot be read; another one for each further attempt."""
    return int(draws(1, "substitute", fingerprint, sample, attempt)[0] % np.uint64(samples))


def lanes_by_weight(weights: Sequence[float], batch: int) -> list[range]:
    """The lanes of each data set of a mixture: shares of the batch by weight, by largest remainder, none empty.

    Raises UserError where the batch has fewer lanes than there are data sets.
    """
    if batch < len(weights):
        raise UserError(f"data.batch {batch} has no room for {len(weights)} data sets; raise it or mix fewer")
    exact = np.array(weights, float) / sum(weights) * batch
    counts = np.maximum(np.floor(exact).astype(int), 1)
    while counts.sum() > batch:  # a share that was rounded up from zero is taken from the others
        counts[np.argmax(np.where(counts > 1, counts - exact, -np.inf))] -= 1
    rest = np.argsort(-(exact - counts), kind="stable")[: batch - counts.sum()]
    counts[rest] += 1
    ends = np.cumsum(counts).tolist()
    return [range(end - count, end) for end, count in zip(ends, counts.tolist(), strict=True)]


def share(lanes: range, part: int, parts: int) -> range:
    """Contiguous share number `part` of `parts`; end to end they are `lanes`, and their sizes differ by at most one."""
    cut = [lanes.start + len(lanes) * i // parts for i in (part, part + 1)]
    return range(*cut)
