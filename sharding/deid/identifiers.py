"""What is known to identify the people and places of a study, and where it stands in a text.

In: names, ids, places and file names as the source and the image's header write them. Out: `Identifiers`, and the spans
of a text that they cover. Letters are compared without case, accents and apostrophes. These values live in memory only.

What is masked wherever it stands: every part of a person's name of three letters or more, every id, every word of
a place that is no ordinary word. What is masked only where it looks like a name: shorter parts and initials (beside
another part of the same name), parts that are ordinary words of reports ("Long", "White": beside another part, or with
a capital inside a sentence) and words of file names (likewise). Words that every folder has ("image", "chest") never.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from sharding.deid.ordinary_words import AFFIXES, FILE_WORDS, ORDINARY, PLACE_WORDS, TITLES

SHORTEST_NAME = 3  # shorter parts of a name are initials and syllables, which would mask ordinary words
SHORTEST_ID = 4
TOKEN = re.compile(r"[^\W_]+")
LETTERS = re.compile(r"[^\W\d_]+")
DIGITS = re.compile(r"\d+")
YEAR = re.compile(r"(?:19|20)\d\d")
COUNTER_ID = re.compile(r"([a-z]*?)\d{1,4}")  # "study1", "img0012": counted, not given to a person
GAP = re.compile(r"(?:(?![:;!?\n])[\W_]){1,3}")
ID_GAP = re.compile(r"[-./_^]")
ID_TOKENS = 5
UMLAUTS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d"}
)
APOSTROPHES = "'’ʼ`´"


@dataclass(frozen=True)
class Token:
    """A word of a text: folded, and where it stands."""

    word: str
    start: int
    end: int


@dataclass(frozen=True)
class Identifiers:
    """What to look for: names, places and files as tuples of folded words, ids as their letters and digits."""

    persons: frozenset[tuple[str, ...]] = frozenset()
    places: frozenset[tuple[str, ...]] = frozenset()
    files: frozenset[tuple[str, ...]] = frozenset()
    ids: frozenset[str] = frozenset()

    def __or__(self, other: Identifiers) -> Identifiers:
        return Identifiers(
            self.persons | other.persons, self.places | other.places, self.files | other.files, self.ids | other.ids
        )

    def find(self, text: str) -> tuple[list[tuple[int, int]], int]:
        """The spans to mask, from left to right, and how many ordinary words that are also names were left alone."""
        if not (self.persons or self.places or self.files or self.ids):
            return [], 0
        tokens = tokenize(text)
        hits = self._ids_at(text, tokens)
        for number, token in enumerate(tokens):
            if self._stands_alone(token.word) or (token.word in self._doubtful and _like_a_name(text, token)):
                hits.add(number)
        for name in self._names:
            _add_neighbours(text, tokens, name, name in self.places, hits)
        left = sum(token.word in self._ordinary for n, token in enumerate(tokens) if n not in hits)
        return _joined(text, tokens, hits), left

    @cached_property
    def _names(self) -> list[tuple[str, ...]]:
        return sorted(self.persons | self.places | self.files)

    @cached_property
    def _sure(self) -> frozenset[str]:
        """Words that are masked wherever they stand, also those that two parts of a name make together."""
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
    def _doubtful(self) -> frozenset[str]:
        """What counts where it looks like a name."""
        return self._ordinary | {word for name in self.files for word in name if len(word) >= SHORTEST_NAME}

    def _stands_alone(self, word: str) -> bool:
        return word in self._sure or (word[-1:] == "s" and len(word) > SHORTEST_NAME and word[:-1] in self._sure)

    def _ids_at(self, text: str, tokens: list[Token]) -> set[int]:
        """Tokens that are an id, alone or joined by single marks, as in AB-12.34."""
        hits: set[int] = set()
        for first in range(len(tokens) if self.ids else 0):
            word = ""
            for last in range(first, min(first + ID_TOKENS, len(tokens))):
                if last > first and not ID_GAP.fullmatch(text, tokens[last - 1].end, tokens[last].start):
                    break
                word += tokens[last].word
                if word in self.ids or word.lstrip("0") in self.ids:
                    hits.update(range(first, last + 1))
        return hits


NOBODY = Identifiers()


def identifiers_of(
    persons: Iterable[str] = (), ids: Iterable[str] = (), places: Iterable[str] = (), files: Iterable[str] = ()
) -> Identifiers:
    """What to look for, of values as written: names of people (also `ROE^JANE`), ids of patients, studies and requests
    (which may hold a name), names and addresses of institutions, and names or paths of files.
    """
    ids, files = list(ids), list(files)
    names = {tuple(_name_words(group)) for value in persons for group in value.split("=")}
    names |= {tuple(_words(value)) for value in ids}
    written = {tuple(word for word in _words(value) if word not in ORDINARY) for value in files}
    return Identifiers(
        frozenset(name for name in names if name),
        frozenset(filter(None, (tuple(spelling) for value in places for spelling in _spellings(value)))),
        frozenset(name for name in written if name),
        frozenset(found for value in ids for found in _whole_ids(value)) | _file_ids(files),
    )


def tokenize(text: str) -> list[Token]:
    """The words of a text, folded as names are, with their places in it."""
    folded, origin = _folded(text)
    found = ((match.group(), match.start(), match.end()) for match in TOKEN.finditer(folded))
    return [Token(word, origin[first], _behind(text, origin[last - 1])) for word, first, last in found]


def _behind(text: str, last: int) -> int:
    """The place behind a letter and the accents that are written after it."""
    return next((end for end in range(last + 1, len(text)) if not unicodedata.combining(text[end])), len(text))


def _folded(text: str) -> tuple[str, list[int] | range]:
    """Lower case without accents and apostrophes, and for each of its characters the place in the text."""
    if text.isascii() and "'" not in text and "`" not in text:
        return text.lower(), range(len(text))
    kept = [(letter, place) for place, written in enumerate(text) for letter in _fold(written)]
    return "".join(letter for letter, _ in kept), [place for _, place in kept]


def _fold(written: str) -> str:
    if written in APOSTROPHES:
        return ""
    folded = unicodedata.normalize("NFKD", written).casefold()
    return "".join(letter for letter in folded if not unicodedata.combining(letter))


def _spellings(value: str) -> list[list[str]]:
    """The words of a value, folded; a second time with umlauts written out where it has any."""
    composed = unicodedata.normalize("NFKC", value).casefold()
    found = [value] if composed == composed.translate(UMLAUTS) else [value, composed.translate(UMLAUTS)]
    return [TOKEN.findall(_folded(spelling)[0]) for spelling in found]


def _name_words(value: str) -> list[str]:
    """The parts of a person's name, without prefix and suffix (PS3.5 6.2.1.1) and titles."""
    family_given_middle = value.split("^")[:3]
    affixes = TITLES if len(family_given_middle) > 1 else AFFIXES  # "Do" is a family name where its place says so
    spelt = [word for words in _spellings(" ".join(family_given_middle)) for word in words]
    return [word for word in dict.fromkeys(spelt) if word not in affixes and not DIGITS.search(word)]


def _words(value: str) -> list[str]:
    """The words in an id or a file name that could be a name."""
    spelt = [word for words in _spellings(value) for part in words for word in LETTERS.findall(part)]
    return [word for word in dict.fromkeys(spelt) if len(word) >= SHORTEST_NAME and word not in FILE_WORDS | AFFIXES]


def _whole_ids(value: str) -> set[str]:
    """An id without its marks, also without leading zeros, and its runs of digits; too short ones are left out."""
    word = "".join(TOKEN.findall(_folded(value)[0]))
    found = {word, word.lstrip("0"), *(run for run in DIGITS.findall(word) if len(run) > SHORTEST_ID)}
    return {each for each in found if _is_id(each)}


def _file_ids(files: Iterable[str]) -> frozenset[str]:
    tokens = (token for value in files for token in TOKEN.findall(_folded(value)[0]))
    found = (each for token in tokens if len(token) > SHORTEST_ID for each in (token, *DIGITS.findall(token)))
    return frozenset(each for each in found if len(each) > SHORTEST_ID and _is_id(each))


def _is_id(word: str) -> bool:
    if len(word) < SHORTEST_ID or not DIGITS.search(word) or YEAR.fullmatch(word):
        return False
    counted = COUNTER_ID.fullmatch(word)
    return not (counted and counted.group(1) and counted.group(1) in FILE_WORDS)


def _is_name(word: str) -> bool:
    return len(word) >= SHORTEST_NAME and word not in ORDINARY and not DIGITS.search(word)


def _like_a_name(text: str, token: Token) -> bool:
    """Whether a word has a capital that no beginning of a sentence or line explains, and is not all in capitals."""
    written = text[token.start : token.end]
    if not (written[0].isupper() and written[1:].islower()):
        return False
    before = text[: token.start].rstrip(" \t")
    return before[-1:].isalpha() or before[-1:] in {",", "("}


def _add_neighbours(text: str, tokens: list[Token], name: tuple[str, ...], place: bool, hits: set[int]) -> None:
    """Add parts and initials of a name that stand beside another part of it."""
    parts = set(name) if place else set(name) | {word[0] for word in name}
    near = [n for n, token in enumerate(tokens[:-1]) if token.word in parts and tokens[n + 1].word in parts]
    pairs = [(n, n + 1) for n in near if _side_by_side(text, tokens[n], tokens[n + 1], place)]
    # To the right, then to the left: so a chain of parts is whole, wherever in it the first hit stands.
    for pair in [*pairs, *reversed(pairs)]:
        known = any(n in hits and tokens[n].word in name for n in pair)
        if known or _makes_a_name(text, tokens[pair[0]], tokens[pair[1]], name, place):
            hits.update(pair)


def _side_by_side(text: str, first: Token, second: Token, place: bool) -> bool:
    """Whether one name could go on from a word to the next: a full stop only behind an initial, a comma in no place."""
    gap = text[first.end : second.start]
    if not GAP.fullmatch(gap) or (place and "," in gap):
        return False
    return "." not in gap or len(first.word) == 1


def _makes_a_name(text: str, first: Token, second: Token, name: tuple[str, ...], place: bool) -> bool:
    """Whether two words that say nothing alone are a name together: "Li Na", "A. Long", "Young Hill", "City Hall"."""
    words = {first.word, second.word}
    if len(words) == 1 or not words <= set(name):
        return False
    if place:
        return bool(words & PLACE_WORDS)
    if min(map(len, words)) == 1:
        return len(first.word) == 1 and "." in text[first.end : second.start]
    return not words <= ORDINARY or (text[first.start].isupper() and text[second.start].isupper())


def _joined(text: str, tokens: list[Token], hits: set[int]) -> list[tuple[int, int]]:
    """Spans of the hits; neighbours with spaces or marks between them make one."""
    spans: list[tuple[int, int]] = []
    for number in sorted(hits):
        start, end = tokens[number].start, tokens[number].end
        if spans and number - 1 in hits and GAP.fullmatch(text, spans[-1][1], start):
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans
