"""What an epoch reads: how many requests of how many bytes, for each lane.

In: the order of an epoch and where the manifest says that its samples lie. Out: counts. Nothing is read.
"""

# P batches, B lanes, Q samples of the lanes laid end to end
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sentalign.stream.order.plan import Epoch, Indices
from sentalign.stream.read.fetch import Shards

NEAR = 4096  # bytes between two samples that are fetched along with them, as `sharding.store.bucket` does


@dataclass(frozen=True)
class Reads:
    """Of one epoch of a data set, by lane: range reads, their bytes, and the bytes of pictures and sentences alone."""

    requests_B: Indices
    bytes_B: Indices
    useful_B: Indices


def reads(shards: Shards, epoch: Epoch) -> Reads:
    """The range reads of a remote store: each lane fetches its next block at once, neighbours in one request."""
    begin_N, end_N, useful_N = _spans(shards)
    batches, width = epoch.lanes_PB.shape
    # (P, B) -> (Q,)
    samples_Q, lane_Q = epoch.lanes_PB.T.ravel(), np.repeat(np.arange(width), batches)
    # A run is what a lane reads of one block without another block in between: one call to the store.
    block_Q = epoch.block_N[samples_Q]
    run_Q = np.cumsum(_differs(block_Q) | _differs(lane_Q))
    order_Q = np.lexsort((begin_N[samples_Q], run_Q))
    samples_Q, run_Q, lane_Q = samples_Q[order_Q], run_Q[order_Q], lane_Q[order_Q]
    gap_Q = np.append(0, begin_N[samples_Q][1:] - end_N[samples_Q][:-1])
    first_Q = _differs(run_Q) | (gap_Q > NEAR)
    read_Q = end_N[samples_Q] - begin_N[samples_Q] + np.where(first_Q, 0, gap_Q)
    return Reads(
        np.bincount(lane_Q, first_Q, width).astype(np.int64),
        np.bincount(lane_Q, read_Q, width).astype(np.int64),
        np.bincount(lane_Q, useful_N[samples_Q], width).astype(np.int64),
    )


def _differs(values: Indices) -> np.ndarray:
    """Where a value is not the one before it; true at the first."""
    found = np.ones(len(values), bool)
    found[1:] = values[1:] != values[:-1]
    return found


def _spans(shards: Shards) -> tuple[Indices, Indices, Indices]:
    """First byte and end of each sample in its shard, and the bytes of its two members."""
    names = ("image_offset", "json_offset", "image_bytes", "json_bytes")
    image_N, json_N, image_size_N, json_size_N = (shards.column(name).to_numpy() for name in names)
    end_N = np.maximum(image_N + image_size_N, json_N + json_size_N)
    return np.minimum(image_N, json_N), end_N, image_size_N + json_size_N
