"""Rows of texts → each sentence as a row of its own, for `data.context=sentence`.

In: encoded reports. Out: where each sentence stands in its report; the text tower's rows are formed from it
(`model.text.buckets`). The vectors of reports are still those of whole reports (docs/method.md, sentences alone).
"""

# E sentences of all texts of a batch
from __future__ import annotations

from collections.abc import Sequence

from sentalign.tokenizer import Row

Span = tuple[int, int, int]  # the text, the first position in it, and how many positions


def spans(rows: Sequence[Row], units: int) -> list[Span]:
    """The sentences of each text that have tokens, at most `units` - 1 a text.

    A text without any gives an empty one, so that there are at least as many as texts: ranks have equally many length
    buckets, and none may be empty.
    """
    return [span for n, row in enumerate(rows) for span in _spans(row, n, units) or [(n, 0, 0)]]


def _spans(row: Row, n: int, units: int) -> list[Span]:
    present = [k for k, words in enumerate(row.word_counts[: units - 1]) if words]
    return [(n, row.sentence_ids.index(k), row.sentence_ids.count(k)) for k in present]
