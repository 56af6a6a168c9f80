"""The sequence of global batches, as ranks and workers make it over restarts: always the plain one.

The plan in process: the work items of each worker, in the order in which a rank joins their rows. One test reads the
pictures, real worker processes are in `test_dataset` and `test_mixture`.
"""

import itertools
import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentalign.config import Data
from sentalign.stream.dataset import Stream
from sentalign.stream.order.plan import StreamState
from sentalign.stream.read.manifest_index import read_index
from sharding.contract import MANIFEST_NAME, UserError

BATCH = 8
RANKS = st.sampled_from([1, 2, 4, 8])
WORKERS = st.integers(0, 4)
# A leg of a run: ranks, workers, batches until it is killed.
LEGS = st.lists(st.tuples(RANKS, WORKERS, st.integers(0, 9)), min_size=1, max_size=5)
OPTIONS = st.fixed_dictionaries(
    {"block": st.sampled_from([1, 3, 16]), "max_duplicates": st.integers(0, 2), "mixed": st.booleans()}
)
SEEDS = st.integers(0, 3)


@pytest.fixture(scope="module")
def stream(make_shards, tokenizer):
    """stream(options, seed, rank, ranks, workers): streams are kept, so that what one remembers may not matter."""
    small, large = make_shards(11), make_shards(45, silent=(1,))

    @cache
    def built(block, most, mixed, seed, rank, ranks, workers):
        shards = [{"url": small}, {"url": large, "weight": 3}] if mixed else large
        data = Data(shards=shards, batch=BATCH, block=block, max_duplicates=most, workers=workers, image_size=32)
        return Stream(data, seed, rank, ranks, tokenizer, "train")

    def make(options, seed=0, rank=0, ranks=1, workers=0):
        return built(options["block"], options["max_duplicates"], options["mixed"], seed, rank, ranks, workers)

    return make


def plain(stream, options, seed, first, count):
    """The batches from number `first` on, straight from the plan."""
    mixture = stream(options, seed).mixture
    return [mixture.samples(step, range(BATCH)) for step in range(first, first + count)]


def through_a_checkpoint(state):
    return StreamState.from_dict(json.loads(json.dumps(state.as_dict())))


def leg(stream, options, seed, state, ranks, workers, count):
    """The global batches that ranks and workers make from a state on, and the state after them."""
    shares = []
    for rank in range(ranks):
        one = stream(options, seed, rank, ranks, workers)
        one.batches(state)  # refuses a state that is not its own; reads nothing yet
        items = one.work_items(state)
        batches = [itertools.islice(items, max(1, workers)) for _ in range(count)]
        shares.append([[s for item in batch for s in one.mixture.samples(item.step, item.lanes)] for batch in batches])
    after = replace(state, step=state.step + count)
    return [list(itertools.chain(*rows)) for rows in zip(*shares, strict=True)], through_a_checkpoint(after)


@settings(max_examples=150)
@given(options=OPTIONS, seed=SEEDS, start=st.integers(0, 30), legs=LEGS)
def test_sequence_is_the_plain_one_whatever_ranks_workers_and_restarts(stream, options, seed, start, legs):
    state = replace(stream(options, seed).start(), step=start)
    found = []
    for ranks, workers, count in legs:
        made, state = leg(stream, options, seed, state, ranks, workers, count)
        found += made
    assert found == plain(stream, options, seed, start, len(found))
    assert len(found) == sum(count for _, _, count in legs)


@settings(max_examples=60)
@given(options=OPTIONS, seed=SEEDS, ranks=RANKS, workers=WORKERS, legs=LEGS)
def test_every_sample_comes_once_an_epoch_but_for_those_in_the_account(stream, options, seed, ranks, workers, legs):
    """Over two epochs of the longest data set, cut by restarts; each data set counts its own epochs."""
    one = stream(options, seed)
    state, found, wanted = one.start(), [], 2 * one.epoch_batches
    for now, busy, count in [*legs, (ranks, workers, wanted)]:
        made, state = leg(stream, options, seed, state, now, busy, min(count, wanted - len(found)))
        found += made
    seen = [ref for batch in found for ref in batch]
    assert len(set(seen)) == len(seen)
    for number, (shards, lanes) in enumerate(zip(one.mixture.data_sets, one.mixture.lanes, strict=True)):
        batches = len(shards) // len(lanes)
        for epoch in range(wanted // batches):
            samples = {ref.index for ref in seen if (ref.data_set, ref.epoch) == (number, epoch)}
            dropped = set(one.mixture.epoch(number, epoch).dropped.tolist())
            assert samples == set(range(len(shards))) - dropped
            assert f"drops the last {len(dropped)} of its order" in one.account().splitlines()[number]


@settings(max_examples=60)
@given(options=OPTIONS, first=SEEDS, second=SEEDS, epoch=st.integers(0, 5), other=st.integers(0, 5))
def test_other_seeds_and_epochs_have_other_sequences(stream, options, first, second, epoch, other):
    made = []
    for seed, number in ((first, epoch), (second, other)):
        batches = stream(options, seed).epoch_batches
        whole = plain(stream, options, seed, number * batches, batches)
        made.append([(ref.data_set, ref.index) for batch in whole for ref in batch])
    assert (made[0] == made[1]) == ((first, epoch) == (second, other))


@settings(max_examples=12)
@given(options=OPTIONS, legs=st.lists(st.tuples(RANKS, st.integers(0, 4)), min_size=1, max_size=3))
def test_batches_that_are_read_are_those_of_the_plan(stream, options, legs):
    """With pictures and words, and the states that come with the batches."""
    state, found = stream(options).start(), []
    for ranks, count in legs:
        taken = [list(itertools.islice(stream(options, 0, r, ranks).batches(state), count)) for r in range(ranks)]
        found += [[key for batch, _ in rows for key in batch.keys] for rows in zip(*taken, strict=True)]
        assert len({after for rows in taken for _, after in rows[-1:]}) <= 1
        state = through_a_checkpoint(taken[0][-1][1]) if count else state
    parts = stream(options).mixture.data_sets
    wanted = plain(stream, options, 0, 0, len(found))
    assert found == [[parts[ref.data_set].row(ref.index)["key"] for ref in batch] for batch in wanted]


CHANGES = {
    "a sample less": lambda table: table.slice(0, table.num_rows - 1),
    "another order": lambda table: table.take(pa.array([1, 0, *range(2, table.num_rows)])),
    "another patient": lambda table: put(table, "patient", ["p99", *table["patient"].to_pylist()[1:]]),
    "another sentence": lambda table: put(table, "text_hashes", [["f"], *table["text_hashes"].to_pylist()[1:]]),
    "another split": lambda table: put(table, "split", ["test", *table["split"].to_pylist()[1:]]),
    "other settings": lambda table: table.replace_schema_metadata(
        {**table.schema.metadata, b"settings": b'{"size":1}'}
    ),
}


def put(table, name, values):
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("mixed", [False, True])
def test_a_changed_manifest_is_refused_on_resume(make_shards, tokenizer, tmp_path, change, mixed):
    url = Path(shutil.copytree(make_shards(45), tmp_path / "shards"))
    shards = [{"url": make_shards(11)}, {"url": str(url), "weight": 3}] if mixed else str(url)

    def stream():
        return Stream(Data(shards=shards, batch=BATCH), 0, 0, 1, tokenizer, "train")

    state = through_a_checkpoint(replace(stream().start(), step=5))
    stream().batches(state)
    pq.write_table(CHANGES[change](pq.read_table(url / MANIFEST_NAME)), url / MANIFEST_NAME)
    read_index.cache_clear()  # as in a new process
    with pytest.raises(UserError, match=r"the shards in .* are not those of this run; restore them or start") as error:
        stream().batches(state)
    assert "\n" not in str(error.value)
