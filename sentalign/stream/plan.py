"""Which samples stand in which global batch: pure functions of (fingerprint, seed, epoch, position).

In: numbers and the fingerprint of the data. Out: sample indices, the state of a stream, random numbers that belong to a
name. Neither files nor ranks' processes nor workers are known here, so none of them can change the order.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sharding.contract import UserError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class StreamState:
    """Where a stream stands: the next global batch is number `position` (from 0) of epoch `epoch` (from 0)."""

    epoch: int
    position: int
    seed: int
    fingerprint: str

    def as_dict(self) -> dict[str, Any]:
        """As a checkpoint stores it; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**values)

    def after(self, batches: int) -> StreamState:
        """The state one global batch later, in epochs of `batches` batches; an epoch's end is the next one's start."""
        if self.position + 1 < batches:
            return StreamState(self.epoch, self.position + 1, self.seed, self.fingerprint)
        return StreamState(self.epoch + 1, 0, self.seed, self.fingerprint)


def draws(count: int, *name: str | int) -> NDArray[np.uint64]:
    """`count` random 64-bit numbers that belong to `name`: the same on every machine and in every numpy version.

    Raw Philox output keyed by sha256 of the name: numpy keeps bit generators stable, not what `Generator` makes of it.
    """
    digest = hashlib.sha256(json.dumps(name).encode()).digest()
    return np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(count)


def order(fingerprint: str, seed: int, epoch: int, samples: int) -> Indices:
    """The permutation of 0 .. samples - 1 in which an epoch runs (ARCHITECTURE: sample order)."""
    return np.argsort(draws(samples, "order", fingerprint, seed, epoch), kind="stable")


def batches_per_epoch(samples: int, batch: int) -> int:
    """Whole global batches in an epoch; the last `samples % batch` samples of an epoch's order are dropped from it."""
    return samples // batch


def batch_indices(order_of_epoch: Indices, batch: int, position: int) -> Indices:
    """The sample indices of global batch number `position` of an epoch whose `order` is given."""
    assert 0 <= position < batches_per_epoch(len(order_of_epoch), batch), "no such batch in this epoch"
    return order_of_epoch[position * batch : (position + 1) * batch]


def check_shares(batch: int, ranks: int) -> None:
    """Raises UserError unless a global batch of `batch` splits into equal shares for `ranks` ranks."""
    if batch % ranks:
        low = batch // ranks * ranks
        fitting = f"{low} or {low + ranks}" if low else f"{ranks}"
        raise UserError(
            f"data.batch {batch} does not divide by {ranks} ranks; set data.batch={fitting}, or change the ranks"
        )


def rank_share(global_batch: Indices, rank: int, ranks: int) -> Indices:
    """The contiguous share of one rank; the shares of all ranks in a row are the global batch. Raises UserError."""
    check_shares(len(global_batch), ranks)
    share = len(global_batch) // ranks
    return global_batch[rank * share : (rank + 1) * share]
