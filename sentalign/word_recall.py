"""Retrieval recall of sentences, of all and by their words: which kinds of finding has a model not discovered yet?

In: sentences, each with whether its own image was found. Out: figures. They need no boxes and no list of medical words:
a kind that is not discovered shows as frequent words of low recall, while words that go with every kind (sides, places,
sizes) have about the recall of all sentences. Scores are not computed here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

# A word is frequent if it is in this share of the sentences and in so many of them: the recall of fewer is noise.
LEAST_SHARE, LEAST_SENTENCES = 0.02, 5
# Function words and units say nothing of a finding, but are the most frequent words and would crowd the list.
FUNCTION_WORDS = """
an and are as at be been being but by for from has have in into is it its may of on or over than that the there these
this to was were which with within
"""
UNITS = "cm mm"
_LEFT_OUT = frozenset((FUNCTION_WORDS + UNITS).split())
_WORD = re.compile(r"[^\W\d_]{2,}")
_ALL = ""  # counted in every sentence


def found_within(images: int) -> int:
    """How many images are the top tenth of `images`: a sentence is found if its own image is among them."""
    return max(1, images // 10)


def words(sentence: str) -> set[str]:
    """The words of two or more letters, in lower case, without function words and units."""
    return set(_WORD.findall(sentence.casefold())) - _LEFT_OUT


@dataclass
class WordRecall:
    """Counts by word of the sentences that were asked for and of those whose own image was found."""

    asked: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)

    def add(self, sentence: str, found: bool) -> None:
        """Counts one sentence."""
        names = [_ALL, *words(sentence)]
        self.asked.update(names)
        if found:
            self.found.update(names)

    @staticmethod
    def merged(parts: Iterable[WordRecall]) -> WordRecall:
        """The counts of all parts, in any order."""
        total = WordRecall()
        for part in parts:
            total.asked.update(part.asked)
            total.found.update(part.found)
        return total

    @property
    def sentences(self) -> int:
        return self.asked[_ALL]

    def overall(self) -> float:
        """Share of the sentences whose own image was found; there must be one."""
        return self.found[_ALL] / self.sentences

    def by_word(self) -> dict[str, tuple[float, int]]:
        """(recall, sentences) of each frequent word, the lowest recall first."""
        least = max(LEAST_SENTENCES, LEAST_SHARE * self.sentences)
        rows = ((self.found[word] / n, n, word) for word, n in self.asked.items() if word != _ALL and n >= least)
        return {word: (recall, n) for recall, n, word in sorted(rows, key=lambda row: (row[0], -row[1], row[2]))}

    def metrics(self) -> dict[str, float]:
        """`recall`, `recall_lowest` (of a frequent word) and `word_recall/WORD`; empty without sentences."""
        if not self.sentences:
            return {}
        by_word = {f"word_recall/{word}": recall for word, (recall, _) in self.by_word().items()}
        return {"recall": self.overall(), "recall_lowest": min(by_word.values(), default=self.overall())} | by_word
