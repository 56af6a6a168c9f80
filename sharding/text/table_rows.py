"""The rows of tables inside a report: numbers and measurements, which are no sentences.

In: one text. Out: the spans of its lines that are rows of a table, with the names of columns, the title and the ruled
lines beside them. Rows are known by cells (tabs, bars, wide spaces, or a colon before a number) that are numbers. One
number after a finding or a side is no row: "Left pneumothorax: 8 mm" is what the report says.
"""

from __future__ import annotations

import re

UNIT = r"(?:%|[cm]m(?:2|²)?|ml|cc|hu|m?sv|mgy(?:[·*]?cm2?)?|kvp?|mas?|mmhg|k?g|mg|m/s|bpm|ms|(?:day|year|yr|week|wk)s?)"
NUMBER = re.compile(
    rf"(?:[<>≤≥~±+-]\s*)?\d+(?:[.,/:-]\d+)*(?:\s*[x×]\s*\d+(?:[.,]\d+)?)*\s*{UNIT}?(?:\s*\([^()]{{0,20}}\))?|"
    r"[-–—]+|n/?a|_{2,}",
    re.I,
)
DIGIT = re.compile(r"\d")
CELL_END = re.compile(r"\t+|[ \xa0]{2,}|[ \t]*\|[ \t]*")
PAIR = re.compile(r"([A-Za-z][\w ()/-]{0,40}):[ \t]*(\S.{0,24})")
RULED = re.compile(r"[-+=|_ \t]{3,}")
TITLE = re.compile(
    r"(?:[\w-]+ ){0,2}(?:measurements?|dimensions|values|results|table|labs?|laboratory|vital signs):?", re.I
)
LINE = re.compile(r"[^\n]+")
# A statement with a wide space in it is no row.
STATEMENT = re.compile(
    r"\b(?:is|are|was|were|has|have|had|there|measur(?:es|ing|ed)|with|shows?|seen|noted|compared|at|by|to|and|in|the)\b|"
    r"[.;!?,:]$",
    re.I,
)
# A label of one of these says more than what was measured: that something is there, or on which side.
FINDING = re.compile(
    r"\b(?:left|right|bilateral|unilateral|pneumo\w+|h\w+thorax|effusions?|nodul\w+|mass(?:es)?|lesions?|opacit\w+|"
    r"consolidations?|infiltrat\w+|atelecta\w+|o?edema|\w+megaly|fractures?|cavit\w+|cysts?|granulomas?|tumou?rs?|"
    r"abscess(?:es)?|bullae?|blebs?|herni\w+|aneurysms?|calcificat\w+|collections?|ha?ematomas?|collapse|"
    r"scar(?:s|ring)?|thickening|elevation|deviation|shift|displacement|emphysema|fibrosis|metasta\w+|"
    r"(?:lymph)?adenopathy|foreign bod(?:y|ies)|leak)\b",
    re.I,
)
MOST_WORDS, MOST_NAME_WORDS = 5, 3  # of a label, of the name of a column
CERTAIN, POSSIBLE, NAMES, STATED = 2, 1, 0, -1
GOES_ON = re.compile(r"\s*[a-z]")


def spans(text: str) -> list[tuple[int, int]]:
    """The lines of tables from left to right, as offsets."""
    if not DIGIT.search(text):
        return []
    lines = [match.span() for match in LINE.finditer(text)]
    rows = [text[start:end].strip() for start, end in lines]
    kinds = [_kind(row) for row in rows]
    found: list[int] = []
    place = 0
    while place < len(lines):
        last = place
        while last < len(lines) and (kinds[last] or 0) >= POSSIBLE:
            last += 1
        if CERTAIN in kinds[place:last] or last > place + 1:
            first = _first(rows, kinds, place, found[-1] + 1 if found else 0)
            last += last < len(lines) and RULED.fullmatch(rows[last]) is not None
            found += range(first, last)
        place = max(last, place + 1)
    return [lines[number] for number in found]


def statements(text: str) -> list[tuple[int, int]]:
    """The lines that state a finding by its measurement ("Left pneumothorax: 8 mm"): each is a sentence."""
    if not FINDING.search(text) or not DIGIT.search(text):
        return []
    lines = (match.span() for match in LINE.finditer(text))
    return [
        (start, end)
        for start, end in lines
        if _kind(text[start:end].strip()) == STATED and not GOES_ON.match(text, end)
    ]


def blanked(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with spaces in place of the spans, so that offsets hold."""
    parts, last = [], 0
    for start, end in spans:
        parts += [text[last:start], "".join("\n" if sign == "\n" else " " for sign in text[start:end])]
        last = end
    return "".join((*parts, text[last:])) if spans else text


def _first(rows: list[str], kinds: list[int | None], row: int, free: int) -> int:
    """The first line of the table whose first row is `row`: ruled lines, names of columns and a title above it."""
    width = len(_cells(rows[row]))
    first = row
    while first > max(free, row - 4) and (
        RULED.fullmatch(rows[first - 1])
        or TITLE.fullmatch(rows[first - 1])
        or (kinds[first - 1] == NAMES and abs(len(_cells(rows[first - 1])) - width) <= 1)
    ):
        first -= 1
    return first


def _cells(line: str) -> list[str]:
    return [cell.rstrip(":") for cell in CELL_END.split(line.strip("| \t")) if cell]


def _kind(line: str) -> int | None:
    """Whether a line is a row by itself, one among others, may be names of columns, or states a finding; else None."""
    cells = _cells(line)
    if len(cells) < 2:
        pair = PAIR.fullmatch(line)
        if not pair or not NUMBER.fullmatch(pair[2].strip()) or STATEMENT.search(pair[1]):
            return None
        return STATED if FINDING.search(pair[1]) else POSSIBLE
    words = [cell for cell in cells if not NUMBER.fullmatch(cell)]
    if any(len(cell.split()) > MOST_WORDS or STATEMENT.search(cell) for cell in words):
        return None
    numbers = len(cells) - len(words)
    if not numbers:
        return NAMES if all(len(cell.split()) <= MOST_NAME_WORDS for cell in words) else None
    # A number before the words may be that of a list.
    if not DIGIT.search(line) or len(words) > 2 or (words and cells[0] != words[0]):
        return None
    if numbers > 1:
        return CERTAIN
    return POSSIBLE if len(words) == 1 and not FINDING.search(words[0]) else None
