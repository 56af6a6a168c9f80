"""The I/O cost of an epoch: requests and bytes of each lane.

In: the order of an epoch, and the manifest's byte ranges of its samples. Out: counts. No shard is read.
"""

# N samples, P batches, B lanes, Q samples of the lanes end to end
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sentalign.stream.order.plan import Epoch, Indices
from sentalign.stream.read.fetch import Shards

COALESCE = 4096  # bytes between two samples up to which they are one request, as in `sharding.store.bucket`


@dataclass(frozen=True)
class IoCost:
    """Of an epoch of a data set, by lane: range requests, their bytes, and the bytes of pictures and sentences."""

    requests_B: Indices
    bytes_B: Indices
    useful_B: Indices


def io_cost(shards: Shards, epoch: Epoch) -> IoCost:
    """The range requests to a remote store: a lane fetches its next block at once, neighbours in one request."""
    begin_N, end_N = shards.spans()
    useful_N = shards.column("image_bytes").to_numpy() + shards.column("json_bytes").to_numpy()
    batches, width = epoch.lanes_PB.shape
    # (P, B) -> (Q,)
    samples_Q, lane_Q = epoch.lanes_PB.T.ravel(), np.repeat(np.arange(width), batches)
    # A run is what a lane reads of one block without another block in between: one call to the store.
    run_Q = np.cumsum(_changes(epoch.block_N[samples_Q]) | _changes(lane_Q))
    order_Q = np.lexsort((begin_N[samples_Q], run_Q))
    samples_Q, run_Q, lane_Q = samples_Q[order_Q], run_Q[order_Q], lane_Q[order_Q]
    gap_Q = np.append(0, begin_N[samples_Q][1:] - end_N[samples_Q][:-1])
    first_Q = _changes(run_Q) | (gap_Q > COALESCE)
    read_Q = end_N[samples_Q] - begin_N[samples_Q] + np.where(first_Q, 0, gap_Q)
    by_lane = (np.bincount(lane_Q, values_Q, width) for values_Q in (first_Q, read_Q, useful_N[samples_Q]))
    return IoCost(*(counts_B.astype(np.int64) for counts_B in by_lane))


def _changes(values: Indices) -> np.ndarray:
    """Where a value differs from the one before it; true at the first."""
    changes = np.ones(len(values), bool)
    changes[1:] = values[1:] != values[:-1]
    return changes
