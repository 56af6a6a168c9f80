"""Batches whose units are words: against a loop over positions, against the texts themselves, and as duplicates."""

import itertools

import pytest
import torch

from sentalign.config import Data
from sentalign.loss import targets
from sentalign.loss.targets import ReportIds
from sentalign.stream.batch import TAGS
from sentalign.stream.dataset import Stream
from sentalign.stream.word_units import by_word
from sentalign.tokenizer import Tokenizer
from sharding.contract import Sentence
from tests.stream.conftest import tuples, write
from tests.stream.plain_words import words_batch

BATCH, MAX_TOKENS = 6, 20
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "heart", "##s", "large", ".", "no", "##thing", "left", "right"]
# The last one is cut off within a sentence of four words, the one before has a sentence that does not fit.
REPORTS = [
    ("heart large.", "nothing left"),
    ("nothing left", "hearts."),
    ("right heart.",),
    ("left. " * 8, "large large."),
    ("hearts " * 12,),
]


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    samples = []
    for i, sample in enumerate(tuples(30)):
        texts = REPORTS[i % len(REPORTS)]
        sentences = tuple(Sentence(t, "f", 0, 1, ("negated",) if "no" in t else ()) for t in texts)
        samples.append(sample.__class__(**{**vars(sample), "sentences": sentences}))
    data = Data(
        shards=write(tmp_path_factory.mktemp("words"), samples),
        batch=BATCH,
        image_size=32,
        max_tokens=MAX_TOKENS,
        workers=0,
        sentence_subset=False,
        length_buckets=2,
    )
    stream = Stream(data, 3, 0, 1, Tokenizer(PIECES, cased=True), "train")
    training = [batch for batch, _ in itertools.islice(stream.batches(stream.start()), 4)]
    return training, [*Stream(data, 3, 0, 1, Tokenizer(PIECES, cased=True), "train").validation_batches()]


def assert_units_are(batch, expected):
    for name in ("tokens_BT", "attention_BT", "unit_id_BT", "word_counts_BK", "unit_hash_BK", "tags_BK"):
        assert torch.equal(getattr(batch, name), getattr(expected, name)), name


def test_units_are_those_of_a_loop_over_positions(batches):
    for batch in batches[0]:
        found = by_word(batch, MAX_TOKENS)
        assert_units_are(found, words_batch(batch, MAX_TOKENS - 1))
        assert (found.widths, found.order_B.tolist()) == (batch.widths, batch.order_B.tolist())


def test_units_are_the_words_of_the_text(batches):
    """Pieces of a word are one unit; a sentence that is cut off or left out has only the words that are there."""
    numbers = {"heart large.": 3, "nothing left": 2, "hearts.": 2, "right heart.": 2 + 1}
    for batch in batches[0]:
        found = by_word(batch, MAX_TOKENS)
        for b, key in enumerate(batch.keys):
            texts = REPORTS[int(key[-4:]) % len(REPORTS)]
            # Eight times a word and a full stop; nine whole words of two pieces within eighteen positions.
            counts = [numbers.get(text, {"l": 16, "h": 9}[text[0]] if text in (REPORTS[3][0], REPORTS[4][0]) else 0)
                      for text in texts]  # fmt: skip
            words = [text for text, count in zip(texts, counts, strict=True) for _ in range(count)]
            assert found.word_counts_BK[b, 1:].tolist() == [1] * len(words) + [0] * (MAX_TOKENS - 2 - len(words))
            bit = 1 << TAGS.index("negated")
            assert found.tags_BK[b, 1 : 1 + len(words)].tolist() == [bit * ("no" in text) for text in words]
            by_text = dict(zip(words, found.unit_hash_BK[b, 1:].tolist(), strict=False))
            assert len(set(by_text.values())) == len(by_text)
            assert found.unit_hash_BK[b, 1 : 1 + len(words)].tolist() == [by_text[text] for text in words]


def test_a_validation_batch_loses_its_swapped_reports(batches):
    assert any(len(batch.swapped_F) for batch in batches[1])
    for batch in batches[1]:
        found = by_word(batch, MAX_TOKENS)
        assert_units_are(found, words_batch(batch, MAX_TOKENS - 1))
        assert found.swapped_F is found.negative_BK is None
        assert (found.widths, found.order_B.tolist()) == ((batch.tokens_BT.shape[1],), list(range(BATCH)))


def test_a_word_is_a_duplicate_where_its_sentence_is(batches):
    for batch in batches[0]:
        found, images = by_word(batch, MAX_TOKENS), len(batch.keys)
        present = found.word_counts_BK > 0
        ids = (found.study_B, found.report_B, found.sentence_hash_BS, found.unit_hash_BK, present.float())
        kept = targets.pair_weights(ReportIds(*ids), ReportIds(*ids), torch.eye(images, dtype=torch.bool), "drop")
        texts = [REPORTS[int(key[-4:]) % len(REPORTS)] for key in batch.keys]
        hashes = {text: h for b, own in enumerate(texts) for text, h in zip(own, batch.sentence_hash_BS[b].tolist())}  # noqa: B905
        for i, j, k in itertools.product(range(images), range(images), range(1, MAX_TOKENS - 1)):
            shared = i != j and int(found.unit_hash_BK[j, k]) in {hashes[text] for text in texts[i]}
            assert kept[i, j, k] == (present[j, k] and not shared)
