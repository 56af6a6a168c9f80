"""The text of a report section → sentences with exact character offsets and tags.

In: one text. Out: `Sentence` rows; `text[start:end]` is the raw span, `Sentence.text` has its white space collapsed and
no list number. Rules, no model: decimals, abbreviations, list numbers, removal tokens and wrapped lines. tests/golden
measures them. Sections: `sections`; tags: `tags`.
"""

from __future__ import annotations

import itertools
import re

from sharding.contract import Sentence
from sharding.text import table_rows, tags

# Without their final full stop, lower case; a full stop after one of them does not end a sentence.
ABBREVIATION = re.compile(
    r"drs?|mrs?|ms|prof|st|jr|sr|e\.g|i\.e|vs|cf|etc|al|figs?|nos?|approx|ca|incl|resp|esp|[ap]\.m|pts?|[hdtsr]x|wt|"
    r"ht|"
    r"temp|min|max|avg|dept|s\.p|ant|post|op|sup|inf|lat|med|dist|prox|[cm]m|yrs?|hrs?|wks?|mos?",
    re.I,
)
# These end a sentence if a capital follows.
OPEN_ABBREVIATION = re.compile(
    r"etc|[ap]\.m|al|no|sup|inf|lat|med|ant|post|op|dist|prox|min|max|pts?|approx|temp|avg|ht|wt|[hdtsr]x|[cm]m|"
    r"yrs?|hrs?|wks?|mos?",
    re.I,
)
TITLE = re.compile(r"\b(?:drs?|mrs?|ms|prof)\.?\s*$", re.I)
# Bullets as typed and as word processors write them (U+F0xx: fonts of symbols), dashes, and numbers of list items. A
# number or a dash may touch the word behind it if that begins with a capital.
BULLET = "[*•◦●○∙·‣⁃▪▫■□▸►▶➢➤➔→◆◇❖✓✔\uf02d\uf0a7\uf0a8\uf0b7\uf0d8\uf0e8\uf0fc]"
DASH = "[-‐‑‒–—―−]"
ITEM = rf"(?:(?:\(?\d{{1,2}}[.)]|{DASH})(?:\s+|(?=[A-Z_]))|{BULLET}\s*)"
LIST_NUMBERS = re.compile(rf"(?:{ITEM})+(?=\S)")
# A list number inside a line: after the end of a sentence or a colon, before a capital.
INLINE_NUMBER = re.compile(r"(?<=[.:;!?])\s+(?=\(?\d{1,2}[.)]\s*[A-Z_])")
# A list number behind an item without a full stop, but not after a word that a number belongs to ("grade 2.", "T 12.").
OPEN_NUMBER = re.compile(r"(?<![\d.:;!?])\s+(?=(?:[1-9]|1\d)[.)]\s+[A-Z_])")
COUNTS = frozenset(
    re.findall(
        r"[a-z]+",
        """
        of to at in on or no by is and than from about with under over approximately rib ribs level levels grade class
        stage type day days image images series view views number zone segment segments lobe phase score figure fig
        table step age cm mm kg lbs measures measuring measured week month room unit line lines disc vertebra t l c s
        the nr nos x
        """,
    )
)
# No pattern backtracks into a run that it has read: time stays linear in the length of any text.
END_MARK = re.compile(
    r"(?<![.!?])(?:[.!?]++(?:[\"')\]]*+(?=\s|$)|(?=[A-Z][a-z])|(?<=[a-z]{3}[.!?])(?=[A-Z_]))|"
    r"(?<=[a-z]{3})\.(?=\d[.)]\s))"
)
BLANK_LINE = re.compile(r"\n[ \t\r]*\n\s*")
NEW_ITEM = re.compile(rf"\n[ \t\r]*+(?={ITEM}\S)")
WORD_BEFORE = re.compile(r"[\w.]*$")
NEXT = re.compile(r"\S")
HEADER_ALONE = re.compile(r"\w++(?:[ /&]++\w++){0,3}[ /&]*+:")
LETTER = re.compile(r"[^\W\d_]")
# Sentences that say nothing: what stands where a section was left empty, and the name of an examination alone.
EMPTY = re.compile(
    r"(?:none|nil|nothing|n\.?\s?/?\s?a|nan|null|blank|unavailable|pending|tbd|"
    r"(?:none|not) (?:available|applicable|given|provided|recorded|dictated|entered)|"
    r"(?:please )?(?:see|refer to) (?:the )?(?:(?:full |separate |dictated )?(?:report|findings?|impression|"
    r"conclusion)"
    r"(?: section)?(?: above| below)?|above|below)|as (?:described |noted |stated |per )?(?:above|below|impression|"
    r"findings?)|"
    r"same(?: as above)?|(?:the )?(?:chest|hands?|abdomen|ribs?|pelvis|shoulders?|spine|findings?|impressions?|"
    r"history|"
    r"indication|technique|comparison|examination|exam|report|conclusion))\W*",
    re.I,
)


def split(text: str, section: str = "text", start: int = 0, end: int | None = None) -> list[Sentence]:
    """The sentences of `text[start:end]`; offsets count from the start of `text`, and `text[s.start:s.end]` is raw.

    A span without a letter (a bare removal token, a number) is not a sentence, nor is a header alone or a table's row.
    """
    inside = text[start:end]  # the rules look behind, and must not see the text before the section
    rows = table_rows.spans(inside)
    inside = table_rows.blanked(inside, rows)
    lines = [*rows, *table_rows.statements(inside)]
    spans = _trimmed(inside, sorted({*_boundaries(inside), *(place for line in lines for place in line)}))
    return [
        _sentence(inside[first:last], section, start + first)
        for first, last in spans
        if _has_content(inside[first:last])
    ]


def _sentence(raw: str, section: str, start: int) -> Sentence:
    # A mask is as long as the name, so that offsets are those of the report; the sentence has the removal token.
    words = re.sub(r"_{2,}", "___", " ".join(raw.split()))
    return Sentence(words, section, start, start + len(raw), tags.of(words))


def _has_content(raw: str) -> bool:
    if HEADER_ALONE.fullmatch(raw) or EMPTY.fullmatch(" ".join(raw.split())):
        return False
    return bool(LETTER.search(tags.REMOVED.sub(" ", raw)))


def _boundaries(text: str) -> set[int]:
    """The offsets to split at: both ends, blank lines, list items and ends of sentences."""
    cuts = {0, len(text)}
    for pattern in (BLANK_LINE, NEW_ITEM, INLINE_NUMBER):
        cuts.update(match.end() for match in pattern.finditer(text))
    cuts.update(match.end() for match in END_MARK.finditer(text) if _ends_sentence(text, match))
    cuts.update(match.end() for match in OPEN_NUMBER.finditer(text) if _word_before(text, match.start()) not in COUNTS)
    return cuts


def _word_before(text: str, stop: int) -> str:
    return WORD_BEFORE.search(text[max(0, stop - 20) : stop])[0].lower()  # type: ignore[index]  # matches always


def _ends_sentence(text: str, mark: re.Match[str]) -> bool:
    before = text[max(0, mark.start() - 12) : mark.start()]
    match = NEXT.search(text, mark.end())
    after = match.group() if match else ""
    if not after or text[mark.start()] == "!" or "..." in mark.group():
        return True
    if "?" in mark.group() and (not before[-1:].strip() or after.islower() or after.isdigit()):
        return False  # a lost character, as in "38.9 ? C", not a question
    if text[mark.start()] == "?":
        return True
    word = WORD_BEFORE.search(before)
    last = word.group() if word else ""
    if _is_list_number(text, mark.start(), last):
        return False
    short = last.rstrip(".").lstrip("0123456789.")  # "3mm." as well as "mm."
    if ABBREVIATION.fullmatch(short):
        return bool(OPEN_ABBREVIATION.fullmatch(short)) and after.isupper()
    if len(last) == 1 and last.isupper() and after.isupper():
        return not TITLE.search(before[:-1])  # an initial: "Dr. J. Smith"
    starts_anew = after.isupper() or after.isdigit() or after in "_(\"'"
    line_ends = text[mark.end() : mark.end() + 1] in ("", "\n", "\r")
    return starts_anew or line_ends or _is_removal_token(last) or last[-1:].isalpha()


def _is_removal_token(word: str) -> bool:
    return (word != "" and set(word) <= {"_"}) or word.startswith("XXX")


def _is_list_number(text: str, stop: int, word: str) -> bool:
    """Whether the full stop at `stop` ends the number of a list item, not a sentence."""
    if not (word.isdigit() and len(word) <= 2):
        return False
    before = stop - len(word)
    while before and text[before - 1].isspace():
        before -= 1
    return not before or "\n" in text[before:stop] or text[before - 1] in ".:;!?"


def _trimmed(text: str, cuts: list[int]) -> list[tuple[int, int]]:
    spans = []
    for first, last in itertools.pairwise(cuts):
        while first < last and text[first].isspace():
            first += 1
        numbers = LIST_NUMBERS.match(text, first, last)
        first = numbers.end() if numbers else first
        while last > first and text[last - 1].isspace():
            last -= 1
        if first < last:
            spans.append((first, last))
    return spans
