"""A report's text → its sections with character offsets, and those that describe the image.

In: one text. Out: `Section` rows that cover the text. Header words are data, in `headers`, and the names of sections
come from there alone: an unknown header may hold a person's name. Sentences: `sentences`.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass

from sharding.text.headers import (
    ANATOMY,
    EARLIER_SECTIONS,
    HEADERS,
    IMAGE_SECTIONS,
    OTHER_SECTIONS,
    SECTION_OF,
    VIEW_NOUNS,
    VIEW_WORDS,
    WITHOUT_COLON,
)

# Every name that a section can have.
NAMES = (*HEADERS, "preamble", "other", "last paragraph", "text")

# Words at the beginning of a line, up to a colon that is not part of a time, or alone on the line.
LINE = re.compile(
    r"^[ \t]*([A-Za-z][A-Za-z0-9 \t/()&,.'_-]{0,60}?)[ \t]*(:(?!\d)|(?<=[A-Za-z)]):|(?=\r?$))",
    re.M,
)
# Words inside a line, after the end of a statement or a wide space, up to a colon.
INSIDE = re.compile(r"(?<=[.!?:;)\]_][ \t]|[ \t][ \t])([A-Z][A-Za-z/()&]*(?: [A-Za-z/()&]+){0,4})[ \t]*:")
# Words with a colon anywhere: in a report on one line a header may stand behind words without a full stop. Only known
# ones count, in upper case, or those of the image.
INSIDE_AT = re.compile(r"([A-Z][A-Za-z/()& ]*?)[ \t]?:")
FLAT = re.compile(r"(?<=[^\s.!?:;] )((?:[A-Z][A-Za-z/()&]+ ){0,3}[A-Z][A-Za-z/()&]+)[ \t]?:(?!\d)")
BARE = re.compile(rf"^[ \t]*({'|'.join(WITHOUT_COLON)})\b[ \t]*:?", re.M)
RULE = re.compile(r"^[ \t]*_{10,}[ \t]*\r?$", re.M)
PARAGRAPH = re.compile(r"\S(?:.|\n(?![ \t\r]*\n))*")
LETTERS = re.compile(r"[A-Z]+")
SLASH = re.compile(r" ?/ ?")
STATEMENT_ENDS = tuple(".:;!?)]_*=-")
LOOK_BACK = 80  # characters before a line that show whether it continues the previous one


@dataclass(frozen=True)
class Section:
    """`text[start:end]` is the section's content without its header; the white space around it is left out."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class HeaderMatch:
    """A header at `start`; the content of its section begins at `end`."""

    start: int
    end: int
    name: str


def known_header(words: str) -> str:
    """The words as a known header in upper case; OTHER for any other."""
    normalized = _normalized(words)
    return normalized if normalized in SECTION_OF else "OTHER"


def sections(text: str) -> list[Section]:
    """All sections in order: "preamble" before the first header, "other" under an unknown header."""
    return _between(text, _headers(text))


def official(text: str) -> list[Section]:
    """The sections that describe the image: all findings and impressions, else the last paragraph (as in MIMIC-CXR).

    Findings and impression are both taken, because training uses single sentences. An addendum or a preliminary reading
    before the report is skipped. The last paragraph is the last one without a header of another section.
    """
    headers = _headers(text)
    start = _beginning(text, headers)
    found = _between(text, [header for header in headers if header.start >= start], start)
    return [section for section in found if section.name in IMAGE_SECTIONS] or _last_paragraph(text, found)


def plain(text: str) -> list[Section]:
    """The whole text as one section; if it has findings or impression, the sections that may describe the image.

    Addenda describe it too; a preliminary reading does if nothing else does.
    """
    headers = _headers(text)
    found = _between(text, headers)
    if not any(section.name in IMAGE_SECTIONS for section in found):
        return _without_sections(text, headers)
    left_out = (*OTHER_SECTIONS, "preliminary", "comparison")
    return [
        Section("text", section.start, section.end) if section.name == "preamble" else section
        for section in found
        if section.name not in left_out
    ]


def _without_sections(text: str, headers: list[HeaderMatch]) -> list[Section]:
    """The whole text but for the words ADDENDUM, PRELIMINARY REPORT and FINAL REPORT."""
    kinds = [header for header in headers if header.name in (*EARLIER_SECTIONS, "report")]
    found = _between(text, kinds, 0, "text")
    final = [section for section in found if section.name != "preliminary"]
    return final or found


def preliminary(text: str) -> list[Section]:
    """The preliminary readings in a text."""
    return [section for section in sections(text) if section.name == "preliminary"]


def is_preliminary(text: str) -> bool:
    """Whether a text is a preliminary reading and nothing else, by its first header."""
    names = [header.name for header in _headers(text)]
    kinds = [name for name in names if name in (*IMAGE_SECTIONS, *EARLIER_SECTIONS, "report")]
    return kinds[:1] == ["preliminary"] and not {"addendum", "report"} & set(kinds)


def _headers(text: str) -> list[HeaderMatch]:
    """The headers of the text in order, without overlaps."""
    lines = [(match, _normalized(match.group(1))) for match in LINE.finditer(text)]
    upper = any(match.group(2) and match.group(1).isupper() and words in SECTION_OF for match, words in lines)
    named = [(match, _name_on_line(text, match, words, upper)) for match, words in lines]
    named += [(match, _name_inside(match.group(1))) for match in INSIDE.finditer(text)]
    named += _flat(text)
    named += [(match, SECTION_OF[match.group(1)]) for match in BARE.finditer(text) if _starts_anew(text, match.start())]
    headers = [HeaderMatch(match.start(1), match.end(), name) for match, name in named if name]
    # Of two that overlap, a known header is kept, else the first.
    headers.sort(key=lambda header: (header.name == "other", header.start))
    taken = bytearray(len(text) + 1)
    free = []
    for header in headers:
        if not any(taken[header.start : header.end]):
            taken[header.start : header.end] = b"x" * (header.end - header.start)
            free.append(header)
    return sorted(free, key=lambda header: header.start)


def _flat(text: str) -> list[tuple[re.Match[str], str]]:
    """The known headers inside lines, each with its section: the longest end of the words that is one."""
    found = []
    for words in FLAT.finditer(text):
        starts = [words.start(1), *(words.start(1) + space.end() for space in re.finditer(" ", words[1]))]
        for start in starts:
            name = _name_inside(text[start : words.end(1)])
            if name:
                match = INSIDE_AT.match(text, start)
                found += [(match, name)] if match else []
                break
    return found


def _name_on_line(text: str, match: re.Match[str], words: str, upper: bool) -> str:
    """The section that a line opens, empty for none; `upper`: the report has its headers in upper case."""
    section, colon = SECTION_OF.get(words, ""), bool(match.group(2))
    if not match.group(1).isupper():
        may_be = section in IMAGE_SECTIONS or (section and colon and not upper)
        clear = (colon and match.group(1)[0].isupper()) or _starts_anew(text, match.start())
        return section if may_be and clear else ""
    if section or not colon:
        return section
    tokens = set(LETTERS.findall(words))
    if tokens & VIEW_NOUNS and tokens <= VIEW_NOUNS | VIEW_WORDS:
        return "findings"
    line_before = text[max(0, match.start() - LOOK_BACK) : match.start()].rstrip().rpartition("\n")[2]
    continues = line_before.isupper() and not _starts_anew(text, match.start())  # in a report all in upper case
    return "" if len(words) < 2 or tokens <= ANATOMY or continues else "other"


def _name_inside(words: str) -> str:
    """The section that words inside a line open; in lower case only a section that describes the image."""
    section = SECTION_OF.get(_normalized(words), "")
    return section if words.isupper() or section in IMAGE_SECTIONS else ""


def _normalized(words: str) -> str:
    return SLASH.sub("/", " ".join(words.upper().split())).strip(" .,'-")


def _starts_anew(text: str, start: int) -> bool:
    """Whether the line at `start` begins a statement, rather than continuing a wrapped one."""
    before = text[max(0, start - LOOK_BACK) : start]
    words = before.rstrip()
    return not words or words.endswith(STATEMENT_ENDS) or before.count("\n", len(words)) > 1


def _between(text: str, headers: list[HeaderMatch], start: int = 0, first: str = "preamble") -> list[Section]:
    """The sections from `start` on, without empty ones; the one before the first header is called `first`."""
    begins = [(first, start), *((header.name, header.end) for header in headers)]
    ends = [*(header.start for header in headers), len(text)]
    stripped = [_stripped(text, name, begin, end) for (name, begin), end in zip(begins, ends, strict=True)]
    return [section for section in stripped if section.start < section.end]


def _beginning(text: str, headers: list[HeaderMatch]) -> int:
    """Where the report begins: after addenda and preliminary readings, each of which ends with a rule."""
    start = 0
    own = [header for header in headers if header.name != "report"]
    for rule in RULE.finditer(text):
        first = bisect.bisect_left(own, start, key=lambda header: header.start)
        earlier = own[first : first + 1] and own[first].start < rule.start() and own[first].name in EARLIER_SECTIONS
        if text[start : rule.start()].strip() and not earlier:
            break
        start = rule.end()
    preliminary = next((header.start for header in headers if header.name in EARLIER_SECTIONS), len(text))
    reports = (header.start for header in headers if header.name == "report" and header.start > preliminary)
    start = max([start, *reports])
    return start if text[start:].strip() else 0


def _last_paragraph(text: str, found: list[Section]) -> list[Section]:
    """The last paragraph without a header; if there is none, one under an unknown header or COMPARISON."""
    for skipped in ((*OTHER_SECTIONS, *EARLIER_SECTIONS, "other", "comparison"), (*OTHER_SECTIONS, *EARLIER_SECTIONS)):
        for section in reversed(found):
            spans = [match.span() for match in PARAGRAPH.finditer(text, section.start, section.end)]
            free = spans[1:] if section.name in skipped else spans
            if free:
                return [_stripped(text, "last paragraph", *free[-1])]
    return []


def _stripped(text: str, name: str, start: int, end: int) -> Section:
    content = text[start:end]
    start += len(content) - len(content.lstrip())
    return Section(name, start, max(start, start + len(content.strip())))
