"""Streams: the same global batches for any ranks, workers and restarts."""

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sentalign.config import Data
from sentalign.stream.dataset import Stream
from sentalign.stream.order.plan import StreamState
from sentalign.tokenizer import SPECIAL, Tokenizer
from sharding.contract import SHARD_NAME, UserError

BATCH = 8


def settings(shards, **changes):
    return Data(**{"shards": shards, "batch": BATCH, "image_size": 32, "max_tokens": 24, "workers": 0, **changes})


def stream(shards, tokenizer, rank=0, ranks=1, seed=0, split="train", **changes):
    return Stream(settings(shards, **changes), seed, rank, ranks, tokenizer, split)


def take(one, count, state=None):
    with_states = list(itertools.islice(one.batches(state or one.start()), count))
    return [batch for batch, _ in with_states], [state for _, state in with_states]


def keys(batches):
    return [batch.keys for batch in batches]


def joined(lists):
    return list(itertools.chain.from_iterable(lists))


def test_each_sample_once_an_epoch(shards, tokenizer):
    one = stream(shards, tokenizer)
    batches, states = take(one, 12)
    assert one.epoch_batches == 6
    first, second = (joined(keys(part)) for part in (batches[:6], batches[6:]))
    assert len(first) == len(set(first)) == 48
    assert sorted(first) == sorted(second)
    assert first != second
    assert [state.step for state in states] == list(range(1, 13))
    assert [set(batch.epochs) for batch in batches] == [{0}] * 6 + [{1}] * 6


def test_account_counts_what_is_left_out(make_shards, tokenizer):
    one = stream(make_shards(21, silent=(0,)), tokenizer)
    assert one.account() == (
        "split train: 21 samples, 1 without text left out; "
        "an epoch has 2 batches of 8 and drops the last 4 of its order"
    )


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_side_by_side_are_the_global_batch(shards, tokenizer, ranks):
    whole, _ = take(stream(shards, tokenizer), 7)
    parts = [take(stream(shards, tokenizer, rank, ranks), 7)[0] for rank in range(ranks)]
    assert [joined(rows) for rows in zip(*map(keys, parts), strict=True)] == keys(whole)
    side_by_side = torch.cat([part[3].images_BHH for part in parts])
    assert torch.equal(side_by_side, whole[3].images_BHH)
    word_counts_BK = torch.cat([part[3].word_counts_BK for part in parts])  # K is the same on every rank
    assert torch.equal(word_counts_BK, whole[3].word_counts_BK)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(shards, tokenizer, workers):
    alone, states = take(stream(shards, tokenizer), 8)
    helped, helped_states = take(stream(shards, tokenizer, workers=workers), 8)
    assert helped_states == states
    for one, other in zip(alone, helped, strict=True):
        assert one.keys == other.keys
        for name in ("images_BHH", "tokens_BT", "unit_id_BT", "word_counts_BK", "attention_BT"):
            assert torch.equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("done", [1, 5, 6, 9])
def test_resumed_stream_goes_on(shards, tokenizer, done):
    whole, states = take(stream(shards, tokenizer), 12)
    rest, rest_states = take(stream(shards, tokenizer), 12 - done, states[done - 1])
    assert keys(rest) == keys(whole[done:])
    assert torch.equal(rest[-1].tokens_BT, whole[-1].tokens_BT)
    assert rest_states == states[done:]


@pytest.mark.parametrize(
    "lives",
    [
        [(4, 3, 2), (1, 0, 3), (2, 4, 4), (8, 1, 6)],
        [(8, 0, 1), (2, 2, 6), (4, 1, 8)],
        [(1, 4, 5), (1, 1, 1), (2, 3, 9)],
    ],
)
def test_any_ranks_and_real_workers_after_any_restarts_give_the_same_batches(shards, tokenizer, lives):
    """Each life of a run is (ranks, workers, batches); the state goes to the next one as a checkpoint stores it."""
    whole, _ = take(stream(shards, tokenizer), sum(count for _, _, count in lives))
    state, found = None, []
    for ranks, workers, count in lives:
        parts = [
            take(stream(shards, tokenizer, rank, ranks, workers=workers), count, state and StreamState.from_dict(state))
            for rank in range(ranks)
        ]
        assert len({states[-1] for _, states in parts}) == 1, "all ranks store the same state"
        state = json.loads(json.dumps(parts[0][1][-1].as_dict()))
        found += [joined(rows) for rows in zip(*(keys(batches) for batches, _ in parts), strict=True)]
        word_counts_BK = [
            torch.cat([b.word_counts_BK for b in rows]) for rows in zip(*(b for b, _ in parts), strict=True)
        ]
        assert all(map(torch.equal, word_counts_BK, [b.word_counts_BK for b in whole[len(found) - count : len(found)]]))
    assert found == keys(whole)


def test_resume_reads_nothing_that_it_does_not_use(shards, tokenizer, tmp_path):
    """With every shard gone that the next batch does not use, the batches before a state cannot have been read."""
    one = stream(shards, tokenizer)
    _, states = take(one, 3)
    rows = np.array([i for i in range(50) if i not in (3, 17)])  # of the manifest; a shard holds seven
    used = [ref.index for ref in one.mixture.samples(3, range(BATCH))]
    needed = {SHARD_NAME.format(row // 7) for row in rows[used]}
    assert len(needed) < 8
    copy = Path(shutil.copytree(shards, tmp_path / "copy"))
    for number in range(8):
        if SHARD_NAME.format(number) not in needed:
            (copy / SHARD_NAME.format(number)).unlink()
    batches, _ = take(stream(str(copy), tokenizer), 1, states[2])
    assert len(batches[0].keys) == BATCH


def test_workers_of_a_store_are_spawned(shards, tokenizer):
    """The threads of a store's client do not live through a fork: here a folder is read as if it were a store."""
    alone, _ = take(stream(shards, tokenizer), 2)
    one = stream(shards, tokenizer, workers=1)
    one.rows.local = False
    one.mixture.data_sets[0].read(0)
    assert keys(take(one, 2)[0]) == keys(alone)


def test_seed_changes_the_order(shards, tokenizer):
    assert keys(take(stream(shards, tokenizer), 2)[0]) != keys(take(stream(shards, tokenizer, seed=1), 2)[0])


def test_reading_draws_nothing_from_the_global_generator(shards, tokenizer):
    before = torch.get_rng_state()
    take(stream(shards, tokenizer), 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_state_of_other_data_or_seed_is_refused(shards, make_shards, tokenizer):
    one = stream(shards, tokenizer)
    other = stream(make_shards(49), tokenizer)
    with pytest.raises(UserError, match="are not those of this run"):
        one.batches(other.start())
    with pytest.raises(UserError, match="set seed=5"):
        one.batches(replace(one.start(), seed=5))


def test_split_smaller_than_a_batch_is_refused(make_shards, tokenizer):
    one = stream(make_shards(7), tokenizer)
    with pytest.raises(UserError, match=r"set data.batch to at most 7"):
        one.batches(one.start())


def test_ranks_that_cannot_share_are_refused(shards, tokenizer):
    with pytest.raises(UserError, match=r"set data.batch=6 or 9"):
        stream(shards, tokenizer, ranks=3)


@pytest.mark.parametrize("workers", [0, 1])
def test_damage_is_one_line_from_a_worker_too(make_shards, tokenizer, workers):
    folder = make_shards(8)
    shard = Path(folder) / SHARD_NAME.format(0)
    shard.write_bytes(b"\0" * shard.stat().st_size)
    with pytest.raises(UserError, match=r"shard-000000.tar is damaged") as error:
        take(stream(folder, tokenizer, workers=workers), 1)
    assert "\n" not in str(error.value)


def test_subset_is_a_part_of_the_report_and_full_reports_are_whole(shards, tokenizer):
    some, _ = take(stream(shards, tokenizer), 6)
    full, _ = take(stream(shards, tokenizer, sentence_subset=False), 6)
    part_B, whole_B = ((torch.cat([b.word_counts_BK for b in batches])[:, 1:] > 0).sum(1) for batches in (some, full))
    assert (part_B >= 1).all()
    assert (part_B <= whole_B).all()
    assert (part_B < whole_B).any()
    for part, whole in zip(some, full, strict=True):
        assert torch.equal(part.sentence_hash_BS, whole.sentence_hash_BS), (
            "the full stored report, whatever is chosen of it"
        )
        units, hashes = part.unit_hash_BK.tolist(), part.sentence_hash_BS.tolist()
        assert all(set(unit) - {0} <= set(whole) for unit, whole in zip(units, hashes, strict=True))


def test_too_many_sentences_for_the_tokens_leave_from_the_end(shards, tokenizer):
    one = stream(shards, tokenizer, sentence_subset=False, max_tokens=8)
    assert one.max_sentences == 5
    batch = take(one, 1)[0][0]
    assert batch.word_counts_BK.shape == (BATCH, 6)
    assert batch.tokens_BT.shape[1] == 8
    assert (batch.word_counts_BK[:, 1] > 0).all()
    assert (batch.word_counts_BK[:, 5] == 0).all()


def test_units_are_no_more_than_the_tokens_allow(make_shards, tokenizer):
    one = stream(make_shards(8, texts=("",) * 9 + ("Clear lungs.",)), tokenizer, sentence_subset=False, max_tokens=8)
    batch = take(one, 1)[0][0]
    assert one.max_sentences == 6
    assert batch.word_counts_BK.shape == (BATCH, 7)
    assert batch.unit_id_BT.max() < 6


def test_validation_is_the_split_in_order_with_full_reports(shards, tokenizer):
    batches = list(stream(shards, tokenizer).validation_batches())
    assert joined(keys(batches)) == [f"train-{i:04d}" for i in range(50) if i not in (3, 17)]
    sentences_B = torch.cat([(b.word_counts_BK[:BATCH, 1:] > 0).sum(1) for b in batches])
    np.testing.assert_array_equal(sentences_B, [int((row != 0).sum()) for b in batches for row in b.sentence_hash_BS])
    halves = [list(stream(shards, tokenizer, rank, 2).validation_batches()) for rank in range(2)]
    assert [a.keys + b.keys for a, b in zip(*halves, strict=True)] == keys(batches)


def test_validation_has_reports_with_the_other_sides_as_further_texts(make_shards):
    texts = ("Small left effusion.", "Clear lungs.", "The left ventricle is large.", "Left and right nodules.")
    swapped = ["Small right effusion.", "Clear lungs.", "The left ventricle is large.", "Right and left nodules."]
    words = Tokenizer([*SPECIAL, *sorted({*" ".join([*texts, *swapped]).replace(".", " .").split()})], cased=True)
    one = stream(make_shards(BATCH, "validate", texts=texts), words, split="validate")
    (batch,) = one.validation_batches()
    assert batch.sentences == [list(texts)] * BATCH
    assert batch.swapped_F.tolist() == list(range(BATCH))
    assert batch.negative_BK.tolist() == [[False, True, False, False, True]] * BATCH
    for n, sentences in enumerate([texts] * BATCH + [swapped] * BATCH):
        alone = words.encode(sentences, one.data.max_tokens)
        assert batch.tokens_BT[n][batch.attention_BT[n]].tolist() == alone.tokens
        assert batch.unit_id_BT[n][batch.attention_BT[n]].tolist() == alone.sentence_ids
        assert batch.word_counts_BK[n].tolist() == [alone.total_words, *alone.word_counts]
    trained = take(stream(make_shards(BATCH, texts=texts), words, sentence_subset=False), 1)[0][0]
    assert (trained.sentences, trained.swapped_F) == ([list(texts)] * BATCH, None)


def test_small_validation_split_is_one_batch_that_the_ranks_can_share(make_shards, tokenizer):
    folder = make_shards(7, "validate")
    for ranks, rows in ((1, 7), (2, 6), (4, 4)):
        parts = [list(stream(folder, tokenizer, r, ranks, split="validate").validation_batches()) for r in range(ranks)]
        assert [len(part) for part in parts] == [1] * ranks
        assert joined(part[0].keys for part in parts) == [f"validate-{i:04d}" for i in range(rows)]
    with pytest.raises(UserError, match="7 samples for 8 ranks"):
        stream(folder, tokenizer, 0, 8, split="validate").validation_batches()
