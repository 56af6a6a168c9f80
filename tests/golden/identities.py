"""The gold sets of planted identities in six languages, and how the scan of reports does on them.

In: identities_NAME.txt beside this file: language, kind, what the header knows, and a sentence in which braces mark
what identifies; a row of the kind `plain` has nothing to mask. Out: `Row`s, and a `Score`. As a command, prints both
sets: `PYTHONPATH=. python -m tests.golden.identities`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sharding.deid.reports.identifiers import Identifiers, identifiers_of
from sharding.deid.reports.masking import mask
from sharding.text.language import of as language_of

HERE = Path(__file__).resolve().parent
LANGUAGES = ("en", "de", "fr", "es", "pt", "nl")
PLAIN = "plain"


@dataclass(frozen=True)
class Row:
    """One sentence, the places of what identifies, and what is known of its study."""

    language: str
    kind: str
    known: Identifiers
    text: str
    places: tuple[tuple[int, int], ...]


@dataclass
class Score:
    """Counts by (kind, language); `beside`: letters that do not identify, and those of them that were masked."""

    planted: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    plain: Counter[str] = field(default_factory=Counter)
    falsely: Counter[str] = field(default_factory=Counter)
    beside: Counter[str] = field(default_factory=Counter)

    @property
    def recall(self) -> float:
        return sum(self.found.values()) / sum(self.planted.values())


def rows(name: str) -> list[Row]:
    """The rows of the set "dev", on which rules were written, or "test"."""
    lines = (HERE / f"identities_{name}.txt").read_text(encoding="utf-8").splitlines()
    return [_row(*line.split(" | ", 3)) for line in lines if line and not line.startswith("#")]


def _row(language: str, kind: str, known: str, marked: str) -> Row:
    pieces = re.split(r"[{}]", marked)
    ends = [sum(map(len, pieces[: number + 1])) for number in range(len(pieces))]
    values = [value.strip() for value in known.split(";") if value.strip() not in ("", "-")]
    prefixed = {prefix: [v.removeprefix(prefix) for v in values if v.startswith(prefix)] for prefix in ("id:", "file:")}
    persons = [value for value in values if not value.startswith(("id:", "file:"))]
    identifiers = identifiers_of(persons=persons, ids=prefixed["id:"], files=prefixed["file:"])
    return Row(language, kind, identifiers, "".join(pieces), tuple(zip(ends[0::2], ends[1::2], strict=False)))


def score(found: list[Row]) -> Score:
    """A planted identity is found if no letter or digit of it is left."""
    result = Score()
    for row in found:
        masked = mask(row.text, row.known)[0]
        for first, last in row.places:
            result.planted[row.kind, row.language] += 1
            result.found[row.kind, row.language] += not re.search(r"[^\W_]", masked[first:last])
        inside = {place for first, last in row.places for place in range(first, last)}
        outside = [place for place in range(len(row.text)) if place not in inside and row.text[place].isalnum()]
        hidden = sum(masked[place] == "_" for place in outside)
        result.beside.update({"letters": len(outside), "masked": hidden})
        if row.kind == PLAIN:
            result.plain[row.language] += 1
            result.falsely[row.language] += hidden > 0
    return result


def detected(name: str, length: int) -> dict[str, tuple[int, int]]:
    """By language: how many reports of so many successive sentences are called by their language, and all of them."""
    found = {}
    for language in LANGUAGES:
        texts = [row.text for row in rows(name) if row.language == language]
        reports = [" ".join(texts[first : first + length]) for first in range(0, len(texts) - length + 1, length)]
        found[language] = sum(language_of(report) == language for report in reports), len(reports)
    return found


def _print(name: str) -> None:
    result = score(rows(name))
    print(f"{name}: {result.recall:.1%} of {sum(result.planted.values())} identities are masked")
    print(f"{'':10}" + "".join(f"{language:>8}" for language in LANGUAGES))
    for kind in sorted({kind for kind, _ in result.planted}):
        cells = (f"{result.found[kind, one]}/{result.planted[kind, one]}" for one in LANGUAGES)
        print(f"{kind:10}" + "".join(f"{cell:>8}" for cell in cells))
    cells = (f"{result.falsely[one]}/{result.plain[one]}" for one in LANGUAGES)
    print(f"{'false':10}" + "".join(f"{cell:>8}" for cell in cells) + "  sentences with nothing to mask")
    print(f"{result.beside['masked']} of {result.beside['letters']} other letters are masked")
    for length in (1, 3):
        cells = (f"{right}/{count}" for right, count in detected(name, length).values())
        print(f"{'language':10}" + "".join(f"{cell:>8}" for cell in cells) + f"  known by {length} sentence(s)")
    print()


if __name__ == "__main__":
    _print("dev")
    _print("test")
