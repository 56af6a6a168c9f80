"""Words to numbers: the WordPiece tokenizer, its vocabulary, and which position belongs to which sentence.

In: a vocabulary file (or reports to train one on) and lists of sentences. Out: `Row`s of token numbers. The stream
pads rows to a batch; the model sums pieces to words.
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
    """One report as numbers: `unit[i]` is the sentence of position i, -1 for [CLS] and [SEP]."""

    tokens: list[int]
    unit: list[int]
    words: list[int]  # words of each sentence

    @property
    def all_words(self) -> int:
        """Words of the whole row; [CLS] and [SEP] count as words (METHOD: report = mean over all positions)."""
        return sum(self.words) + 2


class Tokenizer:
    """WordPiece over a vocabulary whose casing is chosen on purpose, never taken from a file's default."""

    def __init__(self, vocabulary: Sequence[str], cased: bool) -> None:
        missing = [s for s in SPECIAL[:4] if s not in set(vocabulary)]
        if missing:
            raise UserError(f"vocabulary without {', '.join(missing)}; give a BERT WordPiece vocab.txt")
        self.vocabulary, self.cased = list(vocabulary), cased
        numbers = {piece: number for number, piece in enumerate(vocabulary)}
        self.pad_id, self.cls_id, self.sep_id = numbers["[PAD]"], numbers["[CLS]"], numbers["[SEP]"]
        self._wordpiece = _wordpiece(WordPiece(numbers, unk_token="[UNK]", max_input_chars_per_word=100), cased)
        self._starts = [not piece.startswith("##") for piece in vocabulary]
        self.pieces = lru_cache(maxsize=65536)(self._pieces)  # reports repeat their sentences

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[list[str], bool]]:
        return Tokenizer, (self.vocabulary, self.cased)

    def _pieces(self, sentence: str) -> tuple[int, ...]:
        return tuple(self._wordpiece.encode(sentence, add_special_tokens=False).ids)

    def encode(self, sentences: Sequence[str], max_tokens: int) -> Row:
        """[CLS] s1 s2 ... [SEP] within `max_tokens`; what is too long loses whole sentences from its end.

        Only a first sentence that alone is too long is cut inside. Sentences without a piece count zero words.
        """
        tokens, unit, words = [self.cls_id], [-1], [0] * len(sentences)
        for number, sentence in enumerate(sentences):
            pieces = self.pieces(sentence)
            if len(tokens) + len(pieces) + 1 > max_tokens:
                if len(tokens) > 1:
                    break
                pieces = pieces[: max_tokens - 2]
            tokens += pieces
            unit += [number] * len(pieces)
            words[number] = sum(self._starts[p] for p in pieces)
        return Row(tokens + [self.sep_id], unit + [-1], words)

    def save(self, folder: Path) -> None:
        """Writes vocab.txt and tokenizer_config.json, which transformers reads too."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocab.txt").write_text("\n".join(self.vocabulary) + "\n", encoding="utf-8")
        said = {"tokenizer_class": "BertTokenizer", "do_lower_case": not self.cased}
        (folder / "tokenizer_config.json").write_text(json.dumps(said), encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> Tokenizer:
        """What `save` wrote."""
        said = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        return Tokenizer.from_vocabulary(folder / "vocab.txt", cased=not said["do_lower_case"])

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
        """A WordPiece vocabulary from training sentences, in any order; the same ones give the same.

        It has at most `size` pieces, or one for each character where those alone are more.
        """
        said = list(sentences)
        wordpiece = _wordpiece(WordPiece(unk_token="[UNK]"), cased)
        # Ties go by number, and the trainer would number the ##c in the order of a randomly seeded hash table.
        numbered = [*SPECIAL, *_continuations(wordpiece, set(said))]
        wordpiece.train_from_iterator(
            said, WordPieceTrainer(vocab_size=size, special_tokens=numbered, show_progress=False)
        )
        numbers = wordpiece.get_vocab()
        return Tokenizer(sorted(numbers, key=numbers.__getitem__), cased)


def _continuations(wordpiece: tokenizers.Tokenizer, sentences: Iterable[str]) -> list[str]:
    """Every character that follows another within a word, as the piece `##c`, sorted."""
    normalizer, pre_tokenizer = wordpiece.normalizer, wordpiece.pre_tokenizer
    assert normalizer
    assert pre_tokenizer
    words = (word for s in sentences for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(s)))
    return sorted({f"##{character}" for word in words for character in word[1:]})


def _wordpiece(model: WordPiece, cased: bool) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(model)
    made.normalizer = normalizers.BertNormalizer(lowercase=not cased, strip_accents=not cased)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made
