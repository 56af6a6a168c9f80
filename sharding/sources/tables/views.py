"""How an X-ray was taken, as written in a table → a code, and which codes are frontal.

In: free text. Out: one of `CODES`, or an empty text: a table's own words could name somebody, so they never leave.
"""

from __future__ import annotations

import re

from sharding.pixels.header import VIEWS
from sharding.sources import SourceImage

# "FRONTAL" is no code of DICOM: tables say it where AP or PA is not known.
CODES = frozenset(("FRONTAL", *VIEWS))
FRONTAL = frozenset(("FRONTAL", "AP", "PA"))
# Words of a table, lower case → what they say.
WORDS = {
    **dict.fromkeys(("ap", "anteroposterior", "anterioposterior"), "AP"),
    **dict.fromkeys(("pa", "posteroanterior", "posterioanterior"), "PA"),
    **dict.fromkeys(("frontal", "front"), "FRONTAL"),
    **dict.fromkeys(("lateral", "lat", "l", "profile"), "LATERAL"),
    **dict.fromkeys(("ll", "rl"), "LATERAL"),
    **dict.fromkeys(("oblique", "decubitus", "lordotic", "axial", "swimmers"), "OTHER"),
}
LETTERS = re.compile(r"[^\W\d_]+")


def code(words: str) -> str:
    """The code that a table's words stand for ("AP Supine" → AP); empty where they name none, or several."""
    exact = " ".join(words.upper().replace("_", " ").split())
    if exact in CODES:
        return exact
    said = {WORDS[word] for word in LETTERS.findall(words.casefold()) if word in WORDS}
    if said <= FRONTAL and len(said) > 1:
        said = {"FRONTAL"} if {"AP", "PA"} <= said else said - {"FRONTAL"}
    return said.pop() if len(said) == 1 and "OTHER" not in said else ""


def frontal(studies: list[SourceImage]) -> tuple[list[SourceImage], int, int]:
    """The studies without those of a view known and not frontal; how many those are, how many kept are unknown."""
    kept = [study for study in studies if not study.view or study.view in FRONTAL]
    return kept, len(studies) - len(kept), sum(not study.view for study in kept)
