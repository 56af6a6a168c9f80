"""An order of an epoch → one in which fewer samples of one text or patient meet in a batch.

In: the lanes of an epoch and the groups of each sample. Out: the same lanes, each read in another order. Samples change
places only within their lane, with a neighbour of their own block where one will do: ranks and workers still share no
byte, and a block is still one read.

Rounds: every sample of a group with too many in its batch looks at places drawn for it, takes the first where both
sides fit, and of the swaps that touch a count in common only the first is made. So no swap ever makes a new surplus.
"""

# N samples, G groups of a sample, P batches, B lanes, K numbers of groups, S samples that look for a place, T places

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sentalign.stream.order.plan import Epoch, Indices, draws

LOOKS = 1 << 15  # places that are looked at in one round by all samples together
ROUNDS = 64  # of looking in the block, and as many of looking in all batches


def spread(epoch: Epoch, groups_NG: Indices, most: int, name: tuple[str | int, ...]) -> Epoch:
    """The epoch with at most `most` samples of one group in a batch, as far as swaps of two find a way.

    `groups_NG[n]` are the groups of sample n (its patient, its text), no number in two columns, -1 for none. A group
    that has more than `most` samples a batch on average cannot be bounded, and is left as it is. `surplus` tells how
    many stay too many.
    """
    batches = len(epoch.lanes_PB)
    held = _Held(epoch.lanes_PB.copy(), bounded(groups_NG, most, batches), most)
    in_block = _stretches(epoch)
    everywhere = np.zeros_like(epoch.lanes_PB), np.full_like(epoch.lanes_PB, batches)
    # Where to look, and the share of those who look that has to find a place for another round.
    for where, (first_PB, length_PB), enough in (("block", in_block, 0.01), ("epoch", everywhere, 0.0)):
        longest = int(length_PB.max(initial=0))
        for number in range(ROUNDS):
            p_S, b_S = np.nonzero(held.over_PB)
            if not len(p_S):
                break
            tries = min(max(1, LOOKS // len(p_S)), longest)
            starts_S = draws(len(p_S), "spread", where, number, *name)
            made = held.swap(p_S, b_S, _places(first_PB[p_S, b_S], length_PB[p_S, b_S], starts_S, tries))
            if made <= enough * len(p_S) and (enough or tries == longest):  # without `enough` all places are tried
                break
    return replace(epoch, lanes_PB=held.lanes_PB)


def bounded(groups_NG: Indices, most: int, batches: int) -> Indices:
    """The groups that can have too many in a batch and need not; the others become -1."""
    sizes = np.bincount(groups_NG[groups_NG >= 0], minlength=1)
    size_NG = np.where(groups_NG >= 0, sizes[groups_NG], 0)
    return np.where((size_NG > most) & (size_NG <= most * batches), groups_NG, -1)


def surplus(lanes_PB: Indices, groups_NG: Indices, most: int) -> int:
    """How many samples stand in their batch beside `most` others of a group, summed over the groups."""
    held = _Held(lanes_PB, groups_NG, most)
    return int(np.count_nonzero(held.above(held.sorted_PX)))


def _stretches(epoch: Epoch) -> tuple[Indices, Indices]:
    """For each place the first batch in which its lane reads of the block that it reads there, and in how many."""
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


def _places(first_S: Indices, length_S: Indices, starts_S: NDArray[np.uint64], tries: int) -> Indices:
    """(S, T): batches from a drawn one on, going round; a short stretch comes round several times."""
    drawn_S = (starts_S % length_S.astype(np.uint64)).astype(np.int64)
    return first_S[:, None] + (drawn_S[:, None] + np.arange(tries)) % length_S[:, None]


class _Held:
    """Which groups each batch holds: `sorted_PX[p]` are the groups of batch p, as keys p * K + group, in order."""

    def __init__(self, lanes_PB: Indices, groups_NG: Indices, most: int) -> None:
        self.lanes_PB, self._most = lanes_PB, most
        self._none = int(groups_NG.max(initial=-1)) + 1
        self._groups_NG = np.where(groups_NG < 0, self._none, groups_NG)
        self.sorted_PX = np.empty((len(lanes_PB), lanes_PB.shape[1] * groups_NG.shape[1]), np.int64)
        self.over_PB = np.zeros(lanes_PB.shape, bool)
        self._count(np.arange(len(lanes_PB)))

    def above(self, sorted_RX: Indices) -> NDArray[np.bool_]:
        """In rows of sorted keys: where `most` places further the same key stands."""
        same_RX = sorted_RX[:, self._most :] == sorted_RX[:, : -self._most]
        return same_RX & (sorted_RX[:, self._most :] % (self._none + 1) != self._none)

    def swap(self, p_S: Indices, b_S: Indices, places_ST: Indices) -> int:
        """Moves samples from batch p of lane b to the first of their places that fits; how many were moved."""
        fits_ST = self._fit(p_S[:, None], b_S[:, None], places_ST)
        found_S = fits_ST.any(axis=1)
        p_S, b_S, q_S = p_S[found_S], b_S[found_S], places_ST[found_S, fits_ST[found_S].argmax(axis=1)]
        alone_S = self._alone(p_S, b_S, q_S)
        p_S, b_S, q_S = p_S[alone_S], b_S[alone_S], q_S[alone_S]
        self.lanes_PB[p_S, b_S], self.lanes_PB[q_S, b_S] = self.lanes_PB[q_S, b_S], self.lanes_PB[p_S, b_S]
        self._count(np.unique([p_S, q_S]))
        return len(p_S)

    def _fit(self, p_ST: Indices, b_ST: Indices, q_ST: Indices) -> NDArray[np.bool_]:
        """Whether samples of lane b in the batches p and q have no group in common and can change places."""
        one_STG, other_STG = self._groups_NG[self.lanes_PB[p_ST, b_ST]], self._groups_NG[self.lanes_PB[q_ST, b_ST]]
        bad_STG = (one_STG == other_STG) & (other_STG != self._none)
        bad_STG |= self._full(q_ST, one_STG) | self._full(p_ST, other_STG)
        return ~bad_STG.any(axis=-1)

    def _full(self, batch_ST: Indices, groups_STG: Indices) -> NDArray[np.bool_]:
        """Whether a batch has no room for one more of a group."""
        keys_STG = batch_ST[..., None] * (self._none + 1) + groups_STG
        flat = self.sorted_PX.ravel()
        last_STG = np.minimum(np.searchsorted(flat, keys_STG) + self._most - 1, len(flat) - 1)
        return (flat[last_STG] == keys_STG) & (groups_STG != self._none)

    def _alone(self, p_S: Indices, b_S: Indices, q_S: Indices) -> NDArray[np.bool_]:
        """Which swaps touch no place and no count of an earlier one."""
        batches, width = self.lanes_PB.shape
        one_SG, other_SG = self._groups_NG[self.lanes_PB[p_S, b_S]], self._groups_NG[self.lanes_PB[q_S, b_S]]
        groups_SG = np.concatenate([one_SG, other_SG], axis=1)
        places_S2 = np.stack([p_S, q_S], axis=1) * width + b_S[:, None]
        counts_S2G = np.stack([p_S, q_S], axis=1)[:, :, None] * (self._none + 1) + groups_SG[:, None]
        # (S, 2, 2G) -> (S, 4G); what has no group claims its place once more
        counts_S2G = np.where(groups_SG[:, None] == self._none, places_S2[:, :1, None], counts_S2G + batches * width)
        claims_SC = np.concatenate([places_S2, counts_S2G.reshape(len(p_S), groups_SG.shape[1] * 2)], axis=1)
        _, first, which = np.unique(claims_SC, return_index=True, return_inverse=True)
        owners_SC = (first // claims_SC.shape[1])[which].reshape(claims_SC.shape)
        alone_S: NDArray[np.bool_] = (owners_SC == np.arange(len(p_S))[:, None]).all(axis=1)
        return alone_S

    def _count(self, rows: Indices) -> None:
        """Counts these batches anew, and notes the places whose sample has too many of its own beside it."""
        keys_RBG = rows[:, None, None] * (self._none + 1) + self._groups_NG[self.lanes_PB[rows]]
        # (R, B, G) -> (R, X)
        keys_RX = keys_RBG.reshape(len(rows), self.sorted_PX.shape[1])
        order_RX = np.argsort(keys_RX, axis=1, kind="stable")
        self.sorted_PX[rows] = sorted_RX = np.take_along_axis(keys_RX, order_RX, axis=1)
        above_RX = self.above(sorted_RX)
        marked_RX = np.zeros(keys_RX.shape, bool)
        for place in range(self._most + 1):
            marked_RX[:, place : place + above_RX.shape[1]] |= above_RX
        over_RX = np.zeros(keys_RX.shape, bool)
        np.put_along_axis(over_RX, order_RX, marked_RX, axis=1)
        # (R, X) -> (R, B, G)
        self.over_PB[rows] = over_RX.reshape(keys_RBG.shape).any(axis=2)
