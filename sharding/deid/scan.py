"""The scan of a report for what may identify a person.

In: a text and what is known of the people and places of its study. Out: the text with all that masked, and counts by
kind. The patterns are in `identity_patterns`, the search for what is known in `identifiers`. A scan is no guarantee:
a name that no header gives and no title, signature or cue announces stays.
"""

from __future__ import annotations

import re
from collections import Counter

from sharding.deid.identifiers import NOBODY, Identifiers, identifiers_of
from sharding.deid.identity_patterns import GROUPS, KINDS

NAME = "name"
KNOWN, ORDINARY_WORD = "known", "ordinary_word"  # beside the kinds of the rules
MASKED_KINDS = (KNOWN, *KINDS)
REMOVED = re.compile(r"(?:[\W_]|X{2,}|\bI\b)*")
CONTENT = re.compile(r"[^\n\r]")


def mask(text: str, identifiers: Identifiers = NOBODY) -> tuple[str, Counter[str]]:
    """The text with all that identifies under `_`, and how many of each kind.

    A mask is as long as what it hides and keeps line breaks, so that offsets and section headers stay those of the
    report; `sentences` writes it as `___`. The count `ordinary_word` is that of the words left alone that are also
    a name of the header ("Long", "White").
    """
    counts: Counter[str] = Counter()
    spans, ordinary = identifiers.find(text)
    text, _ = _hidden(text, spans, KNOWN, counts)
    said: list[str] = []
    for group in GROUPS:
        for pattern in group.patterns if group.gate.search(text) else ():
            spans = [span for match in pattern.finditer(text) for span in _spans(match)]
            text, hidden = _hidden(text, spans, group.kind, counts)
            said += hidden if group.kind == NAME else []
    # Whom a title or a signature named once is meant by the bare name too.
    text, _ = _hidden(text, identifiers_of(persons=said).find(text)[0], NAME, counts)
    return text, counts + Counter({ORDINARY_WORD: ordinary})


def _spans(match: re.Match[str]) -> list[tuple[int, int]]:
    """The groups that took part in the match; the whole match where it has no groups."""
    groups = [match.span(number) for number in range(1, match.re.groups + 1)]
    return [span for span in groups if span[0] >= 0] or [match.span()]


def _hidden(text: str, spans: list[tuple[int, int]], kind: str, counts: Counter[str]) -> tuple[str, list[str]]:
    """The text with these spans masked and counted, and what stood there."""
    hidden = []
    for first, last in spans:
        if REMOVED.fullmatch(text, first, last):
            continue  # what the source removed already is not counted again
        hidden.append(text[first:last])
        text = text[:first] + CONTENT.sub("_", text[first:last]) + text[last:]
        counts[kind] += 1
    return text, hidden
