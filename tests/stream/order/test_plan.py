"""The plan: every sample once, and nothing but the named inputs decides the order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sentalign.stream.order import plan
from sentalign.stream.order.plan import StreamState


def shards_of(sizes):
    """The shard of each sample, of shards of these sizes."""
    return np.repeat(np.arange(len(sizes)), sizes)


def samples(epoch):
    return [*epoch.lanes_PB.ravel(), *epoch.dropped]


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    block=st.integers(1, 20),
    batch=st.integers(1, 40),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 1000),
)
def test_every_sample_is_in_an_epoch_once_but_for_less_than_a_batch(sizes, block, batch, seed, epoch):
    order = plan.epoch_order("f", seed, epoch, shards_of(sizes), block, batch)
    assert sorted(samples(order)) == list(range(sum(sizes)))
    assert order.lanes_PB.shape == (sum(sizes) // batch, batch)
    assert len(order.dropped) < batch


@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8), block=st.integers(1, 20), batch=st.integers(1, 9))
def test_a_block_lies_in_one_shard_and_in_neighbouring_lanes(sizes, block, batch):
    """So that whoever reads a lane reads blocks, and the bytes of a block go to one place but at the ends of lanes."""
    shard_N = shards_of(sizes)
    order = plan.epoch_order("f", 0, 0, shard_N, block, batch)
    sequence = order.block_N[[*order.lanes_PB.T.ravel(), *order.dropped]]
    changes = np.count_nonzero(np.diff(sequence))
    assert changes == order.block_N.max(), "each block is one stretch of the lanes laid end to end"
    for number in range(order.block_N.max() + 1):
        inside = np.flatnonzero(order.block_N == number)
        assert len(set(shard_N[inside])) == 1
        assert len(inside) <= block
        assert inside[-1] - inside[0] == len(inside) - 1


@given(lanes=st.integers(1, 60), parts=st.sampled_from([1, 2, 3, 4, 8]))
def test_shares_in_a_row_are_the_whole(lanes, parts):
    shares = [plan.share(range(5, 5 + lanes), part, parts) for part in range(parts)]
    assert [lane for share in shares for lane in share] == list(range(5, 5 + lanes))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_fingerprint_seed_and_epoch_each_change_the_order():
    shard_N = shards_of([30, 30, 40])
    order = [plan.epoch_order(*name, shard_N, 4, 10) for name in (("f", 0, 0), ("g", 0, 0), ("f", 1, 0), ("f", 0, 1))]
    assert len({tuple(samples(one)) for one in order}) == 4
    assert len({tuple(sorted(one.dropped)) for one in (order[0], plan.epoch_order("f", 0, 0, shard_N, 4, 10))}) == 1


def test_blocks_begin_elsewhere_in_other_epochs():
    starts = {
        tuple(np.flatnonzero(np.diff(plan.epoch_order("f", 0, epoch, shards_of([64]), 8, 4).block_N)))
        for epoch in range(20)
    }
    assert len(starts) > 4


def test_order_is_the_same_for_ever():
    """A golden value: runs are resumed on other machines and in later versions."""
    order = plan.epoch_order("f", 1, 2, shards_of([5, 4]), 2, 2)
    assert order.lanes_PB.tolist() == [[4, 3], [8, 6], [7, 5], [2, 0]]
    assert order.dropped.tolist() == [1]


def test_order_is_uniform():
    """Chi-square of where sample 0 lands: 7 degrees of freedom, 24.3 is the 0.1 % point."""
    shard_N = shards_of([8])
    found = [samples(plan.epoch_order("f", 0, epoch, shard_N, 1, 2)).index(0) for epoch in range(2000)]
    counts = np.bincount(found, minlength=8)
    assert ((counts - 250) ** 2 / 250).sum() < 24.3


@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=6), batch=st.integers(6, 200))
def test_lanes_follow_the_weights(weights, batch):
    lanes = plan.lanes_by_weight(weights, batch)
    assert [lane for part in lanes for lane in part] == list(range(batch))
    for part, weight in zip(lanes, weights, strict=True):
        assert len(part) >= 1
        assert abs(len(part) - weight / sum(weights) * batch) < len(weights) + 1


def test_a_substitute_is_another_one_for_each_attempt():
    found = [plan.substitute("f", 3, attempt, 1000) for attempt in range(8)]
    assert found == [plan.substitute("f", 3, attempt, 1000) for attempt in range(8)]
    assert len(set(found)) == 8


def test_names_of_draws_do_not_run_into_each_other():
    assert (plan.draws(2, "a", 1, 11) != plan.draws(2, "a", 11, 1)).all()


def test_state_is_stored_as_step_seed_and_fingerprint():
    state = StreamState(4, 7, "f")
    assert state.as_dict() == {"step": 4, "seed": 7, "fingerprint": "f"}
    assert StreamState.from_dict(state.as_dict()) == state
