"""The scan of a report: masks what may identify a person.

In: a text, and the known names, ids and places of its study. Out: the masked text, and counts by kind. The patterns are
in `identity_patterns`, the search for known identifiers in `identifiers`. A scan is no guarantee: a name that is in no
header and that no title, signature or cue announces stays.
"""

from __future__ import annotations

import re
from collections import Counter

from sharding.deid.reports.identifiers import NOBODY, Identifiers, identifiers_of
from sharding.deid.reports.identity_patterns import GROUPS, KINDS

NAME = "name"
KNOWN, ORDINARY_WORD = "known", "ordinary_word"  # besides the kinds of the patterns
MASKED_KINDS = (KNOWN, *KINDS)
REMOVED = re.compile(r"(?:[\W_]|X{2,}|\bI\b)*")
CONTENT = re.compile(r"[^\n\r]")


def mask(text: str, identifiers: Identifiers = NOBODY) -> tuple[str, Counter[str]]:
    """The text with identities replaced by `_`, and the number of each kind.

    A mask has the length and the line breaks of what it hides, so that offsets and section headers stay those of the
    report; `sentences` writes it as `___`. `ordinary_word` counts the words that were kept although they are also
    a name in the header ("Long", "White").
    """
    counts: Counter[str] = Counter()
    spans, ordinary = identifiers.find(text)
    text, _ = _hidden(text, spans, KNOWN, counts)
    names: list[str] = []
    for group in GROUPS:
        for pattern in group.patterns if group.gate.search(text) else ():
            spans = [span for match in pattern.finditer(text) for span in _spans(match)]
            text, hidden = _hidden(text, spans, group.kind, counts)
            names += hidden if group.kind == NAME else []
    # A name that a title or signature announced once is masked without one too.
    text, _ = _hidden(text, identifiers_of(persons=names).find(text)[0], NAME, counts)
    return text, counts + Counter({ORDINARY_WORD: ordinary})


def _spans(match: re.Match[str]) -> list[tuple[int, int]]:
    """The groups that took part in the match; the whole match if it has no groups."""
    groups = [match.span(number) for number in range(1, match.re.groups + 1)]
    return [span for span in groups if span[0] >= 0] or [match.span()]


def _hidden(text: str, spans: list[tuple[int, int]], kind: str, counts: Counter[str]) -> tuple[str, list[str]]:
    """The text with these spans masked and counted, and what was masked."""
    hidden = []
    for first, last in spans:
        if REMOVED.fullmatch(text, first, last):
            continue  # the source has removed it already
        hidden.append(text[first:last])
        text = text[:first] + CONTENT.sub("_", text[first:last]) + text[last:]
        counts[kind] += 1
    return text, hidden
