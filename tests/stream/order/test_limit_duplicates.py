"""Limits for duplicates in a batch: what swaps within lanes may do, and what they must reach."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentalign.stream.order import plan
from sentalign.stream.order.limit_duplicates import limit_duplicates, limitable, surplus


def drawn_groups(seed, samples, kinds):
    """(N, 2): few groups, some samples without one, and many more groups in a second column."""
    drawn = np.random.default_rng(seed)
    few, many = drawn.integers(-1, kinds, samples), drawn.integers(kinds, kinds + samples // 3, samples)
    return np.stack([few, many], axis=1)


def count_surplus(lanes_PB, groups_NG, limit):
    """The plain form of `surplus`."""
    found = 0
    for row in lanes_PB:
        counts = Counter(group for sample in row for group in groups_NG[sample] if group >= 0)
        found += sum(max(0, count - limit) for count in counts.values())
    return found


@given(seed=st.integers(0, 99), limit=st.integers(1, 9), kinds=st.integers(1, 12), width=st.integers(1, 8))
def test_surplus_is_what_counting_finds(seed, limit, kinds, width):
    groups_NG = drawn_groups(seed, 96, kinds)
    lanes_PB = plan.epoch_order("f", seed, 0, np.zeros(96, int), 4, width).lanes_PB
    assert surplus(lanes_PB, groups_NG, limit) == count_surplus(lanes_PB, groups_NG, limit)


@given(
    seed=st.integers(0, 999),
    limit=st.integers(1, 3),
    kinds=st.integers(3, 40),
    width=st.integers(2, 8),
    block=st.sampled_from([1, 4, 16]),
)
@example(seed=0, limit=1, kinds=40, width=2, block=1)
def test_lanes_keep_their_samples_and_what_can_be_limited_is(seed, limit, kinds, width, block):
    groups_NG = drawn_groups(seed, 96, kinds)
    epoch = plan.epoch_order("f", seed, 0, np.zeros(96, int), block, width)
    made = limit_duplicates(epoch, groups_NG, limit, ("f", seed, 0))
    np.testing.assert_array_equal(np.sort(made.lanes_PB, axis=0), np.sort(epoch.lanes_PB, axis=0))
    assert (made.dropped == epoch.dropped).all()
    limitable_NG = limitable(groups_NG, limit, len(epoch.lanes_PB))
    before, after = (count_surplus(one.lanes_PB, limitable_NG, limit) for one in (epoch, made))
    assert after <= before
    if kinds * limit >= 4 * width:  # room enough for everyone
        assert after <= before / 4


@given(seed=st.integers(0, 999), kinds=st.integers(1, 6), limit=st.integers(1, 2))
def test_no_batch_and_group_get_a_surplus_that_they_had_not(seed, kinds, limit):
    groups_NG = drawn_groups(seed, 96, kinds)
    epoch = plan.epoch_order("f", seed, 0, np.zeros(96, int), 4, 8)
    made = limit_duplicates(epoch, groups_NG, limit, ("f", seed, 0))
    limitable_NG = limitable(groups_NG, limit, 12)
    for before, after in zip(epoch.lanes_PB, made.lanes_PB, strict=True):
        had, has = (Counter(limitable_NG[row][limitable_NG[row] >= 0].tolist()) for row in (before, after))
        assert all(count <= max(limit, had[group]) for group, count in has.items())


@given(seed=st.integers(0, 999), kinds=st.integers(1, 6), limit=st.integers(1, 2))
def test_no_swap_of_two_would_help_any_more_where_a_surplus_stays(seed, kinds, limit):
    """The search by a plain loop over all places finds nothing that the rounds have not found."""
    groups_NG = drawn_groups(seed, 96, kinds)
    made = limit_duplicates(plan.epoch_order("f", seed, 0, np.zeros(96, int), 4, 8), groups_NG, limit, ("f",))
    limitable_NG = limitable(groups_NG, limit, 12)
    of = [{group for group in row if group >= 0} for row in limitable_NG.tolist()]
    held = [Counter(group for sample in row for group in of[sample]) for row in made.lanes_PB.tolist()]
    for (p, b), one in np.ndenumerate(made.lanes_PB):
        if any(held[p][group] > limit for group in of[one]):
            for q, other in enumerate(made.lanes_PB[:, b]):
                fits = all(held[q][group] < limit for group in of[one]) and all(
                    held[p][group] < limit for group in of[other]
                )
                assert not fits or of[one] & of[other]


def test_groups_that_are_too_large_for_the_limit_are_left_alone_and_counted():
    groups_NG = np.array([0] * 9 + [1] * 3 + [2] + [-1] * 7)[:, None]
    assert limitable(groups_NG, 1, 5).ravel().tolist() == [-1] * 9 + [1] * 3 + [-1] * 8
    epoch = plan.epoch_order("f", 0, 0, np.zeros(20, int), 4, 4)
    made = limit_duplicates(epoch, np.zeros((20, 1), int), 1, ("f",))
    np.testing.assert_array_equal(made.lanes_PB, epoch.lanes_PB)
    assert surplus(made.lanes_PB, np.zeros((20, 1), int), 1) == 15


def test_a_block_stays_one_read_where_its_own_places_will_do():
    """Twins among 4,000 samples: nearly all find a place in their block."""
    shard_N = np.repeat(np.arange(4), 1000)
    groups_NG = np.random.default_rng(0).integers(0, 1000, (4000, 1))
    epoch = plan.epoch_order("f", 0, 0, shard_N, 16, 64)
    made = limit_duplicates(epoch, groups_NG, 1, ("f",))
    assert surplus(epoch.lanes_PB, groups_NG, 1) > 100
    assert surplus(made.lanes_PB, groups_NG, 1) == 0
    before, after = (np.count_nonzero(np.diff(one.block_N[one.lanes_PB], axis=0)) for one in (epoch, made))
    assert before <= after <= 1.1 * before


@pytest.mark.parametrize("limit", [1, 2])
def test_numbers_of_the_groups_do_not_matter(limit):
    groups_NG = drawn_groups(3, 96, 9)
    others_NG = np.where(groups_NG < 0, -1, 7 * (200 - groups_NG))
    epoch = plan.epoch_order("f", 0, 0, np.zeros(96, int), 4, 8)
    made, other = (limit_duplicates(epoch, groups, limit, ("f",)) for groups in (groups_NG, others_NG))
    np.testing.assert_array_equal(made.lanes_PB, other.lanes_PB)


def test_an_epoch_without_a_batch_stays_one():
    epoch = plan.epoch_order("f", 0, 0, np.zeros(3, int), 4, 8)
    assert limit_duplicates(epoch, np.zeros((3, 1), int), 1, ("f",)).lanes_PB.shape == (0, 8)


def test_order_is_the_same_for_ever():
    """A golden value: runs are resumed on other machines and in later versions."""
    groups_NG = np.stack([[0, 1, 0, 1, 2, 2, 0, 3, 3, 2, 1, 3], [5, 5, 6, -1, 7, 7, 8, 8, -1, 9, 9, 6]], axis=1)
    made = limit_duplicates(plan.epoch_order("f", 1, 2, np.zeros(12, int), 2, 4), groups_NG, 1, ("f", 1, 2))
    assert made.lanes_PB.tolist() == [[8, 9, 6, 10], [5, 2, 7, 0], [4, 3, 11, 1]]
