"""Sentences to rows of token numbers, against rows by hand and against transformers' tokenizer."""

from __future__ import annotations

import json
import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentalign.tokenizer import SPECIAL, Tokenizer
from sharding.contract import UserError

#            0      1      2      3      4       5       6        7       8    9       10
PIECES = [*SPECIAL, "Heart", "heart", "large", "##s", ".", "effusion"]
REPORTS = [
    "The heart is large.",
    "No pleural effusion or pneumothorax is seen.",
    "There is a small left apical pneumothorax.",
    "Right basilar opacities, possibly atelectasis.",
    "Heart size is normal.",
]


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return Tokenizer(PIECES, cased=True)


def test_row_by_hand(small):
    row = small.encode(["Hearts large.", "effusion"], 97)
    assert row.tokens == [2, 5, 8, 7, 9, 10, 3]
    assert row.sentence_ids == [-1, 0, 0, 0, 0, 1, -1]
    assert row.word_counts == [3, 1]  # Heart+##s, large, the full stop; effusion
    assert row.total_words == 6


def test_unknown_word_is_one_word(small):
    assert small.encode(["heart kidney large"], 97).tokens == [2, 6, 1, 7, 3]
    assert small.encode(["heart kidney large"], 97).word_counts == [3]


def test_casing_is_the_argument_not_that_of_the_vocabulary(small):
    folded = Tokenizer(PIECES, cased=False)
    assert small.pieces("Heart heart") == (5, 6)
    assert folded.pieces("Heart heart HEÁRT") == (6, 6, 6)
    assert small.pieces("HEART") == (1,)


def test_what_is_too_long_loses_whole_sentences(small):
    sentences = ["heart large.", "heart large heart", "effusion"]
    assert small.encode(sentences, 9).word_counts == [3, 3, 1]  # 1 + 3 + 3 + 1 + 1 positions
    assert small.encode(sentences, 8).word_counts == [3, 3, 0]
    # The third would fit where the second did not, but a report never has a gap.
    row = small.encode(sentences, 7)
    assert row.word_counts == [3, 0, 0]
    assert row.tokens == [2, 6, 7, 9, 3]


def test_only_a_first_sentence_that_alone_is_too_long_is_cut_inside(small):
    row = small.encode(["hearts large hearts large", "effusion"], 5)
    assert row.tokens == [2, 6, 8, 7, 3]
    assert row.sentence_ids == [-1, 0, 0, 0, -1]
    assert row.word_counts == [2, 0]


def test_sentences_without_pieces_keep_their_number(small):
    row = small.encode(["", "heart"], 97)
    assert row.word_counts == [0, 1]
    assert row.sentence_ids == [-1, 1, -1]
    assert small.encode([], 97).tokens == [2, 3]


def test_vocabulary_without_special_pieces_is_refused():
    with pytest.raises(UserError, match=r"without \[CLS\], \[SEP\]"):
        Tokenizer(["[PAD]", "[UNK]", "heart"], cased=True)


def test_no_vocabulary_file(tmp_path):
    with pytest.raises(UserError, match="no vocabulary"):
        Tokenizer.from_vocabulary(tmp_path, cased=True)


def test_vocabulary_as_file_as_folder_and_with_windows_line_ends(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("\r\n".join(PIECES).encode())
    assert Tokenizer.from_vocabulary(tmp_path, cased=True).vocabulary == PIECES
    assert Tokenizer.from_vocabulary(tmp_path / "vocab.txt", cased=True).vocabulary == PIECES


def test_a_vocabulary_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe[\x00P\x00")
    with pytest.raises(UserError, match="vocab"):
        Tokenizer.from_vocabulary(tmp_path, cased=True)


def test_training_does_not_depend_on_the_order_of_sentences():
    sentences = REPORTS * 3
    once = Tokenizer.train(sentences, 150, cased=False)
    for seed in range(5):
        shuffled = random.Random(seed).sample(sentences, len(sentences))
        assert Tokenizer.train(iter(shuffled), 150, cased=False).vocabulary == once.vocabulary
    assert once.vocabulary[: len(SPECIAL)] == list(SPECIAL)
    assert len(once.vocabulary) <= 150
    assert once.pieces("unseen \N{SNOWMAN}")[-1] == once.vocabulary.index("[UNK]")


def test_trained_vocabulary_folds_case_only_if_uncased():
    assert not [p for p in Tokenizer.train(REPORTS, 150, cased=False).vocabulary if p not in SPECIAL and p != p.lower()]
    assert [p for p in Tokenizer.train(REPORTS, 150, cased=True).vocabulary if p not in SPECIAL and p != p.lower()]


@pytest.mark.parametrize("cased", [True, False])
def test_save_and_load(tmp_path, cased):
    made = Tokenizer.train(REPORTS, 200, cased=cased)
    made.save(tmp_path / "deep" / "tokenizer")
    again = Tokenizer.load(tmp_path / "deep" / "tokenizer")
    assert (again.vocabulary, again.cased) == (made.vocabulary, cased)
    assert again.encode(REPORTS, 97) == made.encode(REPORTS, 97)
    assert json.loads((tmp_path / "deep/tokenizer/tokenizer_config.json").read_text())["do_lower_case"] is not cased


def test_a_pickled_tokenizer_is_the_same(small):
    again = pickle.loads(pickle.dumps(small))
    assert again.encode(["Hearts large.", "effusion"], 97) == small.encode(["Hearts large.", "effusion"], 97)
    assert again.cased == small.cased


# Sentences of both known and unknown words, some without any.
sentence = st.lists(st.sampled_from(["heart", "Hearts", "large.", "kidney", "effusion", "  "]), max_size=6).map(
    " ".join
)


@settings(max_examples=150)
@given(st.lists(sentence, max_size=6), st.integers(8, 20))
def test_rows_keep_their_invariants(sentences, longest):
    small = Tokenizer(PIECES, cased=True)
    row = small.encode(sentences, longest)
    assert len(row.tokens) == len(row.sentence_ids) <= longest
    assert (row.tokens[0], row.tokens[-1], row.sentence_ids[0], row.sentence_ids[-1]) == (2, 3, -1, -1)
    inside = row.sentence_ids[1:-1]
    assert inside == sorted(inside)
    starts = [u for t, u in zip(row.tokens, row.sentence_ids, strict=True) if u >= 0 and not PIECES[t].startswith("##")]
    assert row.word_counts == [starts.count(k) for k in range(len(sentences))]
    assert [u for start, u in zip(row.word_starts, row.sentence_ids, strict=True) if start] == starts
    assert row.total_words == sum(row.word_counts) + 2
    # Every sentence is there whole, up to the first that does not fit; only the very first may be cut.
    kept = [k for k in range(len(sentences)) if k in inside]
    for k in kept if len(kept) > 1 else []:
        assert [t for t, u in zip(row.tokens, row.sentence_ids, strict=True) if u == k] == list(
            small.pieces(sentences[k])
        )


def as_transformers(folder):
    import transformers

    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("cased", [True, False])
def test_pieces_are_those_of_transformers(tmp_path, cased):
    made = Tokenizer.train(REPORTS, 120, cased=cased)
    made.save(tmp_path)
    theirs = as_transformers(tmp_path)
    sentences = [*REPORTS, "Café-au-lait 2.5cm \N{SNOWMAN}", "x" * 101, "心 heart\t\x00\u200bheart"]
    for text in sentences:
        assert list(made.pieces(text)) == theirs.encode(text, add_special_tokens=False)


@pytest.mark.realdata
def test_words_and_pieces_of_the_real_vocabulary(tmp_path, realdata):
    made = Tokenizer.from_vocabulary(realdata / "tokenizer" / "bert-base-cased-vocab.txt", cased=True)
    assert len(made.vocabulary) == 28996
    made.save(tmp_path)
    theirs = as_transformers(tmp_path)
    sentences = [*REPORTS, "CHF/COPD with 1.2 x 0.8 cm nodule (RUL).", "Résumé: cardiomegaly, ___ stents; µ-opacities"]
    row = made.encode(sentences, 512)
    expected = theirs(" ".join(sentences))
    assert row.tokens == expected["input_ids"]
    # Words of transformers end at pieces that are not ##; [CLS] and [SEP] have none.
    words = [w for w in expected.word_ids() if w is not None]
    assert sum(row.word_counts) == len(set(words))
    assert row.total_words == len(set(words)) + 2
