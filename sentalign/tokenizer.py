"""The WordPiece tokenizer: its vocabulary, token ids, and the sentence of each position.

In: a vocabulary file (or sentences to train one on) and lists of sentences. Out: `Row`s of token ids. The stream pads
rows to a batch; the model sums word pieces to words.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import tokenizers
from tokenizers import normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.trainers import WordPieceTrainer

from sharding.contract import UserError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class Row:
    """One report as token ids: `sentence_ids[i]` is the sentence of position i, -1 for [CLS] and [SEP].

    `word_starts[i]`: position i is the first piece of a word of a sentence.
    """

    tokens: list[int]
    sentence_ids: list[int]
    word_counts: list[int]  # of each sentence
    word_starts: list[bool]

    @property
    def total_words(self) -> int:
        """Words of the whole row; [CLS] and [SEP] count as words: the report is the mean over all positions."""
        return sum(self.word_counts) + 2


class Tokenizer:
    """WordPiece with a vocabulary. The casing is an explicit argument, never the default of a file."""

    def __init__(self, vocabulary: Sequence[str], cased: bool) -> None:
        missing = [s for s in SPECIAL[:4] if s not in set(vocabulary)]
        if missing:
            raise UserError(f"vocabulary without {', '.join(missing)}; give a BERT WordPiece vocab.txt")
        self.vocabulary, self.cased = list(vocabulary), cased
        ids = {piece: i for i, piece in enumerate(vocabulary)}
        self.pad_id, self.cls_id, self.sep_id = ids["[PAD]"], ids["[CLS]"], ids["[SEP]"]
        self._wordpiece = _wordpiece(WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100), cased)
        self._starts = [not piece.startswith("##") for piece in vocabulary]
        self.pieces = lru_cache(maxsize=65536)(self._pieces)  # reports repeat their sentences

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[list[str], bool]]:
        return Tokenizer, (self.vocabulary, self.cased)

    def _pieces(self, sentence: str) -> tuple[int, ...]:
        return tuple(self._wordpiece.encode(sentence, add_special_tokens=False).ids)

    def encode(self, sentences: Sequence[str], max_tokens: int) -> Row:
        """[CLS] s1 s2 ... [SEP] within `max_tokens`; a report that is too long loses whole sentences from its end.

        Only a first sentence that alone is too long is truncated. Sentences without a piece count zero words.
        """
        tokens, sentence_ids, word_counts = [self.cls_id], [-1], [0] * len(sentences)
        word_starts = [False]
        for number, sentence in enumerate(sentences):
            pieces = self.pieces(sentence)
            if len(tokens) + len(pieces) + 1 > max_tokens:
                if len(tokens) > 1:
                    break
                pieces = pieces[: max_tokens - 2]
            tokens += pieces
            sentence_ids += [number] * len(pieces)
            starts = [self._starts[p] for p in pieces]
            word_starts += starts
            word_counts[number] = sum(starts)
        return Row(tokens + [self.sep_id], sentence_ids + [-1], word_counts, word_starts + [False])

    def save(self, folder: Path) -> None:
        """Writes vocab.txt and tokenizer_config.json, which transformers reads too."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocab.txt").write_text("\n".join(self.vocabulary) + "\n", encoding="utf-8")
        config = {"tokenizer_class": "BertTokenizer", "do_lower_case": not self.cased}
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> Tokenizer:
        """The tokenizer that `save` wrote."""
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        return Tokenizer.from_vocabulary(folder / "vocab.txt", cased=not config["do_lower_case"])

    @staticmethod
    def from_vocabulary(path: Path, cased: bool) -> Tokenizer:
        """A vocab.txt, one piece a line, or the folder that holds it. Raises UserError where there is none."""
        file = path / "vocab.txt" if path.is_dir() else path
        if not file.is_file():
            raise UserError(f"no vocabulary {path}; model.text.vocabulary takes a vocab.txt or its folder")
        try:
            lines = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
        except UnicodeDecodeError:
            raise UserError(f"{file} is not UTF-8 text; model.text.vocabulary takes a vocab.txt") from None
        return Tokenizer(lines, cased)

    @staticmethod
    def train(sentences: Iterable[str], size: int, cased: bool) -> Tokenizer:
        """Trains a WordPiece vocabulary; it does not depend on the order of the sentences.

        It has at most `size` pieces, or one for each character where those alone are more.
        """
        texts = list(sentences)
        wordpiece = _wordpiece(WordPiece(unk_token="[UNK]"), cased)
        # Ties are broken by id, and the trainer would give ids to the ##c in the order of a randomly seeded hash table.
        special = [*SPECIAL, *_continuations(wordpiece, set(texts))]
        wordpiece.train_from_iterator(
            texts, WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)
        )
        ids = wordpiece.get_vocab()
        return Tokenizer(sorted(ids, key=ids.__getitem__), cased)


def _continuations(wordpiece: tokenizers.Tokenizer, sentences: Iterable[str]) -> list[str]:
    """The piece `##c` of every character that follows another within a word, sorted."""
    normalizer, pre_tokenizer = wordpiece.normalizer, wordpiece.pre_tokenizer
    assert normalizer
    assert pre_tokenizer
    words = (word for s in sentences for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(s)))
    return sorted({f"##{character}" for word in words for character in word[1:]})


def _wordpiece(model: WordPiece, cased: bool) -> tokenizers.Tokenizer:
    wordpiece = tokenizers.Tokenizer(model)
    wordpiece.normalizer = normalizers.BertNormalizer(lowercase=not cased, strip_accents=not cased)
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return wordpiece
