"""The words of names and reports in one spelling, whatever language or keyboard wrote them.

In: a text or a value. Out: `Token` rows: words without case, accents and apostrophes, with their positions.
`plain_form` makes one word of those that differ only in how an umlaut or a foreign letter was typed (Müller, Mueller).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

TOKEN = re.compile(r"[^\W_]+")
APOSTROPHES = "'’‘ʼʻ‛`´′＇"
# Letters without a canonical decomposition, as they are typed without their key.
LETTERS = str.maketrans({"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h"})
TYPED_AS_TWO = re.compile(r"ae|oe|ue|aa|ss")


@dataclass(frozen=True)
class Token:
    """A word of a text, folded, and its position."""

    word: str
    start: int
    end: int


def tokenize(text: str) -> list[Token]:
    """The words of a text, folded like names, with their positions."""
    folded, origin = _folded(text)
    matches = TOKEN.finditer(folded)
    return [Token(match[0], origin[match.start()], _end(text, origin[match.end() - 1])) for match in matches]


def _end(text: str, last: int) -> int:
    """The end of a letter and of the combining accents after it."""
    return next((end for end in range(last + 1, len(text)) if not unicodedata.combining(text[end])), len(text))


def _folded(text: str) -> tuple[str, list[int] | range]:
    """Lower case without accents and apostrophes, and the position of each of its characters in the text."""
    if text.isascii() and "'" not in text and "`" not in text:
        return text.lower(), range(len(text))
    letters = [(letter, position) for position, character in enumerate(text) for letter in _fold(character)]
    return "".join(letter for letter, _ in letters), [position for _, position in letters]


def _fold(character: str) -> str:
    if character in APOSTROPHES:
        return ""
    folded = unicodedata.normalize("NFKD", character).casefold().translate(LETTERS)
    return "".join(letter for letter in folded if not unicodedata.combining(letter))


def words(value: str) -> list[str]:
    """The folded words of a value."""
    return TOKEN.findall(_folded(value)[0])


def plain_form(word: str) -> str:
    """A folded word in which what may be an umlaut typed as two letters is one (ae, oe, ue, aa, ss → a, o, u, a, s)."""
    return TYPED_AS_TWO.sub(lambda pair: pair[0][0], word)
