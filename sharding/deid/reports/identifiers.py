"""The known names, ids and places of a study, and the spans of a text that contain them.

In: names, ids, places and file names as the source and the image's header write them. Out: `Identifiers`, and spans of
a text. Letters are compared without case, accents and apostrophes. These values live in memory only.

Masked everywhere: every part of a person's name of three letters or more, every id, every word of a place except
ordinary words. Masked only if it looks like a name: parts of two letters (capitalised), initials (beside another part
of the same name) and parts that are ordinary words of reports ("Long", "White": beside another part, or capitalised
inside a sentence). A file name may be a diagnosis ("legionella-1.png"): two of its words are masked only where they
stand beside each other with capitals ("Jane Doe"). Names in Chinese, Japanese and Korean signs: `ideographic_names`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from sharding.deid.reports import ideographic_names
from sharding.deid.reports.ordinary_words import ACRONYMS, AFFIXES, FILE_WORDS, ORDINARY, PARTICLES, PLACE_WORDS, TITLES
from sharding.deid.reports.spelling import Token, plain_form, tokenize, words

SHORTEST_NAME = 3  # shorter parts are initials and syllables, which would mask ordinary words
SHORTEST_ID = 4
SHORTEST_PLAIN_FORM = 4  # shorter forms are those of too many words
MOST_PARTICLES = 3
LETTERS = re.compile(r"[^\W\d_]+")
DIGITS = re.compile(r"\d+")
YEAR = re.compile(r"(?:19|20)\d\d")
COUNTER_ID = re.compile(r"([a-z]*?)\d{1,4}")  # "study1", "img0012": a counter, not an id of a person
SEPARATOR = re.compile(r"(?:(?![:;!?\n])[\W_]){1,3}")
ID_SEPARATOR = re.compile(r"[-./_^]")
ID_TOKENS = 5


@dataclass(frozen=True)
class Identifiers:
    """Names, places and files as tuples of folded words, ids as their letters and digits."""

    persons: frozenset[tuple[str, ...]] = frozenset()
    places: frozenset[tuple[str, ...]] = frozenset()
    files: frozenset[tuple[str, ...]] = frozenset()
    ids: frozenset[str] = frozenset()
    signs: frozenset[tuple[str, ...]] = frozenset()  # the parts of names in ideographic signs, kana or Hangul

    def __or__(self, other: Identifiers) -> Identifiers:
        return Identifiers(
            self.persons | other.persons,
            self.places | other.places,
            self.files | other.files,
            self.ids | other.ids,
            self.signs | other.signs,
        )

    def find(self, text: str) -> tuple[list[tuple[int, int]], int]:
        """The spans to mask, from left to right, and how many ordinary words that are also names were kept."""
        if self == NOBODY:
            return [], 0
        tokens = tokenize(text)
        hits = self._ids_at(text, tokens)
        for number, token in enumerate(tokens):
            if (
                self._is_known(token.word)
                or (token.word in self._ordinary and _looks_like_name(text, token))
                or (token.word in self._short and _is_capitalised(text[token.start : token.end]))
            ):
                hits.add(number)
        hits |= self._written_apart(text, tokens)
        for name in sorted(self.persons | self.places):
            _add_neighbours(text, tokens, name, name in self.places, hits)
        for name in self.files:
            _add_capitalised_pairs(text, tokens, name, hits)
        kept = sum(token.word in self._ordinary for n, token in enumerate(tokens) if n not in hits)
        spans = _merged_spans(text, tokens, hits)
        return (_union(spans, ideographic_names.spans(text, self.signs)) if self.signs else spans), kept

    @cached_property
    def _whole(self) -> frozenset[str]:
        """The parts of people's names as the header has them."""
        return frozenset(word for name in self.persons for word in name if _is_name(word))

    @cached_property
    def _known(self) -> frozenset[str]:
        """Words that are masked everywhere, also those that two parts of a name make together."""
        whole = set(self._whole)
        places = {word for name in self.places for word in name if _is_name(word)}
        whole |= places - PLACE_WORDS - FILE_WORDS
        pairs = ((a, b) for name in self.persons for a in name for b in name if a != b)
        glued = {joined for a, b in pairs for joined in (a + b, a[0] + b, b + a[0]) if len(b) >= SHORTEST_NAME}
        for name in self.persons:  # Vanderberg of van der Berg
            glued |= {
                "".join(name[first : last + 1]) for last in range(len(name)) for first in range(max(0, last - 3), last)
            }
        return frozenset(whole | {word for word in glued if len(word) >= SHORTEST_ID and word not in ORDINARY})

    @cached_property
    def _ordinary(self) -> frozenset[str]:
        """Parts of people's names that are also words of reports."""
        return frozenset(
            word for name in self.persons for word in name if len(word) >= SHORTEST_NAME and word in ORDINARY
        )

    @cached_property
    def _short(self) -> frozenset[str]:
        """Parts of people's names of two letters, masked where they have a capital."""
        return frozenset(
            word for name in self.persons for word in name if len(word) == 2 and word not in ORDINARY | PARTICLES
        )

    @cached_property
    def _plain_forms(self) -> frozenset[str]:
        return frozenset(form for form in map(plain_form, self._known) if len(form) >= SHORTEST_PLAIN_FORM)

    def _is_known(self, word: str) -> bool:
        stem = word[:-1] if word[-1:] == "s" and len(word) > SHORTEST_NAME else word
        if word in self._known or stem in self._known:
            return True
        return word not in ORDINARY and not self._plain_forms.isdisjoint((plain_form(word), plain_form(stem)))

    def _written_apart(self, text: str, tokens: list[Token]) -> set[int]:
        """Tokens that are a known word together: "Mc Donald", "de la Cruz" of DELACRUZ."""
        hits: set[int] = set()
        for last in range(1, len(tokens)):
            first, word = last, tokens[last].word
            while first and tokens[first - 1].word in PARTICLES and last - first < MOST_PARTICLES:
                if not SEPARATOR.fullmatch(text, tokens[first - 1].end, tokens[first].start):
                    break
                first -= 1
                word = tokens[first].word + word
                if word in self._whole:
                    hits.update(range(first, last + 1))
        return hits

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
    persons, ids, files = list(persons), list(ids), list(files)
    groups = [group for value in persons for group in value.split("=")]
    names = {tuple(_name_words(group)) for group in groups if not ideographic_names.has_signs(group)}
    names |= {tuple(_words(value)) for value in ids}
    file_words = {tuple(word for word in _words(value) if word not in ORDINARY) for value in files}
    return Identifiers(
        frozenset(name for name in names if name),
        frozenset(filter(None, (tuple(words(value)) for value in places))),
        frozenset(name for name in file_words if len(name) > 1),
        frozenset(word for value in ids for word in _whole_ids(value)) | _file_ids(files),
        frozenset(filter(None, map(ideographic_names.parts, groups))),
    )


def _name_words(value: str) -> list[str]:
    """The parts of a person's name, without prefix and suffix (PS3.5 6.2.1.1) and titles."""
    family_given_middle = value.split("^")[:3]
    affixes = TITLES if len(family_given_middle) > 1 else AFFIXES  # "Do" is a family name if its position tells
    parts = dict.fromkeys(words(" ".join(family_given_middle)))
    return [word for word in parts if word not in affixes and not DIGITS.search(word)]


def _words(value: str) -> list[str]:
    """The words of an id or a file name that could be a name."""
    letters = dict.fromkeys(word for token in words(value) for word in LETTERS.findall(token))
    return [word for word in letters if len(word) >= SHORTEST_NAME and word not in FILE_WORDS | AFFIXES]


def _whole_ids(value: str) -> set[str]:
    """An id without punctuation, also without leading zeros, and its runs of digits; too short ones are left out."""
    word = "".join(words(value))
    candidates = {word, word.lstrip("0"), *(run for run in DIGITS.findall(word) if len(run) > SHORTEST_ID)}
    return set(filter(_is_id, candidates))


def _file_ids(files: Iterable[str]) -> frozenset[str]:
    tokens = (token for value in files for token in words(value))
    candidates = (word for token in tokens for word in (token, *DIGITS.findall(token)))
    return frozenset(word for word in candidates if len(word) > SHORTEST_ID and _is_id(word))


def _is_id(word: str) -> bool:
    if len(word) < SHORTEST_ID or not DIGITS.search(word) or YEAR.fullmatch(word):
        return False
    counted = COUNTER_ID.fullmatch(word)
    return not (counted and counted.group(1) and counted.group(1) in FILE_WORDS)


def _is_name(word: str) -> bool:
    return len(word) >= SHORTEST_NAME and word not in ORDINARY | PARTICLES and not DIGITS.search(word)


def _looks_like_name(text: str, token: Token) -> bool:
    """Whether a word is capitalised, not at the start of a sentence or line, and not all in capitals."""
    word = text[token.start : token.end]
    if not (word[0].isupper() and word[1:].islower()):
        return False
    before = text[: token.start].rstrip(" \t")
    return before[-1:].isalpha() or before[-1:] in {",", "("}


def _is_capitalised(word: str) -> bool:
    """Whether a word of two letters begins with a capital and is no abbreviation."""
    return word[0].isupper() and word not in ACRONYMS


def _add_capitalised_pairs(text: str, tokens: list[Token], name: tuple[str, ...], hits: set[int]) -> None:
    """Add two words of a file name that stand beside each other, both with a capital: "Jane Doe", "Doe, Jane"."""
    for number, (first, second) in enumerate(itertools.pairwise(tokens)):
        if first.word != second.word and {first.word, second.word} <= set(name):
            capitals = text[first.start].isupper() and text[second.start].isupper()
            if capitals and SEPARATOR.fullmatch(text, first.end, second.start):
                hits.update((number, number + 1))


def _union(*groups: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans from left to right, those that overlap as one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(span for group in groups for span in group):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _add_neighbours(text: str, tokens: list[Token], name: tuple[str, ...], place: bool, hits: set[int]) -> None:
    """Add parts and initials of a name that are beside another part of it."""
    parts = set(name) if place else set(name) | {word[0] for word in name}
    near = [n for n, token in enumerate(tokens[:-1]) if token.word in parts and tokens[n + 1].word in parts]
    pairs = [(n, n + 1) for n in near if _side_by_side(text, tokens[n], tokens[n + 1], place)]
    # To the right, then to the left, so that a chain of parts is complete wherever its first hit is.
    for pair in [*pairs, *reversed(pairs)]:
        known = any(n in hits for n in pair)
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
