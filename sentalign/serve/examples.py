"""The gallery: synthetic X-rays with known lesions, for whoever has no file at hand.

In: nothing. Out: DICOM files, thumbnails, and sentences that are true of them. They are drawn by sentalign.phantom.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

from PIL import Image

from sentalign.phantom.dicom import encode
from sentalign.phantom.study import Settings, Study, generate, stream
from sharding import pixels
from sharding.pixels import shrink

MOST, SIDE, THUMBNAIL = 6, 512, 160  # pictures; pixels of their long side and of that of a thumbnail
# A drawing of its own: no training or test of the documentation has it.
DRAWN = Settings(studies=40, seed=20_260, size=SIDE, withheld=None, test=40, validate=0)
_NOISE = 99  # the stream of random numbers that codes the files


@dataclass(frozen=True)
class Example:
    """A DICOM file, a small PNG of it, and the sentences."""

    data: bytes
    thumbnail: bytes
    sentences: tuple[str, ...]


@cache
def examples() -> tuple[Example, ...]:
    """Pictures whose first lesions are of different kinds; drawn once, in about a second."""
    found: dict[str, Example] = {}
    for number in range(DRAWN.studies):
        study = generate(number, DRAWN)
        if study.cases and study.cases[0].kind not in found:
            found[study.cases[0].kind] = _example(study)
        if len(found) == MOST:
            break
    return tuple(found.values())


def _example(study: Study) -> Example:
    number = study.planned.number
    data = encode(stream(DRAWN.seed, _NOISE, number), study, f"{number:016x}").data
    small = io.BytesIO()
    Image.fromarray(shrink(pixels.read(data), THUMBNAIL).grey_HW).save(small, "PNG")
    return Example(data, small.getvalue(), tuple(f"{case.phrase[0].upper()}{case.phrase[1:]}." for case in study.cases))
