"""Report text of one study in the manner of MIMIC-CXR, and the phrases of its lesions in the manner of MS-CXR.

In: the lesions and devices of a picture, the kinds that may be named, a random generator. Out: the report (headers
after a newline and one space, lines wrapped at 79) and `PhantomCase`s. The word tables are in `wording`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sentalign.phantom import wording
from sentalign.phantom.lesions import Lesion

WIDTH = 79
CENTIMETRES_PER_UNIT = 30.0  # the long side of a nominal picture
WITHHELD_SHARE = 0.3


@dataclass(frozen=True)
class PhantomCase:
    """One phrase and the lesions that it names; the union of their boxes is the ground truth."""

    kind: str
    phrase: str
    wording: str
    withheld_wording: bool
    lesions: tuple[Lesion, ...]

    @property
    def boxes_xywh(self) -> list[tuple[int, int, int, int]]:
        return [lesion.box_xywh for lesion in self.lesions]


@dataclass(frozen=True)
class _NounPhrase:
    number: str  # as in wording
    phrase: str
    wording: str
    withheld: bool


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _noun_phrase(rng: np.random.Generator, lesions: tuple[Lesion, ...], unseen: bool) -> _NounPhrase:
    """A noun phrase for one lesion, or for one of each side."""
    first = lesions[0]
    if len(lesions) > 1:
        number, template = wording.BILATERAL_WORDINGS[first.kind]
        return _NounPhrase(number, template, template, False)
    withheld = unseen and rng.random() < WITHHELD_SHARE
    table = (wording.WITHHELD_WORDINGS if withheld else wording.SEEN_WORDINGS)[first.kind]
    number, template = table[int(rng.integers(len(table)))]
    size = f"{first.diameter * CENTIMETRES_PER_UNIT:.1f} cm" if rng.random() < 0.5 else ""
    filled = template.format(
        sev=_pick(rng, wording.SEVERITIES[first.kind]),
        size=size,
        side=first.side,
        place=_pick(rng, wording.PLACES[first.zone]).format(side=first.side),
        where=_pick(rng, wording.WHERES[first.zone]).format(side=first.side),
    )
    return _NounPhrase(number, " ".join(filled.split()), template, withheld)


def _sentence(rng: np.random.Generator, noun: _NounPhrase, frames: Sequence[str]) -> str:
    frame = _pick(rng, frames)
    article = ("an " if noun.phrase[0] in "aeiou" else "a ") if noun.number == "a" else ""
    phrase = noun.phrase if frame == "{Np}." else article + noun.phrase
    verb = "are" if noun.number == "p" else "is"
    return frame.format(**{"np": phrase, "Np": phrase[0].upper() + phrase[1:], "is": verb})


def group_lesions(rng: np.random.Generator, lesions: Sequence[Lesion]) -> list[tuple[Lesion, ...]]:
    """The lesions as a radiologist reports them: each alone, or both sides of a kind together (half of such pairs)."""
    groups: list[tuple[Lesion, ...]] = []
    for kind in dict.fromkeys(lesion.kind for lesion in lesions):
        same = tuple(lesion for lesion in lesions if lesion.kind == kind)
        together = len(same) > 1 and rng.random() < 0.5
        groups.extend([same] if together else [(lesion,) for lesion in same])
    return groups


def make_cases(rng: np.random.Generator, groups: Sequence[tuple[Lesion, ...]], unseen: bool) -> list[PhantomCase]:
    """A phrase for each group, drawn independently of the report; `unseen` allows the withheld wordings."""
    cases = []
    for group in groups:
        noun = _noun_phrase(rng, group, unseen)
        phrase = noun.phrase[0].upper() + noun.phrase[1:] if rng.random() < 0.5 else noun.phrase
        cases.append(PhantomCase(group[0].kind, phrase, noun.wording, noun.withheld, group))
    return cases


def _negations(rng: np.random.Generator, present: set[str], allowed: Sequence[str]) -> list[str]:
    """Sentences that negate some of the absent kinds, those that reports negate most often first."""
    absent = [kind for kind in ("pneumothorax", "effusion", "consolidation") if kind in allowed and kind not in present]
    rare = [
        kind for kind in ("atelectasis", "nodule", "cavity", "reticular") if kind in allowed and kind not in present
    ]
    if rare and rng.random() < 0.3:
        absent.append(_pick(rng, rare))
    sentences = []
    while absent and rng.random() < 0.85:
        template = _pick(rng, wording.NEGATIONS if len(absent) > 1 else wording.NEGATIONS[3:])
        names = [wording.NEGATED_NAMES[absent.pop(0)] for _ in range(1 + ("{b}" in template))]
        sentences.append(template.format(a=names[0], b=names[-1]))
    return sentences


def _findings(
    rng: np.random.Generator,
    positive: list[str],
    present: set[str],
    allowed: Sequence[str],
    devices: Sequence[str],
    follow_up: bool,
) -> list[str]:
    body = list(positive)
    if rng.random() < 0.8:
        body.append(_pick(rng, wording.HEART))
    if not positive:
        body.insert(0, _pick(rng, wording.CLEAR_LUNGS))
    elif rng.random() < 0.25:
        body.append(_pick(rng, wording.REMAINDER))
    body.extend(_negations(rng, present, allowed))
    if rng.random() < 0.35:
        body.append(_pick(rng, wording.BONES))
    body.extend(_pick(rng, wording.DEVICES[name]) for name in devices if rng.random() < 0.5)
    if rng.random() < 0.5:
        rng.shuffle(body)
    if follow_up and rng.random() < 0.6:
        body.insert(0, _pick(rng, wording.COMPARISONS))
    return body


def _impression(rng: np.random.Generator, repeated: list[str]) -> str:
    sentences = repeated or [_pick(rng, wording.NORMAL_IMPRESSIONS)]
    if len(sentences) > 1 and rng.random() < 0.5:
        sentences = [f"{number}. {sentence}" for number, sentence in enumerate(sentences, 1)]
    if repeated and rng.random() < 0.2:
        sentences = [*sentences, _pick(rng, wording.CLOSINGS)]
    return " ".join(sentences)


def write_report(
    rng: np.random.Generator,
    groups: Sequence[tuple[Lesion, ...]],
    devices: Sequence[str],
    allowed: Sequence[str],
    unseen: bool,
    follow_up: bool,
) -> str:
    """The report of a study, which names every group once in the findings (or, without that header, in the body)."""
    nouns = [_noun_phrase(rng, group, unseen) for group in groups]
    positive = [_sentence(rng, noun, wording.FRAMES) for noun in nouns]
    present = {group[0].kind for group in groups}
    body = " ".join(_findings(rng, positive, present, allowed, devices, follow_up))
    repeated = [_sentence(rng, noun, wording.IMPRESSION_FRAMES) for noun in nouns if rng.random() < 0.5]
    if nouns and not repeated:
        repeated = [_sentence(rng, nouns[0], wording.IMPRESSION_FRAMES)]
    layout = rng.random()
    sections = [("EXAMINATION", "CHEST (PORTABLE AP)"), ("INDICATION", _pick(rng, wording.INDICATIONS))]
    if rng.random() < 0.5:
        sections.append(("TECHNIQUE", _pick(rng, wording.TECHNIQUES)))
    sections.append(("COMPARISON", "___." if follow_up else "None."))
    impression = ("IMPRESSION", _impression(rng, repeated))
    if layout < 0.61:
        sections += [("FINDINGS", body), impression]
    elif layout < 0.66:
        sections.append(("FINDINGS", body))
    else:  # as in MIMIC-CXR: 34% lack FINDINGS, 18% lack IMPRESSION
        sections.append(("IMPRESSION" if layout < 0.87 else "", body))
    return _lay_out(rng, sections)


def _lay_out(rng: np.random.Generator, sections: Sequence[tuple[str, str]]) -> str:
    lines = [" " * 33 + "FINAL REPORT"]
    if rng.random() < 0.06:
        addendum = textwrap.fill(
            "ADDENDUM  " + _pick(rng, wording.ADDENDA), WIDTH, initial_indent=" ", subsequent_indent=" "
        )
        lines[:0] = [addendum, " " + "_" * 78]
    for header, text in sections:
        start = f"{header}:  {text}" if header else text
        lines += [textwrap.fill(start, WIDTH, initial_indent=" ", subsequent_indent=" "), " "]
    return "\n".join(lines).rstrip() + "\n"
