"""Mixtures: data sets by weight, each in epochs of its own, exact at any step."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentalign.config import Data
from sentalign.stream.dataset import Stream
from sentalign.stream.order import plan
from sentalign.stream.read.open_data import open_mixture
from sentalign.stream.rows import WorkItem
from sharding.contract import UserError

BATCH = 8


def data(sources, **changes):
    return Data(**{"shards": sources, "batch": BATCH, "image_size": 32, "max_tokens": 24, "workers": 0, **changes})


@pytest.fixture(scope="module")
def small(make_shards):
    """Keys begin with "train", as those of `large`; patients too, but hashes of manifests differ."""
    return make_shards(11)


@pytest.fixture(scope="module")
def large(make_shards):
    return make_shards(45, silent=(1,))


@pytest.fixture(scope="module")
def two(small, large):
    """Shares of 1 to 3: two lanes of eight, of 5 batches an epoch, and six of 7."""
    return [{"url": small, "weight": 1}, {"url": large, "weight": 3}]


def lanes_of(mixture, steps):
    return [mixture.samples(step, range(BATCH)) for step in range(steps)]


def test_one_data_set_is_the_plain_plan(large):
    one = open_mixture(data(large), "train", 5)
    part = one.data_sets[0]
    assert one.fingerprint == part.fingerprint
    assert one.epoch_batches == 5
    for step in range(12):
        epoch, position = divmod(step, 5)
        plain = plan.epoch_order(part.fingerprint, 5, epoch, part.shard_N, one.options.block, BATCH)
        refs = one.samples(step, range(BATCH))
        assert [ref.index for ref in refs] == plain.lanes_PB[position].tolist()
        assert {(ref.data_set, ref.epoch) for ref in refs} == {(0, epoch)}


def test_a_list_of_one_is_the_data_set_itself(large):
    named, listed = (open_mixture(data(sources), "train", 0) for sources in (large, [{"url": large, "weight": 7}]))
    assert named.fingerprint == listed.fingerprint
    assert lanes_of(named, 6) == lanes_of(listed, 6)


def test_lanes_follow_the_weights(two):
    one = open_mixture(data(two), "train", 0)
    assert one.lanes == [range(2), range(2, 8)]
    assert one.epoch_batches == 7
    for refs in lanes_of(one, 15):
        assert [ref.data_set for ref in refs] == [0] * 2 + [1] * 6


def test_each_data_set_reads_each_sample_once_in_each_epoch_of_its_own(two):
    one = open_mixture(data(two), "train", 0)
    seen = Counter(ref for refs in lanes_of(one, 35) for ref in refs)
    assert set(seen.values()) == {1}
    for number, lanes in enumerate(one.lanes):
        batches = len(one.data_sets[number]) // len(lanes)
        epochs = Counter(ref.epoch for ref in seen if ref.data_set == number)
        assert epochs == dict.fromkeys(range(35 // batches), batches * len(lanes))


def test_order_of_one_data_set_does_not_depend_on_the_other(two, small):
    mixed, alone = open_mixture(data(two), "train", 0), open_mixture(data(small, batch=2), "train", 0)
    for step in range(12):
        assert mixed.samples(step, range(2)) == alone.samples(step, range(2))


@settings(max_examples=30)
@given(step=st.integers(0, 40), ranks=st.sampled_from([1, 2, 4, 8]), workers=st.integers(1, 4))
def test_shares_of_ranks_and_workers_in_a_row_are_the_batch(two, step, ranks, workers):
    one = open_mixture(data(two), "train", 0)
    shares = [
        plan.share(plan.share(range(BATCH), rank, ranks), worker, workers)
        for rank in range(ranks)
        for worker in range(workers)
    ]
    assert [ref for share in shares for ref in one.samples(step, share)] == one.samples(step, range(BATCH))


@settings(max_examples=60)
@given(
    step=st.integers(0, 40), lane=st.integers(0, BATCH - 1), block=st.sampled_from([1, 3, 16]), most=st.integers(0, 1)
)
def test_rest_of_block_is_what_the_lane_reads_next_of_one_block_and_epoch(two, step, lane, block, most):
    one = open_mixture(data(two, block=block, max_duplicates=most), "train", 0)
    number, samples = one.rest_of_block(step, lane)
    refs = [one.samples(step + i, range(lane, lane + 1))[0] for i in range(len(samples) + 1)]
    assert [(ref.data_set, ref.index) for ref in refs[:-1]] == [(number, sample) for sample in samples]
    assert len({ref.epoch for ref in refs[:-1]}) == 1
    block_N = one.epoch(number, refs[0].epoch).block_N
    assert len({block_N[ref.index] for ref in refs[:-1]}) == 1
    assert refs[-1].epoch > refs[0].epoch or block_N[refs[-1].index] != block_N[samples[0]]


def test_epochs_that_fell_out_of_memory_come_back_the_same(two):
    one = open_mixture(data(two), "train", 0)
    first = lanes_of(one, 60)
    assert lanes_of(one, 60) == first
    assert [one.samples(step, range(BATCH)) for step in range(59, -1, -1)] == first[::-1]


def test_weights_order_and_data_change_the_fingerprint(two, small, large):
    other = [two[::-1], [two[0], {"url": large, "weight": 9}], [two[0], two[0]], small]
    assert len({open_mixture(data(sources), "train", 0).fingerprint for sources in (two, *other)}) == 5


def test_more_data_sets_than_lanes_are_refused(small):
    with pytest.raises(UserError, match=r"data.batch 2 has no room for 3 data sets"):
        open_mixture(data([{"url": small}] * 3, batch=2), "train", 0)


def test_a_data_set_without_validation_samples_only_adds_to_the_training(small, make_shards):
    checked = make_shards(9, "validate")
    one = open_mixture(data([{"url": small}, {"url": checked}], train_split="train"), "validate", 0)
    assert [part.url for part in one.data_sets] == [checked]
    with pytest.raises(UserError, match="no sample with text in split 'train'"):
        open_mixture(data([{"url": small}, {"url": checked}]), "train", 0)


def take(two, tokenizer, rank, ranks, workers, count, step=0):
    one = Stream(data(two, workers=workers, max_duplicates=2), 0, rank, ranks, tokenizer, "train")
    batches = [batch for batch, _ in itertools.islice(one.batches(replace(one.start(), step=step)), count)]
    return [list(zip(batch.keys, batch.epochs, batch.tokens_BT.sum(1).tolist(), strict=True)) for batch in batches]


@pytest.mark.parametrize(
    ("ranks", "workers", "step"), [(1, 2, 6), (2, 0, 1), (2, 1, 7), (2, 2, 11), (4, 0, 4), (4, 2, 8)]
)
def test_stream_of_a_mixture_resumes_exactly(two, tokenizer, ranks, workers, step):
    whole = take(two, tokenizer, 0, 1, 0, step + 4)
    parts = [take(two, tokenizer, rank, ranks, workers, 4, step) for rank in range(ranks)]
    assert [list(itertools.chain(*rows)) for rows in zip(*parts, strict=True)] == whole[step:]


def test_rows_carry_the_epoch_of_their_data_set(two, tokenizer):
    """The small data set is in its second epoch after 5 batches, the large one after 7: other subsets each time."""
    one = Stream(data(two), 0, 0, 1, tokenizer, "train")
    epochs = [batch.epochs for batch, _ in itertools.islice(one.batches(one.start()), 8)]
    assert epochs == [[0] * 8] * 5 + [[1] * 2 + [0] * 6] * 2 + [[1] * 8]
    rows = [one.rows[WorkItem(step, range(BATCH))] for step in (0, 5)]
    assert [set(row.epochs) for row in rows] == [{0}, {0, 1}]


def test_account_of_a_mixture_names_each_data_set(two, small, large, tokenizer):
    lines = Stream(data(two), 0, 0, 1, tokenizer, "train").account().splitlines()
    assert lines == [
        f"{small}, split train: 11 samples, 0 without text left out; "
        "an epoch has 5 batches of 2 of 8 and drops the last 1 of its order",
        f"{large}, split train: 45 samples, 1 without text left out; "
        "an epoch has 7 batches of 6 of 8 and drops the last 2 of its order",
    ]


def test_a_data_set_too_small_for_its_lanes_is_refused(two, make_shards, tokenizer):
    tiny = make_shards(3)
    one = Stream(data([{"url": tiny, "weight": 3}, two[1]]), 0, 0, 1, tokenizer, "train")
    with pytest.raises(UserError, match="has 3 samples with text"):
        one.batches(one.start())


def test_validation_runs_through_all_data_sets(make_shards, tokenizer):
    sources = [{"url": make_shards(count, "validate")} for count in (5, 7)]
    one = Stream(data(sources, batch=4), 0, 0, 1, tokenizer, "validate")
    keys = list(itertools.chain(*(batch.keys for batch in one.validation_batches())))
    assert keys == [f"validate-{i:04d}" for count in (5, 7) for i in range(count)]
    assert np.unique(keys).size == 7
