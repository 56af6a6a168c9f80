"""Text of a report section → sentences with exact character offsets and tags.

In: one text. Out: `Sentence` rows with `text[start:end]` the raw span; the sentence's own text has its white space
collapsed and no list number. Rules, no model: decimals, abbreviations, list numbers, removal tokens and wrapped lines
(FORMATS: report text). Finding the sections of a report is in `reports`.
"""

from __future__ import annotations

import itertools
import re

from sharding.contract import Sentence

# Written without their final full stop, lower case; a full stop after one of them ends no sentence.
ABBREVIATION = re.compile(
    r"drs?|mrs?|ms|prof|st|jr|sr|e\.g|i\.e|vs|cf|etc|al|fig|nos?|approx|ca|incl|resp|[ap]\.m|pts?|[hdtsr]x|wt|ht|temp|"
    r"min|max|avg|dept|s\.p|ant|post|sup|inf|lat|med|dist|prox",
    re.I,
)
# These may also end a sentence: they do when what follows starts like one.
OPEN_ABBREVIATION = re.compile(
    r"etc|[ap]\.m|al|no|sup|inf|lat|med|ant|post|dist|prox|min|max|pts?|approx|st|temp|avg|ht|wt|[hdtsr]x", re.I
)
TITLE = re.compile(r"\b(?:drs?|mrs?|ms|prof)\.?\s*$", re.I)
LIST_NUMBER = re.compile(r"(?:\(?\d{1,2}[.)]|[-*•])\s+(?=\S)")
# A list number inside a line: after the end of a sentence or a colon, before a capital.
INLINE_NUMBER = re.compile(r"(?<=[.:;!?])\s+(?=\(?\d{1,2}[.)]\s+[A-Z_])")
END_MARK = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)|[.!?]+(?=[A-Z][a-z])|(?<=[a-z]{3})\.(?=\d[.)]\s)")
BLANK_LINE = re.compile(r"\n[ \t\r]*\n\s*")
NEW_ITEM = re.compile(r"\n\s*(?=(?:\(?\d{1,2}[.)]|[-*•])\s+\S)")
WORD_BEFORE = re.compile(r"[\w.]*$")
HEADER_ALONE = re.compile(r"(?:\w+[ /&]*){1,4}:")
WORDS = re.compile(r"[^\W\d_]{2,}|[^\W\d_]")

TAGS: dict[str, re.Pattern[str]] = {
    "negated": re.compile(
        r"\b(?:no|not|none|without|negative for|absence of|absent|free of|rather than|neither|nor|denies|"
        r"resolved|resolution of|clear of|rule out|ruled out|never)\b",
        re.I,
    ),
    "uncertain": re.compile(
        r"\b(?:may|might|could|possib\w+|probabl\w+|likely|unlikely|suspected|suspicious|suspicion|suggest\w*|questionable|"
        r"cannot be (?:excluded|ruled out)|cannot exclude|not excluded|can not be excluded|concerning for|concern for|"
        r"consider|perhaps|equivocal|differential|versus|vs|presumed|presumably|appears?|apparent)\b|\?",
        re.I,
    ),
    "normal": re.compile(
        r"\b(?:normal|unremarkable|within normal limits|intact|negative chest|clear(?! of)|"
        r"no (?:acute|active|evidence|focal|abnormal\w*|significant|cardiopulmonary|pneumothorax|pleural|effusions?|"
        r"consolidations?)\b)",
        re.I,
    ),
    "comparison": re.compile(
        r"\b(?:unchanged|stable|stability|interval|compared?|comparison|previous(?:ly)?|prior|again|persist\w*|"
        r"increas(?:ed|ing)|decreas(?:ed|ing)|improv\w+|worsen\w*|progress\w*|new(?:ly)?|since|resolv\w+|remains?|redemonstrat\w+|"
        r"no longer|similar to|no (?:significant )?change|earlier)\b",
        re.I,
    ),
    "non-image": re.compile(
        r"\b(?:discussed|telephone\w*|phone[dr]?|communicated|notified|informed|paged|dictat\w+|recommend\w*|"
        r"advis(?:ed|e)|correlat(?:e|ion)|follow(?:-|\s)?up|(?:was|were) (?:called|conveyed)|"
        r"findings? (?:were|was) (?:called|reported)|ordered by|presents? (?:with|to)|history of|admitted|year[- ]old|"
        r"attending|by dr|dr\b\.?)",
        re.I,
    ),
}


def split(text: str, section: str = "text", start: int = 0, end: int | None = None) -> list[Sentence]:
    """The sentences of `text[start:end]`; offsets count from the start of `text`, and `text[s.start:s.end]` is raw.

    A span without a letter (a bare removal token, a number) is no sentence.
    """
    end = len(text) if end is None else end
    spans = _trimmed(text, _boundaries(text, start, end))
    return [_sentence(text, section, first, last) for first, last in spans if _says_something(text[first:last])]


def tags(sentence: str) -> tuple[str, ...]:
    """Which of negated, uncertain, normal, comparison and non-image hold for the sentence, by word lists."""
    return tuple(name for name, pattern in TAGS.items() if pattern.search(sentence))


def _sentence(text: str, section: str, first: int, last: int) -> Sentence:
    # A masked name is as long as the name (offsets stay those of the report); its text is the removal token.
    words = re.sub(r"_{2,}", "___", " ".join(text[first:last].split()))
    return Sentence(words, section, first, last, tags(words))


def _says_something(raw: str) -> bool:
    if HEADER_ALONE.fullmatch(raw):
        return False
    letters = re.sub(r"\bX{3,}\b|_+", " ", raw)
    return bool(WORDS.search(letters))


def _boundaries(text: str, start: int, end: int) -> list[int]:
    """Where pieces begin and end: the two ends, blank lines, list items and true ends of sentences."""
    cuts = {start, end}
    for pattern in (BLANK_LINE, NEW_ITEM, INLINE_NUMBER):
        cuts.update(match.end() for match in pattern.finditer(text, start, end))
    cuts.update(match.end() for match in END_MARK.finditer(text, start, end) if _ends_sentence(text, match, start, end))
    return sorted(cuts)


def _ends_sentence(text: str, mark: re.Match[str], start: int, end: int) -> bool:
    before = text[max(start, mark.start() - 12) : mark.start()]
    after = text[mark.end() : end].lstrip()
    if not after or text[mark.start()] in "!?" or "..." in mark.group():
        return True
    word = WORD_BEFORE.search(before)
    last = word.group() if word else ""
    if _is_list_number(text, mark.start(), last, start):
        return False
    starts_anew = after[0].isupper() or after[0].isdigit() or after[0] in "_(\"'"
    if ABBREVIATION.fullmatch(last.strip(".")):
        return bool(OPEN_ABBREVIATION.fullmatch(last.strip("."))) and after[0].isupper()
    if len(last) == 1 and last.isupper() and after[0].isupper():
        return not TITLE.search(before[:-1])  # an initial, as in "Dr. J. Smith"
    line_ends = text[mark.end() : mark.end() + 1] in ("", "\n", "\r")
    return starts_anew or line_ends or _is_removal_token(last) or last[-1:].isalpha()


def _is_removal_token(word: str) -> bool:
    return (word != "" and set(word) <= {"_"}) or word.startswith("XXX")


def _is_list_number(text: str, stop: int, word: str, start: int) -> bool:
    """Whether the full stop at `stop` closes the number of a list item and no sentence."""
    if not (word.isdigit() and len(word) <= 2):
        return False
    before = text[start : stop - len(word)]
    return (
        not before.strip()
        or before.endswith("\n")
        or before.rstrip()[-1:] in ".:;!?"
        or before.rstrip(" \t")[-1:] == "\n"
    )


def _trimmed(text: str, cuts: list[int]) -> list[tuple[int, int]]:
    spans = []
    for first, last in itertools.pairwise(cuts):
        while first < last and text[first].isspace():
            first += 1
        number = LIST_NUMBER.match(text, first, last)
        first = number.end() if number else first
        while last > first and text[last - 1].isspace():
            last -= 1
        if first < last:
            spans.append((first, last))
    return spans
