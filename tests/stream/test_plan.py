"""The plan: every sample once, and nothing but the named inputs decides the order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentalign.stream import plan
from sentalign.stream.plan import StreamState
from sharding.contract import UserError

sizes = st.integers(1, 300)


@given(samples=sizes, batch=st.integers(1, 40), seed=st.integers(0, 2**40), epoch=st.integers(0, 1000))
def test_every_sample_stands_once_in_an_epoch_but_for_less_than_a_batch(samples, batch, seed, epoch):
    order = plan.order("f", seed, epoch, samples)
    assert sorted(order) == list(range(samples))
    batches = [plan.batch_indices(order, batch, i) for i in range(plan.batches_per_epoch(samples, batch))]
    seen = [i for one in batches for i in one]
    assert len(seen) == len(set(seen))
    assert samples - len(seen) < batch


@given(ranks=st.sampled_from([1, 2, 3, 4, 8]), share=st.integers(1, 5))
def test_shares_of_the_ranks_are_the_global_batch(ranks, share):
    batch = plan.order("f", 0, 0, ranks * share)
    shares = [plan.rank_share(batch, rank, ranks) for rank in range(ranks)]
    assert {len(one) for one in shares} == {share}
    np.testing.assert_array_equal(np.concatenate(shares), batch)


def test_fingerprint_seed_and_epoch_each_change_the_order():
    orders = [plan.order(*name, 100) for name in (("f", 0, 0), ("g", 0, 0), ("f", 1, 0), ("f", 0, 1))]
    assert len({tuple(order) for order in orders}) == 4


def test_order_is_the_same_for_ever():
    """A golden value: runs are resumed on other machines and in later versions."""
    assert plan.order("f", 1, 2, 8).tolist() == [3, 7, 6, 2, 4, 1, 0, 5]


def test_order_is_uniform():
    """Chi-square of where sample 0 lands: 7 degrees of freedom, 24.3 is the 0.1 % point."""
    found = [int(np.flatnonzero(plan.order("f", 0, epoch, 8) == 0)[0]) for epoch in range(2000)]
    counts = np.bincount(found, minlength=8)
    assert ((counts - 250) ** 2 / 250).sum() < 24.3


def test_names_of_draws_do_not_run_into_each_other():
    assert (plan.draws(2, "a", 1, 11) != plan.draws(2, "a", 11, 1)).all()


def test_batch_that_ranks_cannot_share_says_what_would_do():
    with pytest.raises(UserError, match=r"data.batch 10 does not divide by 4 ranks; set data.batch=8 or 12"):
        plan.rank_share(np.arange(10), 0, 4)
    with pytest.raises(UserError, match=r"set data.batch=4"):
        plan.check_shares(2, 4)


def test_state_goes_on_into_the_next_epoch_and_through_a_checkpoint():
    state = StreamState(0, 0, 7, "f")
    walked = [state := state.after(3) for _ in range(4)]
    assert [(s.epoch, s.position) for s in walked] == [(0, 1), (0, 2), (1, 0), (1, 1)]
    assert StreamState.from_dict(walked[-1].as_dict()) == walked[-1]
