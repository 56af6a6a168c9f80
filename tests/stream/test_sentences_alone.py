"""Training batches whose sentences are encoded alone: against the encoder of inference, one sentence at a time."""

import itertools
from dataclasses import replace

import pytest
import torch

from sentalign.config import Data
from sentalign.localize.texts import Texts
from sentalign.model import dual, image, text
from sentalign.sides import swap
from sentalign.stream.dataset import Stream
from sentalign.stream.word_units import by_word
from sentalign.tokenizer import Row, Tokenizer
from sharding.contract import Sentence
from tests.stream.conftest import tuples, write
from tests.stream.plain_words import words_of

BATCH, MAX_TOKENS = 6, 20
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "heart", "##s", "large", ".", "no", "##thing", "left", "right"]
REPORTS = [
    ("hearts left.", "nothing large", "right"),
    ("nothing large", "hearts left."),
    ("left heart.", "\u200b", "large right hearts."),  # the second one has no piece
    ("\u200b",),
    ("large. " * 8, "no heart", "left."),  # the second does not fit
    ("right hearts " * 12, "left."),  # cut off
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    samples = []
    for i, sample in enumerate(tuples(30)):
        sentences = tuple(Sentence(t, "f", 0, 1, ()) for t in REPORTS[i % len(REPORTS)])
        samples.append(replace(sample, sentences=sentences))
    return write(tmp_path_factory.mktemp("alone"), samples)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    vision = {"layer_type": "basic", "num_channels": 1, "embedding_size": 8, "hidden_sizes": [8], "depths": [1]}
    bert = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
    towers = image.build(None, vision, "stage1", "stage1", 16), text.build(None, bert, len(PIECES), 2)
    return dual.DualEncoder(*towers).eval()


def stream(shards, split="train", rank=0, ranks=1, **changes):
    settings = {"batch": BATCH, "image_size": 32, "max_tokens": MAX_TOKENS, "workers": 0, "sentence_subset": False}
    data = Data(shards=shards, **{**settings, "context": "sentence", **changes})
    return Stream(data, 3, rank, ranks, Tokenizer(PIECES, cased=True), split, swapped=True)


def take(shards, count=4, **changes):
    one = stream(shards, **changes)
    return [batch for batch, _ in itertools.islice(one.batches(one.start()), count)]


def encoded(model, batch):
    """Packed units and report vectors of a batch, as a step reads them."""
    words = batch.tokens_BT, batch.attention_BT, batch.unit_id_BT, batch.word_counts_BK, batch.word_counts_BK > 0
    made = text.buckets(*words, batch.order_B, batch.widths, batch.alone_E3, batch.alone_widths)
    features = model(None, made)
    return features.units_MD, features.report_BD


def texts_of(batch):
    """The sentences of each text of the batch, reports and swapped ones."""
    return batch.sentences + [[swap(s) or s for s in batch.sentences[b]] for b in batch.swapped_F.tolist()]


@pytest.mark.parametrize("changes", [{}, {"length_buckets": 3, "mirror": 0.5}, {"sentence_subset": True}])
def test_a_sentence_has_the_vector_of_a_query(shards, model, changes):
    query, compared = Texts(model, Tokenizer(PIECES, cased=True), MAX_TOKENS, "cpu"), 0
    for batch in take(shards, **changes):
        with torch.no_grad():
            units_MD, _ = encoded(model, batch)
        packed = iter(units_MD)
        for n, sentences in enumerate(texts_of(batch)):
            next(packed)  # [CLS]
            for k, sentence in enumerate(sentences, start=1):
                if batch.word_counts_BK[n, k] > 0:
                    torch.testing.assert_close(next(packed), query([sentence]).units_N2D[0, 1], atol=1e-5, rtol=1e-5)
                    compared += 1
        assert next(packed, None) is None
    assert compared > 20


@pytest.mark.parametrize("buckets", [1, 3])
def test_reports_and_cls_have_the_vectors_of_the_whole_report(shards, model, buckets):
    for alone, whole in zip(take(shards, length_buckets=buckets), take(shards, context="report"), strict=True):
        assert torch.equal(alone.word_counts_BK, whole.word_counts_BK)
        with torch.no_grad():
            (units_MD, report_BD), (expected_MD, expected_BD) = (encoded(model, batch) for batch in (alone, whole))
        torch.testing.assert_close(report_BD, expected_BD, atol=1e-5, rtol=1e-5)
        first = (alone.word_counts_BK > 0).sum(1).cumsum(0) - (alone.word_counts_BK > 0).sum(1)
        torch.testing.assert_close(units_MD[first], expected_MD[first], atol=1e-5, rtol=1e-5)
        assert (units_MD - expected_MD).abs().max() > 0.01, "sentences are others"


def test_words_are_those_of_the_sentence_alone(shards, model):
    """Also in validation batches, whose swapped reports are left out."""
    validation = list(stream(shards).validation_batches())
    assert any(len(batch.swapped_F) for batch in validation)
    for batch in [*take(shards), *validation]:
        found = by_word(batch, MAX_TOKENS)
        with torch.no_grad():
            packed = iter(encoded(model, found)[0])
            for b, sentences in enumerate(batch.sentences):
                next(packed)
                words, counted = words_of(batch, b), 0
                for k in range(len(sentences)):
                    own = [places for places, sentence in words if sentence == k]
                    if own:
                        alone_TD = pieces(model, [batch.tokens_BT[b, p] for places in own for p in places])
                        for places in own:
                            inside = [1 + p - own[0][0] for p in places]
                            expected = alone_TD[inside].sum(dim=0)
                            torch.testing.assert_close(next(packed), expected, atol=1e-5, rtol=1e-5)
                            counted += 1
                assert counted == len(words)
        assert next(packed, None) is None


def pieces(model, tokens):
    """The summed layers of [CLS], the tokens and [SEP], (T, D)."""
    out = model.text.bert(input_ids=torch.tensor([[2, *tokens, 3]]), output_hidden_states=True)
    return sum(out.hidden_states[-layer][0] for layer in (1, 2))


@pytest.mark.parametrize("buckets", [1, 3])
def test_ranks_have_equally_many_buckets_and_no_more_padding_than_they_need(shards, buckets):
    for batches in zip(*(take(shards, rank=r, ranks=2, length_buckets=buckets) for r in range(2)), strict=True):
        assert {len(batch.alone_widths) for batch in batches} == {buckets}
        for batch in batches:
            parts = batch.alone_E3.tensor_split(buckets)
            assert all(len(part) for part in parts)
            longest = [int(part[:, 2].max()) + 2 for part in parts]
            assert batch.alone_widths == tuple(min(-(-length // 8) * 8, MAX_TOKENS) for length in longest)


def test_a_text_without_a_piece_has_an_empty_row():
    from sentalign.stream.sentences_alone import spans

    rows = [Row([2, 3], [-1, -1], [0, 0], [False] * 2), Row([2, 4, 4, 3], [-1, 1, 1, -1], [0, 2], [False] * 4)]
    assert spans(rows, 3) == [(0, 0, 0), (1, 1, 2)]
    assert spans(rows, 2) == [(0, 0, 0), (1, 0, 0)], "a sentence beyond the units of a row"
