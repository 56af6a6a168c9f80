"""Left and right in a sentence: one swap for mirrored training images, for controls and for mirrored maps.

In: an English sentence. Out: the sentence that is true of the mirrored image, or None where a change of words would not
make one. The text is changed before it is tokenized.
"""

from __future__ import annotations

import re
from functools import lru_cache

# What is exchanged. Compounds keep their ending: left-sided, leftward, levoscoliosis.
PAIRS = (
    ("left", "right"),
    ("LUL", "RUL"),
    ("LLL", "RLL"),
    ("levoscoliosis", "dextroscoliosis"),
    ("levoconvex", "dextroconvex"),
)
_OTHER = {a: b for one, two in PAIRS for a, b in ((one, two), (two, one))}
_LEFT = {left.lower() for left, _ in PAIRS}
_SIDE = re.compile(
    r"\b(?:(?:left|right|levoscoliosis|dextroscoliosis|levoconvex|dextroconvex)(?=(?:wards?|most)?\b)"
    r"|(?-i:LUL|RUL|LLL|RLL)\b)",
    re.IGNORECASE,
)
# Sentences that the exchange of words would make false, or that it would miss.
_UNSAFE = re.compile(
    "|".join(
        (
            # Structures of one side only; what is named by function and not by its place in the image.
            r"\blingula|\bmiddle lobe|(?-i:\bRML\b)|\bminor fissure|\bhorizontal fissure|\bazygos",
            r"\b(?:left|right)(?:[- ]sided)?\s+(?:\w+\s+)?(?:ventric|atri|heart\b(?! border)|coronary|bundle)",
            r"\b(?:bi)?ventric\w*.*\b(?:left|right)\b|\bshunt|\bdextro(?:cardia|posit)|\blevocardia|\bsitus\b",
            # The direction of a view is not a side of the image.
            r"\b(?:left|right)\s+(?:\w+\s+)?(?:lateral\s+(?:view|projection|decubitus|radiograph|film|image)|decubitus"
            r"|(?:anterior|posterior)\s+oblique)|\band (?:left|right) lateral\b|(?-i:\b[LR][AP]O\b)",
            # Other meanings of the words.
            r"\bleft (?:in place|in situ|the|without|against|before|after|behind|alone|untreated|over)\b",
            r"\b(?:patient|he|she|been|being) left\b|\b(?:all|quite) right\b",
            r"\bright (?:now|away|after|before|above|below|behind|at the|angle)",
            # Abbreviations of one letter may be a side, a vertebra or a name.
            r"(?-i:\b[LR]\b)|(?-i:\b(?:Lt|Rt|lt|rt)\b)",
            # German, Dutch, French, Spanish, Portuguese, Italian sides.
            r"\b(?:links|rechts)|\blinke[rnms]?\b|\brechte[rnms]?\b|\bgauches?\b|\bdroite?s?\b|\bizquierd[ao]s?\b"
            r"|\bderech[ao]s?\b|\besquerd[ao]s?\b|\bdireit[ao]s?\b|\bsinistr[ao]\b|\bdestr[ao]\b",
        )
    ),
    re.IGNORECASE,
)


@lru_cache(maxsize=65536)  # reports repeat their sentences
def swap(sentence: str) -> str | None:
    """The sentence with its sides exchanged, letter case unchanged; unchanged where it names none.

    None where that sentence need not be true of the mirrored image: structures that only one side has, heart chambers,
    directions of views, other meanings of the words, abbreviations of one letter, sides in other languages.
    """
    return None if _UNSAFE.search(sentence) else _SIDE.sub(_other_side, sentence)


def names_side(sentence: str) -> bool:
    """Whether the sentence names a side that `swap` exchanges."""
    return swap(sentence) not in (None, sentence)


def names_one_side(sentence: str) -> bool:
    """Whether all sides that `swap` exchanges are the same one, so that the swapped sentence says something else."""
    return swap(sentence) is not None and len({side[0].lower() in _LEFT for side in _SIDE.finditer(sentence)}) == 1


def _other_side(match: re.Match[str]) -> str:
    side = match[0]
    if side in _OTHER:
        return _OTHER[side]
    other = _OTHER[side.lower()]
    return other.upper() if side.isupper() else other.capitalize()
