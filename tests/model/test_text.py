"""The text tower against the rules of docs/method.md (paper mode, text side) as a slow loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sentalign.model import text
from sentalign.model.pretrained import WeightsError
from sentalign.tokenizer import Tokenizer

BERT = {"hidden_size": 16, "num_hidden_layers": 5, "num_attention_heads": 2, "intermediate_size": 24}
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "heart", "##s", "large", ".", "no", "##thing", "effusion"]


def slow(tower, tokenizer, sentences):
    """Units and report of one report alone: pieces to words by addition, words to sentences and report by the mean."""
    row = tokenizer.encode(sentences, 97)
    with torch.no_grad():
        out = tower.bert(input_ids=torch.tensor([row.tokens]), output_hidden_states=True)
    summed_TD = sum(out.hidden_states[-layer][0] for layer in range(1, 5))
    words = []  # (sentence, vector); [CLS] and [SEP] are words of no sentence
    for position, (piece, sentence) in enumerate(zip(row.tokens, row.sentence_ids, strict=True)):
        if tokenizer.vocabulary[piece].startswith("##"):
            words[-1] = (sentence, words[-1][1] + summed_TD[position])
        else:
            words.append((sentence, summed_TD[position]))
    units = [words[0][1]]
    for number in range(len(sentences)):
        units.append(torch.stack([vector for sentence, vector in words if sentence == number]).mean(dim=0))
    return torch.stack(units), torch.stack([vector for _, vector in words]).mean(dim=0)


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(1)
    return text.build(None, BERT, len(VOCABULARY), 4).eval()


def padded(rows, units, width):
    tokens_BT, unit_id_BT = torch.zeros(len(rows), width, dtype=torch.long), torch.full((len(rows), width), -1)
    word_counts_BK = torch.zeros(len(rows), units)
    for b, row in enumerate(rows):
        tokens_BT[b, : len(row.tokens)] = torch.tensor(row.tokens)
        unit_id_BT[b, : len(row.sentence_ids)] = torch.tensor(row.sentence_ids)
        word_counts_BK[b, 0] = row.total_words
        word_counts_BK[b, 1 : 1 + len(row.word_counts)] = torch.tensor(row.word_counts)
    lengths_B = torch.tensor([len(row.tokens) for row in rows])
    return tokens_BT, torch.arange(width) < lengths_B[:, None], unit_id_BT, word_counts_BK


def one_bucket(*words):
    return text.buckets(*words, words[3] > 0)


def order_of(rows, buckets):
    """Rows from the shortest to the longest, and the width of each bucket."""
    lengths_B = torch.tensor([len(row.tokens) for row in rows])
    order_B = lengths_B.argsort(stable=True)
    return order_B, tuple(int(lengths_B[piece].max()) for piece in order_B.tensor_split(buckets))


sentence = st.lists(st.sampled_from(["heart", "hearts", "large", "nothing", "."]), min_size=1, max_size=4).map(" ".join)
report = st.lists(sentence, min_size=1, max_size=4)


@settings(max_examples=25)
@given(st.lists(report, min_size=1, max_size=3))
def test_units_and_reports_equal_the_slow_loop(tower, reports):
    tokenizer = Tokenizer(VOCABULARY, cased=True)
    rows = [tokenizer.encode(sentences, 97) for sentences in reports]
    with torch.no_grad():
        units_MD, report_BD = tower(*one_bucket(*padded(rows, 6, 48)))
    expected = [slow(tower, tokenizer, sentences) for sentences in reports]
    torch.testing.assert_close(units_MD, torch.cat([units_KD for units_KD, _ in expected]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(report_BD, torch.stack([x for _, x in expected]), atol=1e-5, rtol=1e-4)


def test_a_sentence_without_words_is_no_unit(tower):
    """Nor does it shift the units after it."""
    tokenizer = Tokenizer(VOCABULARY, cased=True)
    rows = [tokenizer.encode(sentences, 97) for sentences in (["heart", "", "large"], ["", "no"], [])]
    rows_without = [tokenizer.encode(sentences, 97) for sentences in (["heart", "large"], ["no"], [])]
    with torch.no_grad():
        (units_MD, _), (expected_MD, _) = (tower(*one_bucket(*padded(x, 4, 8))) for x in (rows, rows_without))
    assert len(units_MD) == 6
    torch.testing.assert_close(units_MD, expected_MD)


def test_by_hand_with_a_bert_that_returns_the_position(buckets):
    class Positions(torch.nn.Module):
        def forward(self, input_ids, attention_mask, output_hidden_states):
            assert attention_mask.dtype == torch.long
            layer_BTD = torch.arange(6.0).expand(2, 6)[..., None]
            return type("Out", (), {"hidden_states": [layer_BTD * n for n in (100, 1, 2, 3)]})

    units_MD, report_BD = text.TextTower(Positions(), last_layers=2)(*buckets)
    # Layers 2 and 3 sum to 5 · position; sentence 0 is positions 1 to 3 in two words.
    assert units_MD[:, 0].tolist() == [0, 15, 20, 0, 15]
    assert report_BD[:, 0].tolist() == [15, 10]
    # More layers than there are: all, but never the embedding.
    units_MD, _ = text.TextTower(Positions(), last_layers=9)(*buckets)
    assert units_MD[1, 0] == 18


def test_every_parameter_has_a_finite_gradient(buckets):
    tower = text.build(None, BERT, 40, 4)
    units_MD, report_BD = tower(*buckets)
    (units_MD.square().sum() + report_BD.square().sum()).backward()
    # No pooler and no other parameter without a use: ZeRO and DDP would wait for its gradient.
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tower.parameters())


def test_a_new_tower_tells_sentences_apart():
    """Equal embeddings of type and position in all sentences would hide the words: vectors would start almost equal."""
    torch.manual_seed(0)
    tower = text.build(None, BERT, 400, 4)
    words = torch.randint(5, 400, (8, 6))
    rows = torch.cat([torch.full((8, 1), 2), words, torch.full((8, 1), 3)], dim=1)
    ids = torch.tensor([-1, *[0] * 6, -1]).expand(8, -1)
    counts = torch.tensor([[8.0, 6.0]]).expand(8, -1)
    (bucket,) = text.buckets(rows, rows > 0, ids, counts, counts > 0)
    units_MD, _ = tower(bucket)
    sentences_BD = torch.nn.functional.normalize(units_MD[1::2], dim=1)
    cosines = (sentences_BD @ sentences_BD.T)[~torch.eye(8, dtype=torch.bool)]
    assert float(cosines.mean()) < 0.5


def test_settings_of_another_model_are_refused():
    with pytest.raises(WeightsError, match="not of a resnet"):
        text.build(None, {"model_type": "resnet"}, 40, 4)


@settings(max_examples=15)
@given(st.lists(report, min_size=4, max_size=7), st.integers(2, 4))
def test_length_buckets_change_neither_values_nor_gradients(tower, reports, count):
    tokenizer = Tokenizer(VOCABULARY, cased=True)
    rows = [tokenizer.encode(sentences, 97) for sentences in reports]
    words = padded(rows, 5, max(len(row.tokens) for row in rows))
    several = text.buckets(*words, words[3] > 0, *order_of(rows, count))
    assert len(several) == count
    weight_MD, runs = torch.randn(int((words[3] > 0).sum()), 16), []
    for buckets in (one_bucket(*words), several):
        tower.zero_grad()
        units_MD, report_BD = (sum(parts) for parts in zip(*map(tower, buckets), strict=True))
        (units_MD * weight_MD).sum().add(report_BD.square().sum()).backward()
        runs.append((units_MD, report_BD, *(p.grad.clone() for p in tower.parameters() if p.grad is not None)))
    largest = max(float(part.abs().max()) for part in runs[0][2:])
    for one, other in zip(*runs, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5 * max(1.0, largest))
