"""The text tower against the rules of METHOD (paper mode, text side) as a slow loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sentalign.model import text
from sentalign.model.pretrained import WeightsError
from sentalign.text import Tokenizer

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
    tokens_BT, sentence_id_BT = torch.zeros(len(rows), width, dtype=torch.long), torch.full((len(rows), width), -1)
    word_counts_BK = torch.zeros(len(rows), units)
    for b, row in enumerate(rows):
        tokens_BT[b, : len(row.tokens)] = torch.tensor(row.tokens)
        sentence_id_BT[b, : len(row.sentence_ids)] = torch.tensor(row.sentence_ids)
        word_counts_BK[b, 0] = row.total_words
        word_counts_BK[b, 1 : 1 + len(row.word_counts)] = torch.tensor(row.word_counts)
    lengths_B = torch.tensor([len(row.tokens) for row in rows])
    return tokens_BT, torch.arange(width) < lengths_B[:, None], sentence_id_BT, word_counts_BK


def order_of(rows, buckets):
    """Rows from the shortest to the longest, and the width of each bucket."""
    lengths_B = torch.tensor([len(row.tokens) for row in rows])
    order_B = lengths_B.argsort(stable=True)
    return order_B, tuple(int(lengths_B[piece].max()) for piece in order_B.tensor_split(buckets))


sentence = st.lists(st.sampled_from(["heart", "hearts", "large", "nothing", "."]), min_size=1, max_size=4).map(" ".join)
report = st.lists(sentence, min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(st.lists(report, min_size=1, max_size=3))
def test_units_and_reports_equal_the_slow_loop(tower, reports):
    tokenizer = Tokenizer(VOCABULARY, cased=True)
    rows = [tokenizer.encode(said, 97) for said in reports]
    with torch.no_grad():
        units_BKD, report_BD = tower(*padded(rows, 6, 48))
    for b, said in enumerate(reports):
        units_KD, report_D = slow(tower, tokenizer, said)
        torch.testing.assert_close(units_BKD[b, : len(units_KD)], units_KD, atol=1e-5, rtol=1e-4)
        assert not units_BKD[b, len(units_KD) :].any()
        torch.testing.assert_close(report_BD[b], report_D, atol=1e-5, rtol=1e-4)


def test_by_hand_with_a_bert_that_returns_the_position(tower, texts):
    class Positions(torch.nn.Module):
        def forward(self, input_ids, attention_mask, output_hidden_states):
            assert attention_mask.dtype == torch.long
            layer_BTD = torch.arange(6.0).expand(2, 6)[..., None]
            return type("Out", (), {"hidden_states": [layer_BTD * n for n in (100, 1, 2, 3)]})

    units_BKD, report_BD = text.TextTower(Positions(), last_layers=2)(*texts)
    # Layers 2 and 3 sum to 5 · position; sentence 0 is positions 1 to 3 in two words.
    assert units_BKD[..., 0].tolist() == [[0, 15, 20], [0, 15, 0]]
    assert report_BD[:, 0].tolist() == [15, 10]
    # More layers than there are: all, but never the embedding.
    units_BKD, _ = text.TextTower(Positions(), last_layers=9)(*texts)
    assert units_BKD[0, 1, 0] == 18


def test_gradients_stay_finite_where_units_are_absent(texts):
    tower = text.build(None, BERT, 40, 4)
    units_BKD, report_BD = tower(*texts)
    (units_BKD.square().sum() + report_BD.square().sum()).backward()
    # No pooler and no other parameter without a use: ZeRO and DDP would wait for its gradient.
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tower.parameters())


def test_settings_of_another_model_are_refused():
    with pytest.raises(WeightsError, match="not of a resnet"):
        text.build(None, {"model_type": "resnet"}, 40, 4)


@settings(max_examples=15, deadline=None)
@given(st.lists(report, min_size=4, max_size=7), st.integers(2, 4))
def test_length_buckets_change_neither_values_nor_gradients(tower, reports, buckets):
    tokenizer = Tokenizer(VOCABULARY, cased=True)
    rows = [tokenizer.encode(said, 97) for said in reports]
    given_rows = padded(rows, 5, max(len(row.tokens) for row in rows))
    weight_BKD, found = torch.randn(len(rows), 5, 16), []
    for run in (lambda: tower(*given_rows), lambda: text.in_buckets(tower, *given_rows, *order_of(rows, buckets))):
        tower.zero_grad()
        units_BKD, report_BD = run()
        (units_BKD * weight_BKD).sum().add(report_BD.square().sum()).backward()
        found.append((units_BKD, report_BD, *(p.grad.clone() for p in tower.parameters() if p.grad is not None)))
    largest = max(float(part.abs().max()) for part in found[0][2:])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5 * max(1.0, largest))
