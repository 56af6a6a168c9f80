"""The gold sentences and how a splitter or tagger is scored against them; what they are stands in README.md.

In: the archive of Open-i reports, the table of clinical notes, the tables beside this file, spans and tags that were
made. Out: texts with true sentences; precision, recall, F1, accuracy. The splitters under test are not here
(benchmarks/sentences.py).
"""

from __future__ import annotations

import csv
import re
import statistics
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
SECTIONS = ("FINDINGS", "IMPRESSION")
UNTAGGED = "notes"  # the set whose sentences got no tags: an empty cell there does not say that no tag holds
Span = tuple[int, int]


@dataclass(frozen=True)
class Text:
    """One section of one report, or one note, with its true sentences and their tags (none where none were given)."""

    report: str
    text: str
    spans: tuple[Span, ...]
    tags: tuple[frozenset[str], ...] = ()


def section_texts(archive: Path) -> dict[tuple[str, str], str]:
    """(report, section) → text of every report of the archive, white space collapsed (tests/golden/README.md)."""
    found = {}
    with tarfile.open(archive) as members:
        for member in members:
            file = members.extractfile(member) if member.name.endswith(".xml") else None
            for part in ElementTree.parse(file).iter("AbstractText") if file else ():
                if part.get("Label") in SECTIONS:
                    found[Path(member.name).stem, str(part.get("Label"))] = " ".join("".join(part.itertext()).split())
    return found


def note_texts(table: Path) -> dict[tuple[str, str], str]:
    """(file name of the image, "text") → its clinical note, white space collapsed (tests/golden/README.md)."""
    found: dict[tuple[str, str], str] = {}
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault((row["filename"], "text"), " ".join(row["clinical_notes"].split()))
    return found


def gold(name: str, texts: dict[tuple[str, str], str]) -> list[Text]:
    """The annotated sections of "dev" or "test", with the texts of `section_texts`, or "notes", with `note_texts`."""
    rows: dict[tuple[str, str], list[dict[str, str]]] = {}
    with (HERE / f"sentences_{name}.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows.setdefault((row["report"], row["section"]), []).append(row)
    return [
        Text(
            key[0],
            texts[key],
            tuple((int(row["start"]), int(row["end"])) for row in found),
            () if name == UNTAGGED else tuple(frozenset(row["tags"].split()) for row in found),
        )
        for key, found in rows.items()
    ]


def stress() -> list[Text]:
    """The made-up sections in the manner of MIMIC-CXR, with sentences between ⟦ and ⟧."""
    texts = []
    for number, marked in enumerate((HERE / "sentences_stress.txt").read_text(encoding="utf-8").split("\n====\n")):
        spans, plain = [], ""
        for piece in re.split("(⟦[^⟧]*⟧)", marked.rstrip("\n")):
            begin, plain = len(plain), plain + piece.strip("⟦⟧")
            if piece.startswith("⟦"):
                spans.append((begin, len(plain)))
        texts.append(Text(str(number), plain, tuple(spans)))
    return texts


NUMBER_BEFORE = re.compile(r"\s*(?:\(?\d{1,2}[.)]|[-*•])(?:\s+|$)")
NUMBER_BEHIND = re.compile(r"(?<=[.:;!?])\s+\(?\d{1,2}[.)]\s*$|^\s*\(?\d{1,2}[.)]\s*$|\s+[-*•]\s*$")
HEADER_ALONE = re.compile(r"\s*(?:\w+[ /&]*){1,4}:\s*")


def trimmed(text: str, spans: Iterable[Span]) -> list[Span]:
    """Without white space at the ends, without empty spans."""
    kept = [(first + len(text[first:last]) - len(text[first:last].lstrip()), last) for first, last in spans]
    kept = [(first, first + len(text[first:last].rstrip())) for first, last in kept]
    return [span for span in kept if span[0] < span[1]]


def by_the_guide(text: str, spans: Iterable[Span]) -> list[Span]:
    """Also without list numbers at either end, headers alone, and spans without letters: what no library knows of."""
    kept = []
    for first, last in spans:
        behind = NUMBER_BEHIND.search(text[first:last])
        last = first + behind.start() if behind else last
        before = NUMBER_BEFORE.match(text[first:last])
        first += before.end() if before else 0
        says = re.search(r"[^\W\d_]", re.sub(r"\bX{3,}\b", "", text[first:last]))
        if says and not HEADER_ALONE.fullmatch(text[first:last]):
            kept.append((first, last))
    return trimmed(text, kept)


def ratios(right: int, found: int, true: int) -> tuple[float, float, float]:
    """Precision, recall and F1."""
    return right / max(found, 1), right / max(true, 1), 2 * right / max(found + true, 1)


def boundary_scores(
    texts: Sequence[Text], predicted: Sequence[Sequence[Span]]
) -> dict[str, tuple[float, float, float]]:
    """Of whole spans, and of the places where sentences end."""
    counts = {"spans": [0, 0, 0], "ends": [0, 0, 0]}
    for one, spans in zip(texts, predicted, strict=True):
        sets: dict[str, tuple[set[Any], set[Any]]] = {
            "spans": (set(spans), set(one.spans)),
            "ends": ({last for _, last in spans}, {last for _, last in one.spans}),
        }
        for name, (found, true) in sets.items():
            for place, number in enumerate((len(found & true), len(found), len(true))):
                counts[name][place] += number
    return {name: ratios(*numbers) for name, numbers in counts.items()}


def tag_scores(true: Sequence[frozenset[str]], predicted: Sequence[Iterable[str]], tag: str) -> dict[str, float]:
    """Precision, recall, F1 and accuracy of one tag over sentences."""
    hits = [(tag in a, tag in set(b)) for a, b in zip(true, predicted, strict=True)]
    precision, recall, f1 = ratios(hits.count((True, True)), sum(b for _, b in hits), sum(a for a, _ in hits))
    return {"precision": precision, "recall": recall, "f1": f1, "accuracy": statistics.mean(a == b for a, b in hits)}


def labelled_sentences(texts: Sequence[Text]) -> tuple[list[str], list[frozenset[str]]]:
    """All gold sentences and their tags."""
    words = [one.text[first:last] for one in texts for first, last in one.spans]
    return words, [tags for one in texts for tags in one.tags]
