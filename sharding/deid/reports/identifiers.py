"""The known names, ids and places of a study, and the spans of a text that contain them.

In: names, ids, places and file names as the source and the image's header write them. Out: `Identifiers`, and spans of
a text. Letters are compared without case, accents and apostrophes. These values live in memory only.

Masked everywhere: every part of a person's name of three letters or more, every id, every word of a place except
ordinary words. Masked only if it looks like a name: shorter parts and initials (beside another part of the same name),
parts that are ordinary words of reports ("Long", "White": beside another part, or capitalised inside a sentence) and
words of file names (likewise). Never masked: words that every folder has ("image", "chest").
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from sharding.deid.reports.ordinary_words import AFFIXES, FILE_WORDS, ORDINARY, PLACE_WORDS, TITLES

SHORTEST_NAME = 3  # shorter parts are initials and syllables, which would mask ordinary words
SHORTEST_ID = 4
TOKEN = re.compile(r"[^\W_]+")
LETTERS = re.compile(r"[^\W\d_]+")
DIGITS = re.compile(r"\d+")
YEAR = re.compile(r"(?:19|20)\d\d")
COUNTER_ID = re.compile(r"([a-z]*?)\d{1,4}")  # "study1", "img0012": a counter, not an id of a person
SEPARATOR = re.compile(r"(?:(?![:;!?\n])[\W_]){1,3}")
ID_SEPARATOR = re.compile(r"[-./_^]")
ID_TOKENS = 5
UMLAUTS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d"}
)
APOSTROPHES = "'’ʼ`´"


@dataclass(frozen=True)
class Token:
    """A word of a text, folded, and its position."""

    word: str
    start: int
    end: int


@dataclass(frozen=True)
class Identifiers:
    """Names, places and files as tuples of folded words, ids as their letters and digits."""

    persons: frozenset[tuple[str, ...]] = frozenset()
    places: frozenset[tuple[str, ...]] = frozenset()
    files: frozenset[tuple[str, ...]] = frozenset()
    ids: frozenset[str] = frozenset()

    def __or__(self, other: Identifiers) -> Identifiers:
        return Identifiers(
            self.persons | other.persons, self.places | other.places, self.files | other.files, self.ids | other.ids
        )

    def find(self, text: str) -> tuple[list[tuple[int, int]], int]:
        """The spans to mask, from left to right, and how many ordinary words that are also names were kept."""
        if not (self.persons or self.places or self.files or self.ids):
            return [], 0
        tokens = tokenize(text)
        hits = self._ids_at(text, tokens)
        for number, token in enumerate(tokens):
            if self._is_known(token.word) or (token.word in self._ambiguous and _looks_like_name(text, token)):
                hits.add(number)
        for name in self._names:
            _add_neighbours(text, tokens, name, name in self.places, hits)
        kept = sum(token.word in self._ordinary for n, token in enumerate(tokens) if n not in hits)
        return _merged_spans(text, tokens, hits), kept

    @cached_property
    def _names(self) -> list[tuple[str, ...]]:
        return sorted(self.persons | self.places | self.files)

    @cached_property
    def _known(self) -> frozenset[str]:
        """Words that are masked everywhere, also those that two parts of a name make together."""
        whole = {word for name in self.persons for word in name if _is_name(word)}
        places = {word for name in self.places for word in name if _is_name(word)}
        whole |= places - PLACE_WORDS - FILE_WORDS
        pairs = ((a, b) for name in self.persons for a in name for b in name if a != b)
        glued = {joined for a, b in pairs for joined in (a + b, a[0] + b, b + a[0]) if len(b) >= SHORTEST_NAME}
        return frozenset(whole | {word for word in glued if len(word) >= SHORTEST_ID and word not in ORDINARY})

    @cached_property
    def _ordinary(self) -> frozenset[str]:
        """Parts of people's names that are also words of reports."""
        return frozenset(
            word for name in self.persons for word in name if len(word) >= SHORTEST_NAME and word in ORDINARY
        )

    @cached_property
    def _ambiguous(self) -> frozenset[str]:
        """Words that are masked only if they look like a name."""
        return self._ordinary | {word for name in self.files for word in name if len(word) >= SHORTEST_NAME}

    def _is_known(self, word: str) -> bool:
        return word in self._known or (word[-1:] == "s" and len(word) > SHORTEST_NAME and word[:-1] in self._known)

    def _ids_at(self, text: str, tokens: list[Token]) -> set[int]:
        """Tokens that are an id, alone or joined by single punctuation marks, like AB-12.34."""
        hits: set[int] = set()
        for first in range(len(tokens) if self.ids else 0):
            word = ""
            for last in range(first, min(first + ID_TOKENS, len(tokens))):
                if last > first and not ID_SEPARATOR.fullmatch(text, tokens[last - 1].end, tokens[last].start):
                    break
                word += tokens[last].word
                if word in self.ids or word.lstrip("0") in self.ids:
                    hits.update(range(first, last + 1))
        return hits


NOBODY = Identifiers()


def identifiers_of(
    persons: Iterable[str] = (), ids: Iterable[str] = (), places: Iterable[str] = (), files: Iterable[str] = ()
) -> Identifiers:
    """The identifiers in values as written: names of people (also `ROE^JANE`), ids of patients, studies and requests
    (which may hold a name), names and addresses of institutions, and names or paths of files.
    """
    ids, files = list(ids), list(files)
    names = {tuple(_name_words(group)) for value in persons for group in value.split("=")}
    names |= {tuple(_words(value)) for value in ids}
    file_words = {tuple(word for word in _words(value) if word not in ORDINARY) for value in files}
    return Identifiers(
        frozenset(name for name in names if name),
        frozenset(filter(None, (tuple(spelling) for value in places for spelling in _spellings(value)))),
        frozenset(name for name in file_words if name),
        frozenset(word for value in ids for word in _whole_ids(value)) | _file_ids(files),
    )


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
    folded = unicodedata.normalize("NFKD", character).casefold()
    return "".join(letter for letter in folded if not unicodedata.combining(letter))


def _spellings(value: str) -> list[list[str]]:
    """The words of a value, folded; a second time with umlauts as two letters if it has any."""
    composed = unicodedata.normalize("NFKC", value).casefold()
    spellings = [value] if composed == composed.translate(UMLAUTS) else [value, composed.translate(UMLAUTS)]
    return [TOKEN.findall(_folded(spelling)[0]) for spelling in spellings]


def _name_words(value: str) -> list[str]:
    """The parts of a person's name, without prefix and suffix (PS3.5 6.2.1.1) and titles."""
    family_given_middle = value.split("^")[:3]
    affixes = TITLES if len(family_given_middle) > 1 else AFFIXES  # "Do" is a family name if its position tells
    words = itertools.chain.from_iterable(_spellings(" ".join(family_given_middle)))
    return [word for word in dict.fromkeys(words) if word not in affixes and not DIGITS.search(word)]


def _words(value: str) -> list[str]:
    """The words of an id or a file name that could be a name."""
    words = [word for tokens in _spellings(value) for token in tokens for word in LETTERS.findall(token)]
    return [word for word in dict.fromkeys(words) if len(word) >= SHORTEST_NAME and word not in FILE_WORDS | AFFIXES]


def _whole_ids(value: str) -> set[str]:
    """An id without punctuation, also without leading zeros, and its runs of digits; too short ones are left out."""
    word = "".join(TOKEN.findall(_folded(value)[0]))
    candidates = {word, word.lstrip("0"), *(run for run in DIGITS.findall(word) if len(run) > SHORTEST_ID)}
    return set(filter(_is_id, candidates))


def _file_ids(files: Iterable[str]) -> frozenset[str]:
    tokens = (token for value in files for token in TOKEN.findall(_folded(value)[0]))
    candidates = (word for token in tokens for word in (token, *DIGITS.findall(token)))
    return frozenset(word for word in candidates if len(word) > SHORTEST_ID and _is_id(word))


def _is_id(word: str) -> bool:
    if len(word) < SHORTEST_ID or not DIGITS.search(word) or YEAR.fullmatch(word):
        return False
    counted = COUNTER_ID.fullmatch(word)
    return not (counted and counted.group(1) and counted.group(1) in FILE_WORDS)


def _is_name(word: str) -> bool:
    return len(word) >= SHORTEST_NAME and word not in ORDINARY and not DIGITS.search(word)


def _looks_like_name(text: str, token: Token) -> bool:
    """Whether a word is capitalised, not at the start of a sentence or line, and not all in capitals."""
    word = text[token.start : token.end]
    if not (word[0].isupper() and word[1:].islower()):
        return False
    before = text[: token.start].rstrip(" \t")
    return before[-1:].isalpha() or before[-1:] in {",", "("}


def _add_neighbours(text: str, tokens: list[Token], name: tuple[str, ...], place: bool, hits: set[int]) -> None:
    """Add parts and initials of a name that are beside another part of it."""
    parts = set(name) if place else set(name) | {word[0] for word in name}
    near = [n for n, token in enumerate(tokens[:-1]) if token.word in parts and tokens[n + 1].word in parts]
    pairs = [(n, n + 1) for n in near if _side_by_side(text, tokens[n], tokens[n + 1], place)]
    # To the right, then to the left, so that a chain of parts is complete wherever its first hit is.
    for pair in [*pairs, *reversed(pairs)]:
        known = any(n in hits and tokens[n].word in name for n in pair)
        if known or _is_full_name(text, tokens[pair[0]], tokens[pair[1]], name, place):
            hits.update(pair)


def _side_by_side(text: str, first: Token, second: Token, place: bool) -> bool:
    """Whether two words may be parts of one name: a full stop only after an initial, a comma not in a place."""
    gap = text[first.end : second.start]
    if not SEPARATOR.fullmatch(gap) or (place and "," in gap):
        return False
    return "." not in gap or len(first.word) == 1


def _is_full_name(text: str, first: Token, second: Token, name: tuple[str, ...], place: bool) -> bool:
    """Whether two words that are no name alone are one together: "Li Na", "A. Long", "Young Hill", "City Hall"."""
    words = {first.word, second.word}
    if len(words) == 1 or not words <= set(name):
        return False
    if place:
        return bool(words & PLACE_WORDS)
    if min(map(len, words)) == 1:
        return len(first.word) == 1 and "." in text[first.end : second.start]
    return not words <= ORDINARY or (text[first.start].isupper() and text[second.start].isupper())


def _merged_spans(text: str, tokens: list[Token], hits: set[int]) -> list[tuple[int, int]]:
    """Spans of the hits; neighbours with spaces or punctuation between them become one."""
    spans: list[tuple[int, int]] = []
    for number in sorted(hits):
        start, end = tokens[number].start, tokens[number].end
        if spans and number - 1 in hits and SEPARATOR.fullmatch(text, spans[-1][1], start):
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans
