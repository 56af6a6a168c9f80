"""An order of an epoch → one with fewer samples of one text or patient in a batch.

In: the lanes of an epoch and the groups of each sample. Out: the same lanes, each in another order. Samples are swapped
only within their lane, and within their block where possible: ranks and workers still share no byte, and a block is
still one read.

Rounds: every sample of a group with too many in its batch tries batches that are drawn for it and takes the first in
which both samples of the swap fit; of swaps that touch the same count only the first is made. So no swap ever makes a
new surplus.
"""

# N samples, G groups of a sample, P batches, B lanes, K numbers of groups, S samples to be moved, T candidate batches

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sentalign.stream.order.plan import Epoch, Indices, draws

CANDIDATES = 1 << 15  # batches that are tried in one round, for all samples together
ROUNDS = 64  # within the block, and as many over all batches


def limit_duplicates(epoch: Epoch, groups_NG: Indices, limit: int, name: tuple[str | int, ...]) -> Epoch:
    """The epoch with at most `limit` samples of one group in a batch, as far as swaps of two samples allow.

    `groups_NG[n]` are the groups of sample n (its patient, its text), no number in two columns, -1 for none. A group
    that has more than `limit` samples a batch on average cannot be limited, and is left as it is. `surplus` counts the
    samples that stay above the limit.
    """
    batches = len(epoch.lanes_PB)
    counts = _GroupCounts(epoch.lanes_PB.copy(), limitable(groups_NG, limit, batches), limit)
    in_block = _block_runs(epoch)
    everywhere = np.zeros_like(epoch.lanes_PB), np.full_like(epoch.lanes_PB, batches)
    # Where to search, and the share of the samples that must find a place for another round to follow.
    for where, (first_PB, length_PB), enough in (("block", in_block, 0.01), ("epoch", everywhere, 0.0)):
        longest = int(length_PB.max(initial=0))
        for number in range(ROUNDS):
            p_S, b_S = np.nonzero(counts.over_PB)
            if not len(p_S):
                break
            tries = min(max(1, CANDIDATES // len(p_S)), longest)
            starts_S = draws(len(p_S), "spread", where, number, *name)  # the word is part of the order
            moved = counts.swap(p_S, b_S, _candidates(first_PB[p_S, b_S], length_PB[p_S, b_S], starts_S, tries))
            if moved <= enough * len(p_S) and (enough or tries == longest):  # without `enough`: until all were tried
                break
    return replace(epoch, lanes_PB=counts.lanes_PB)


def limitable(groups_NG: Indices, limit: int, batches: int) -> Indices:
    """The groups that can have more than `limit` samples in a batch and need not; the others become -1."""
    sizes = np.bincount(groups_NG[groups_NG >= 0], minlength=1)
    size_NG = np.where(groups_NG >= 0, sizes[groups_NG], 0)
    return np.where((size_NG > limit) & (size_NG <= limit * batches), groups_NG, -1)


def surplus(lanes_PB: Indices, groups_NG: Indices, limit: int) -> int:
    """How many samples are in a batch with `limit` others of a group, summed over the groups."""
    counts = _GroupCounts(lanes_PB, groups_NG, limit)
    return int(np.count_nonzero(counts.above(counts.sorted_PX)))


def _block_runs(epoch: Epoch) -> tuple[Indices, Indices]:
    """For each place the first batch in which its lane reads from the same block, and in how many in a row."""
    lanes_PB = epoch.lanes_PB
    block_PB = epoch.block_N[lanes_PB]
    steps_PB = np.broadcast_to(np.arange(len(lanes_PB))[:, None], lanes_PB.shape)
    changes_PB = np.ones(lanes_PB.shape, bool)
    changes_PB[1:] = block_PB[1:] != block_PB[:-1]
    first_PB = np.maximum.accumulate(np.where(changes_PB, steps_PB, 0), axis=0)
    ends_PB = np.full(lanes_PB.shape, len(lanes_PB))
    ends_PB[:-1] = np.where(changes_PB[1:], steps_PB[1:], len(lanes_PB))
    ends_PB = np.minimum.accumulate(ends_PB[::-1], axis=0)[::-1]
    return first_PB, ends_PB - first_PB


def _candidates(first_S: Indices, length_S: Indices, starts_S: NDArray[np.uint64], tries: int) -> Indices:
    """(S, T): batches from a drawn one on, cyclically; a short run repeats."""
    drawn_S = (starts_S % length_S.astype(np.uint64)).astype(np.int64)
    return first_S[:, None] + (drawn_S[:, None] + np.arange(tries)) % length_S[:, None]


class _GroupCounts:
    """The groups in each batch: `sorted_PX[p]` are the groups of batch p, as keys p * K + group, in order."""

    def __init__(self, lanes_PB: Indices, groups_NG: Indices, limit: int) -> None:
        self.lanes_PB, self._limit = lanes_PB, limit
        self._none = int(groups_NG.max(initial=-1)) + 1
        self._groups_NG = np.where(groups_NG < 0, self._none, groups_NG)
        self.sorted_PX = np.empty((len(lanes_PB), lanes_PB.shape[1] * groups_NG.shape[1]), np.int64)
        self.over_PB = np.zeros(lanes_PB.shape, bool)
        self._count(np.arange(len(lanes_PB)))

    def above(self, sorted_RX: Indices) -> NDArray[np.bool_]:
        """In rows of sorted keys: where the key `limit` places further is the same."""
        same_RX = sorted_RX[:, self._limit :] == sorted_RX[:, : -self._limit]
        return same_RX & (sorted_RX[:, self._limit :] % (self._none + 1) != self._none)

    def swap(self, p_S: Indices, b_S: Indices, candidates_ST: Indices) -> int:
        """Moves samples from batch p of lane b to the first candidate that fits; how many were moved."""
        fits_ST = self._fit(p_S[:, None], b_S[:, None], candidates_ST)
        any_S = fits_ST.any(axis=1)
        p_S, b_S, q_S = p_S[any_S], b_S[any_S], candidates_ST[any_S, fits_ST[any_S].argmax(axis=1)]
        first_S = self._independent(p_S, b_S, q_S)
        p_S, b_S, q_S = p_S[first_S], b_S[first_S], q_S[first_S]
        self.lanes_PB[p_S, b_S], self.lanes_PB[q_S, b_S] = self.lanes_PB[q_S, b_S], self.lanes_PB[p_S, b_S]
        self._count(np.unique([p_S, q_S]))
        return len(p_S)

    def _fit(self, p_ST: Indices, b_ST: Indices, q_ST: Indices) -> NDArray[np.bool_]:
        """Whether samples of lane b in the batches p and q have no group in common and can be swapped."""
        one_STG, other_STG = self._groups_NG[self.lanes_PB[p_ST, b_ST]], self._groups_NG[self.lanes_PB[q_ST, b_ST]]
        bad_STG = (one_STG == other_STG) & (other_STG != self._none)
        bad_STG |= self._full(q_ST, one_STG) | self._full(p_ST, other_STG)
        return ~bad_STG.any(axis=-1)

    def _full(self, batch_ST: Indices, groups_STG: Indices) -> NDArray[np.bool_]:
        """Whether a batch has no room for one more of a group."""
        keys_STG = batch_ST[..., None] * (self._none + 1) + groups_STG
        flat = self.sorted_PX.ravel()
        last_STG = np.minimum(np.searchsorted(flat, keys_STG) + self._limit - 1, len(flat) - 1)
        return (flat[last_STG] == keys_STG) & (groups_STG != self._none)

    def _independent(self, p_S: Indices, b_S: Indices, q_S: Indices) -> NDArray[np.bool_]:
        """Which swaps touch no place and no count of an earlier one."""
        batches, width = self.lanes_PB.shape
        one_SG, other_SG = self._groups_NG[self.lanes_PB[p_S, b_S]], self._groups_NG[self.lanes_PB[q_S, b_S]]
        groups_SG = np.concatenate([one_SG, other_SG], axis=1)
        places_S2 = np.stack([p_S, q_S], axis=1) * width + b_S[:, None]
        counts_S2G = np.stack([p_S, q_S], axis=1)[:, :, None] * (self._none + 1) + groups_SG[:, None]
        # (S, 2, 2G) -> (S, 4G); a sample without a group claims its place once more
        counts_S2G = np.where(groups_SG[:, None] == self._none, places_S2[:, :1, None], counts_S2G + batches * width)
        claims_SC = np.concatenate([places_S2, counts_S2G.reshape(len(p_S), groups_SG.shape[1] * 2)], axis=1)
        _, first, which = np.unique(claims_SC, return_index=True, return_inverse=True)
        owners_SC = (first // claims_SC.shape[1])[which].reshape(claims_SC.shape)
        independent_S: NDArray[np.bool_] = (owners_SC == np.arange(len(p_S))[:, None]).all(axis=1)
        return independent_S

    def _count(self, rows: Indices) -> None:
        """Counts these batches again, and marks the samples of groups with too many in their batch."""
        keys_RBG = rows[:, None, None] * (self._none + 1) + self._groups_NG[self.lanes_PB[rows]]
        # (R, B, G) -> (R, X)
        keys_RX = keys_RBG.reshape(len(rows), self.sorted_PX.shape[1])
        order_RX = np.argsort(keys_RX, axis=1, kind="stable")
        self.sorted_PX[rows] = sorted_RX = np.take_along_axis(keys_RX, order_RX, axis=1)
        above_RX = self.above(sorted_RX)
        marked_RX = np.zeros(keys_RX.shape, bool)
        for place in range(self._limit + 1):
            marked_RX[:, place : place + above_RX.shape[1]] |= above_RX
        over_RX = np.zeros(keys_RX.shape, bool)
        np.put_along_axis(over_RX, order_RX, marked_RX, axis=1)
        # (R, X) -> (R, B, G)
        self.over_PB[rows] = over_RX.reshape(keys_RBG.shape).any(axis=2)
