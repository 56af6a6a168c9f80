"""The view of an X-ray, as written in a table → a DICOM code, and which codes are frontal.

In: free text. Out: one of `CODES`, or an empty string: a table's own words could name somebody, so they never leave.
"""

from __future__ import annotations

import re

from sharding.pixels.examination import VIEWS
from sharding.sources import SourceImage

# "FRONTAL" is not a DICOM code: tables use it for an unknown AP or PA.
CODES = frozenset(("FRONTAL", *VIEWS))
FRONTAL = frozenset(("FRONTAL", "AP", "PA"))
# Words of a table in lower case → codes.
WORDS = {
    **dict.fromkeys(("ap", "anteroposterior", "anterioposterior"), "AP"),
    **dict.fromkeys(("pa", "posteroanterior", "posterioanterior"), "PA"),
    **dict.fromkeys(("frontal", "front"), "FRONTAL"),
    **dict.fromkeys(("lateral", "lat", "l", "profile"), "LATERAL"),
    **dict.fromkeys(("ll", "rl"), "LATERAL"),
    **dict.fromkeys(("oblique", "decubitus", "lordotic", "axial", "swimmers"), "OTHER"),
}
JOINED = re.compile(r"\b(antero|anterio|postero|posterio)[\s_-]+(anterior|posterior)\b")
LETTERS = re.compile(r"[^\W\d_]+")


def code(words: str) -> str:
    """The code of a table's words ("AP Supine" → AP); empty if they name none or several."""
    exact = " ".join(words.upper().replace("_", " ").split())
    if exact in CODES:
        return exact
    # DICOM itself writes antero-posterior and postero-anterior.
    joined = JOINED.sub(r"\1\2", words.casefold())
    codes = {WORDS[word] for word in LETTERS.findall(joined) if word in WORDS}
    if codes <= FRONTAL and len(codes) > 1:
        codes = {"FRONTAL"} if {"AP", "PA"} <= codes else codes - {"FRONTAL"}
    return codes.pop() if len(codes) == 1 and "OTHER" not in codes else ""


def frontal(images: list[SourceImage]) -> tuple[list[SourceImage], int, int]:
    """The images without a known view that is not frontal; how many were left out, how many kept views are unknown."""
    kept = [image for image in images if not image.view or image.view in FRONTAL]
    return kept, len(images) - len(kept), sum(not image.view for image in kept)
