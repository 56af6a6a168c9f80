"""Swapped reports as further texts of a batch: which sentences are negatives, and that the rest stays what it was."""

import itertools
from dataclasses import replace

import pytest
import torch

from sentalign.config import Data
from sentalign.stream.dataset import Stream
from sentalign.stream.read.fetch import Shards
from sentalign.stream.side_swap import is_false, is_sided_finding, swapped_report
from sentalign.tokenizer import Tokenizer
from sharding.contract import Sentence
from tests.stream.conftest import tuples, write

BATCH = 8
LEFT, RIGHT = "Small left effusion.", "Small right effusion."
# Each report with its swapped form, and which of its sentences are false then; None where none is.
REPORTS = [
    ((LEFT, "The heart is large."), (RIGHT, "The heart is large."), [0]),
    ((LEFT, RIGHT), None, []),  # both are said
    (("No left effusion.", "The left lung is clear."), None, []),  # negated, normal
    (("The heart is large.",), None, []),
    (("Left and right drains.", "RUL nodule."), ("Right and left drains.", "LUL nodule."), [1]),  # both sides at once
    (("Right middle lobe pneumonia.", "LLL collapse."), ("Right middle lobe pneumonia.", "RLL collapse."), [1]),
    (("A left lateral view.", RIGHT), ("A left lateral view.", LEFT), [1]),
]
TAGS = {
    "No left effusion.": ("negated",),
    "The left lung is clear.": ("normal",),
    "A left lateral view.": ("non-image",),
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    samples = []
    for i, sample in enumerate(tuples(42)):
        texts = REPORTS[i % len(REPORTS)][0]
        sentences = tuple(Sentence(text, "f", 0, 1, TAGS.get(text, ())) for text in texts)
        samples.append(replace(sample, sentences=sentences))
    return write(tmp_path_factory.mktemp("swapped"), samples)


@pytest.fixture(scope="module")
def words():
    texts = [text for stored, swapped, _ in REPORTS for text in (*stored, *(swapped or ()))]
    return Tokenizer.train(texts, 300, cased=True)


def take(shards, words, count=5, rank=0, ranks=1, swapped=True, **changes):
    settings = {"batch": BATCH, "image_size": 32, "max_tokens": 48, "workers": 0, "sentence_subset": False, **changes}
    one = Stream(Data(shards=shards, **settings), 3, rank, ranks, words, "train", swapped)
    return [batch for batch, _ in itertools.islice(one.batches(one.start()), count)], one


@pytest.mark.parametrize("stored", range(len(REPORTS)))
def test_negatives_are_those_of_the_table(shards, words, stored):
    texts, swapped, false = REPORTS[stored]
    sample = Shards(shards, "train").read(stored)
    assert sample.sentences == texts
    found = swapped_report(sample, range(len(texts)), is_false, words, 48)
    assert (found and found.row) == (words.encode(swapped, 48) if swapped else None)
    assert (found.negatives if found else []) == false


def test_the_other_sentence_is_said_even_if_it_was_not_drawn(shards, words):
    sample = Shards(shards, "train").read(1)
    assert swapped_report(sample, [0], is_false, words, 48) is None


@pytest.mark.parametrize("buckets", [1, 3])
def test_texts_of_a_batch_are_its_reports_and_the_swapped_ones(shards, words, buckets):
    batches, _ = take(shards, words, length_buckets=buckets)
    seen = 0
    for batch in batches:
        reports = [REPORTS[int(key[-4:]) % len(REPORTS)] for key in batch.keys]
        assert batch.swapped_F.tolist() == [b for b, (_, swapped, _) in enumerate(reports) if swapped]
        texts = [stored for stored, _, _ in reports] + [swapped for _, swapped, _ in reports if swapped]
        assert len(texts) == len(batch.tokens_BT) == len(batch.unit_id_BT) == len(batch.word_counts_BK)
        for n, text in enumerate(texts):
            row = words.encode(text, 48)
            assert batch.tokens_BT[n][batch.attention_BT[n]].tolist() == row.tokens
            assert batch.unit_id_BT[n][: len(row.tokens)].tolist() == row.sentence_ids
            assert batch.word_counts_BK[n, 1 : 1 + len(text)].tolist() == row.word_counts
        expected = [[k - 1 in false for k in range(batch.negative_BK.shape[1])] for _, _, false in reports]
        assert batch.negative_BK.tolist() == expected
        assert len(batch.widths) == buckets
        assert sorted(batch.order_B.tolist()) == list(range(len(texts)))
        seen += len(batch.swapped_F)
    assert seen > 5


def test_the_rest_of_the_batch_is_what_it_is_without_them(shards, words):
    for with_, without in zip(take(shards, words)[0], take(shards, words, swapped=False)[0], strict=True):
        assert without.swapped_F is without.negative_BK is None
        for name in ("images_BHH", "study_B", "report_B", "sentence_hash_BS", "unit_hash_BK", "tags_BK"):
            assert torch.equal(getattr(with_, name), getattr(without, name))
        assert torch.equal(with_.word_counts_BK[:BATCH], without.word_counts_BK)


@pytest.mark.parametrize(("ranks", "workers"), [(2, 1), (4, 0)])
def test_ranks_and_workers_change_nothing(shards, words, ranks, workers):
    """Each rank has the swapped reports of its own rows, and as many buckets as the others."""
    whole, _ = take(shards, words, mirror=0.5)
    parts = [take(shards, words, 5, r, ranks, workers=workers, mirror=0.5, length_buckets=2)[0] for r in range(ranks)]
    for batch, *shares in zip(whole, *parts, strict=True):
        rows = BATCH // ranks
        assert torch.equal(batch.negative_BK, torch.cat([share.negative_BK for share in shares]))
        assert batch.swapped_F.tolist() == [rows * r + f for r, x in enumerate(shares) for f in x.swapped_F.tolist()]
        swapped = torch.cat([share.word_counts_BK[rows:] for share in shares])
        assert torch.equal(batch.word_counts_BK[BATCH:], swapped)
        assert {len(share.widths) for share in shares} == {2}


def test_a_sentence_that_the_swapped_report_has_no_tokens_for_is_no_negative(shards, words):
    batches, _ = take(shards, words, max_tokens=8)
    cut = [b for batch in batches for b in range(BATCH) if batch.word_counts_BK[b, 2] == 0 and batch.negative_BK[b, 2]]
    assert not cut
    rows = {int(key[-4:]) % len(REPORTS) for batch in batches for key in batch.keys}
    assert rows >= {4, 5, 6}, "whose second sentence is a negative and does not fit"


def test_in_validation_every_finding_that_names_a_side_is_compared(shards):
    """Also one with both sides, and one that the report says of either side."""
    places = [[0], [0, 1], [], [], [0, 1], [1], [1]]
    for stored, expected in enumerate(places):
        sample = Shards(shards, "train").read(stored)
        assert [n for n in range(len(sample.sentences)) if is_sided_finding(sample, n)] == expected
