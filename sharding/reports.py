"""A report's text → its sections with character offsets, and the part that describes the image.

In: one text. Out: `Section` rows that cover the text; the header words are data, in a table. Sentences: `sentences`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Header as written (upper case, white space collapsed) → section; FORMATS: MIMIC-CXR and Open-i.
HEADERS: dict[str, tuple[str, ...]] = {
    "findings": ("FINDINGS", "FINDING", "REPORT FINDINGS", "CHEST FINDINGS", "CHEST", "CHEST PA AND LATERAL"),
    "impression": (
        "IMPRESSION",
        "IMPRESSIONS",
        "CONCLUSION",
        "CONCLUSIONS",
        "OPINION",
        "SUMMARY",
        "IMPRESSION AND PLAN",
    ),
    "findings and impression": ("FINDINGS AND IMPRESSION", "FINDINGS/IMPRESSION", "IMPRESSION AND FINDINGS"),
    "indication": (
        "INDICATION",
        "INDICATIONS",
        "NDICATION",
        "REASON FOR EXAM",
        "REASON FOR EXAMINATION",
        "REASON FOR STUDY",
        "REASON",
    ),
    "history": ("HISTORY", "CLINICAL HISTORY", "CLINICAL INFORMATION", "PATIENT HISTORY", "CLINICAL INDICATION"),
    "comparison": ("COMPARISON", "COMPARISONS", "COMPARISON STUDY", "COMPARISON EXAM"),
    "technique": ("TECHNIQUE", "TECHNIQUES", "PROCEDURE", "PROCEDURE COMMENTS"),
    "examination": ("EXAMINATION", "EXAM", "STUDY", "TYPE OF EXAMINATION", "EXAMINATIONS", "FINAL REPORT"),
    "recommendation": ("RECOMMENDATION", "RECOMMENDATIONS", "RECOMMENDATION(S)"),
    "notification": ("NOTIFICATION", "NOTIFICATIONS", "COMMUNICATION"),
    "addendum": ("ADDENDUM", "WET READ", "WET READ VERSION", "PREVIOUS REPORT"),
}
SECTION_OF = {header: section for section, headers in HEADERS.items() for header in headers}
# At the beginning of a line: two letters or more, upper case, then a colon; "FINAL REPORT" needs none.
HEADER = re.compile(r"^[ \t]*(?:([A-Z][A-Z /()&,.-]{1,60}?)[ \t]*:|(FINAL REPORT)[ \t]*$)", re.M)
ADDENDUM_RULE = re.compile(r"^[ \t]*_{10,}[ \t]*$", re.M)
PARAGRAPH = re.compile(r"\S(?:.|\n(?![ \t]*\n))*")
OFFICIAL = ("findings", "impression", "findings and impression")


@dataclass(frozen=True)
class Section:
    """`text[start:end]` is the section's content without its header; the white space around it is left out."""

    name: str
    start: int
    end: int


def sections(text: str) -> list[Section]:
    """All sections in order; what stands before the first header is "preamble", an unknown header keeps its words."""
    marks = [(0, 0, "preamble")]
    for match in HEADER.finditer(text):
        words = " ".join((match.group(1) or match.group(2)).split())
        marks.append((match.start(), match.end(), SECTION_OF.get(words, words.lower())))
    ends = [begin for begin, _, _ in marks[1:]] + [len(text)]
    found = [_stripped(text, name, start, end) for (_, start, name), end in zip(marks, ends, strict=True)]
    return [section for section in found if section.start < section.end]


def official(text: str) -> list[Section]:
    """The sections that describe the image: findings and impression, else the last paragraph (FORMATS: MIMIC-CXR).

    An addendum before the report, behind a rule of underscores, is passed over.
    """
    start = _behind_addendum(text)
    found = [section for section in sections(text) if section.start >= start]
    chosen = [section for section in found if section.name in OFFICIAL]
    return chosen or _last_paragraph(text, found, start)


def plain(text: str) -> list[Section]:
    """The whole text as one section, for sources without headers."""
    section = _stripped(text, "text", 0, len(text))
    return [section] if section.start < section.end else []


def _behind_addendum(text: str) -> int:
    rules = [match for match in ADDENDUM_RULE.finditer(text) if "ADDENDUM" in text[: match.start()].upper()]
    behind = rules[0].end() if rules else 0
    return behind if text[behind:].strip() else 0


def _last_paragraph(text: str, found: list[Section], start: int) -> list[Section]:
    """The last paragraph; where a header opens it, only what that section says."""
    paragraphs = [match.span() for match in PARAGRAPH.finditer(text, start)]
    if not paragraphs:
        return []
    first, last = paragraphs[-1]
    inside = [section.start for section in found if first <= section.start < last]
    section = _stripped(text, "last paragraph", max([first, *inside]), last)
    return [section] if section.start < section.end else []


def _stripped(text: str, name: str, start: int, end: int) -> Section:
    content = text[start:end]
    start += len(content) - len(content.lstrip())
    return Section(name, start, max(start, start + len(content.strip())))
