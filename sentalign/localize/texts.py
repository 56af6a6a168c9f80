"""Sentences → the vectors that regions are compared with, each sentence encoded as a report of its own; cached.

In: a trained model, its tokenizer, sentences. Out: `TextFeatures`. Wordings and swapped sides are chosen in `predict`.
"""

# B sentences of one pass, N sentences, K units, T positions, D width

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sentalign.model.dual import DualEncoder
from sentalign.tokenizer import Row, Tokenizer

BATCH = 16


class TextFeatures(NamedTuple):
    """Of each sentence: its units, [CLS] and the sentence itself, and its report vector."""

    units_N2D: Tensor
    reports_ND: Tensor


class Texts:
    """Encodes sentences of at most `max_tokens` word pieces, each one once."""

    def __init__(self, model: DualEncoder, tokenizer: Tokenizer, max_tokens: int, device: str) -> None:
        self._model, self._tokenizer, self._max_tokens, self._device = model, tokenizer, max_tokens, device
        self._cache: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(self, sentences: Sequence[str]) -> TextFeatures:
        """The vectors of the sentences, in order."""
        missing = [s for s in dict.fromkeys(sentences) if s not in self._cache]
        for start in range(0, len(missing), BATCH):
            part = missing[start : start + BATCH]
            rows = [self._tokenizer.encode([sentence], self._max_tokens) for sentence in part]
            units_BKD, reports_BD = self._model.encode_texts(*self._pad(rows))
            vectors = zip(units_BKD[:, :2].float().cpu(), reports_BD.float().cpu(), strict=True)
            self._cache |= dict(zip(part, vectors, strict=True))
        units_2D, report_D = zip(*(self._cache[sentence] for sentence in sentences), strict=True)
        return TextFeatures(torch.stack(units_2D), torch.stack(report_D))

    def forget(self) -> None:
        """Empties the cache."""
        self._cache.clear()

    def _pad(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows of one sentence each as (tokens_BT, attention_BT, unit_id_BT, word_counts_BK)."""
        tokens = [torch.tensor(row.tokens) for row in rows]
        tokens_BT = pad_sequence(tokens, batch_first=True, padding_value=self._tokenizer.pad_id)
        ids = [torch.tensor(row.sentence_ids) for row in rows]
        unit_id_BT = pad_sequence(ids, batch_first=True, padding_value=-1)
        attention_BT = torch.arange(tokens_BT.shape[1]) < torch.tensor([[len(row.tokens)] for row in rows])
        word_counts_BK = torch.tensor([[row.total_words, *row.word_counts] for row in rows], dtype=torch.float32)
        tokens_BT, attention_BT, unit_id_BT, word_counts_BK = (
            t.to(self._device) for t in (tokens_BT, attention_BT, unit_id_BT, word_counts_BK)
        )
        return tokens_BT, attention_BT, unit_id_BT, word_counts_BK
