"""A report of several examinations → the parts that are not of the chest X-ray.

In: one text. Out: the spans to pass over, headings included, where headings tell the examinations apart. A heading is a
line of words of the vocabulary below ("CT ABDOMEN AND PELVIS", "Chest radiograph:") with the name of a method or a
view. Where a cut could lose findings of the chest, nothing is cut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sharding.text import sections
from sharding.text.headers import IMAGE_SECTIONS


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OTHER_METHODS = _words(
    """
    CT CTA HRCT MR MRI MRA MRCP US ULTRASOUND ULTRASONOGRAPHY SONOGRAM SONOGRAPHY DOPPLER DUPLEX ECHOCARDIOGRAM
    ECHOCARDIOGRAPHY PET SPECT SCINTIGRAPHY MAMMOGRAM MAMMOGRAPHY TOMOSYNTHESIS FLUOROSCOPY ESOPHAGRAM BARIUM
    ANGIOGRAM ANGIOGRAPHY VENOGRAM TOMOGRAPHY CYSTOGRAM
    """
)
XRAY = _words("RADIOGRAPH RADIOGRAPHS RADIOGRAPHY XRAY XRAYS FILM FILMS XR CR DX CXR ROENTGENOGRAM")
VIEWS = _words("VIEW VIEWS PA AP LATERAL FRONTAL PORTABLE UPRIGHT SUPINE ERECT DECUBITUS OBLIQUE LORDOTIC SEMIUPRIGHT")
CHEST = _words("CHEST THORAX CXR")
OTHER_BODY = _words(
    """
    ABDOMEN ABDOMINAL PELVIS PELVIC KUB HEAD BRAIN NECK SPINE CERVICAL LUMBAR LUMBOSACRAL SACRUM COCCYX SKULL ORBITS
    SINUS SINUSES FACE FACIAL MANDIBLE HIP HIPS FEMUR KNEE KNEES TIBIA FIBULA ANKLE ANKLES FOOT FEET TOE TOES LEG LEGS
    SHOULDER SHOULDERS CLAVICLE HUMERUS ELBOW FOREARM WRIST WRISTS HAND HANDS FINGER FINGERS ARM EXTREMITY EXTREMITIES
    BREAST BREASTS RENAL KIDNEY KIDNEYS LIVER BILIARY GALLBLADDER THYROID CAROTID SCROTUM UTERUS BLADDER HEART CARDIAC
    BONE
    """
)
FILLERS = _words(
    """
    OF THE AND WITH WITHOUT CONTRAST IV ORAL INTRAVENOUS ONE TWO THREE FOUR SINGLE LEFT RIGHT BILATERAL LIMITED COMPLETE
    STAT BEDSIDE FOR IN ON A AN IMAGING EXAM EXAMINATION STUDY SCAN REPORT SERIES HIGH RESOLUTION NON NONCONTRAST UP
    FOLLOW FOLLOWUP W WO UPPER LOWER RIBS RIB COMPUTED MAGNETIC RESONANCE PLAIN X RAY RAYS DATED LOW DOSE ANGIO PER
    PROTOCOL AT
    """
)
VOCABULARY = OTHER_METHODS | XRAY | VIEWS | CHEST | OTHER_BODY | FILLERS
LABEL = r"(?:EXAMINATION|EXAM|STUDY|PROCEDURE|TYPE OF EXAM(?:INATION)?)[ \t]*:[ \t]*"
HEADING = re.compile(
    rf"^[ \t]*(?:\(?\d{{1,2}}[.)][ \t]*)?({LABEL})?([A-Za-z][A-Za-z0-9 \t,/&()+_.-]{{1,90}}?)[ \t]*(:(?!\d)|\r?$)",
    re.M | re.I,
)
INLINE = re.compile(r"(?<=[.!?;][ \t])()([A-Z][A-Z ,/&()-]{2,60})(:)(?!\d)")
WORD = re.compile(r"[A-Z]+")
IMPRESSIONS = ("impression", "findings and impression")
CONTENT = re.compile(r"(?:[^\W\d_]+\W+){2}[^\W\d_]+")
LOOK_BACK = 80  # characters before a heading that show whether something ends there
STATEMENT_ENDS = tuple(".!?;:)_*=-")
MOST_HEADINGS = 40  # of one report
# Sections that name other examinations without being of them.
NAMING = frozenset(("comparison", "indication", "history", "technique", "recommendation", "notification"))


@dataclass(frozen=True)
class ExaminationHeading:
    """A heading; `opens` if its words are also a header of the section of findings (`sections`)."""

    start: int
    end: int
    of_chest: bool
    opens: bool


@dataclass(frozen=True)
class ExaminationPart:
    """From one heading to the next, with the names of the sections in it."""

    heading: ExaminationHeading
    end: int
    sections: frozenset[str]


def several(text: str) -> list[tuple[int, int]] | None:
    """The spans that are not of the chest X-ray: none if they cannot be told apart, None for one examination."""
    headings = _headings(text)
    if len({heading.of_chest for heading in headings}) < 2:
        return None
    ends = [heading.start for heading in headings[1:]] + [len(text)]
    told = (CONTENT.search(text, one.end, stop) for one, stop in zip(headings, ends, strict=True))
    if len(headings) > MOST_HEADINGS or not all(told):
        return []
    found = sections.sections(text)
    parts = [
        ExaminationPart(heading, stop, frozenset(s.name for s in found if heading.start <= s.start < stop))
        for heading, stop in zip(headings, ends, strict=True)
    ]
    others = _others(text, parts, found)
    titles = [(one.start, one.end) for one in headings if one.of_chest and not one.opens]
    return sorted([*others, *titles]) if others else []


def _others(text: str, parts: list[ExaminationPart], found: list[sections.Section]) -> list[tuple[int, int]]:
    chest = frozenset[str]().union(*(part.sections for part in parts if part.heading.of_chest))
    others = [part for part in parts if not part.heading.of_chest]
    images = frozenset(IMAGE_SECTIONS)
    if any(part.sections & images for part in parts):
        if not chest & images or not all(part.sections & images for part in others):
            return []
    elif not all(_starts_anew(text, part.heading.start) for part in parts):
        return []
    spans = [(part.heading.start, _end(part, found)) for part in others]
    shared = next((s for s in reversed(found) if s.name == "impression"), None)
    last = others[-1].heading
    if shared and "findings" in chest and not chest & set(IMPRESSIONS) and last.start < shared.start:
        # The last impression may be that of all.
        spans[-1] = (last.start, min(spans[-1][1], max(last.end, _header_start(shared, found))))
    bodies = ((part.heading.end, end) for part, (_, end) in zip(others, spans, strict=True))
    return [] if any(_names_chest(text, *body, found) for body in bodies) else spans


def _end(part: ExaminationPart, found: list[sections.Section]) -> int:
    """Where the part ends: a second impression, and an addendum, may be of the chest."""
    impressions = 0
    for section in found:
        if not part.heading.start <= section.start < part.end:
            continue
        impressions += section.name in IMPRESSIONS
        if section.name == "addendum" or impressions > 1:
            return max(part.heading.end, _header_start(section, found))
    return part.end


def _header_start(section: sections.Section, found: list[sections.Section]) -> int:
    """The end of the section before: what lies between is the header, and white space."""
    place = found.index(section)
    return found[place - 1].end if place else 0


def _names_chest(text: str, start: int, end: int, found: list[sections.Section]) -> bool:
    """Whether the span names a chest X-ray, or the chest, other than as an earlier or wanted examination."""
    kept, last = [], start
    for section in found:
        if section.name in NAMING and last <= section.start < end:
            kept.append(text[last : section.start])
            last = section.end
    return bool(_tokens(" ".join((*kept, text[last:end]))) & (CHEST | XRAY))


def _tokens(words: str) -> set[str]:
    return set(WORD.findall(words.upper().replace("X-RAY", "XRAY").replace("X RAY", "XRAY")))


def _headings(text: str) -> list[ExaminationHeading]:
    """The headings of examinations, in order."""
    found: dict[int, ExaminationHeading] = {}
    names: list[sections.Section] | None = None
    for match in [*HEADING.finditer(text), *INLINE.finditer(text)]:
        label, words, colon = match.groups()
        title = bool(label) or words.isupper()
        kind = _of_chest(words, bool(label), title) if title or colon == ":" else None
        if kind is None or not (title or _starts_anew(text, match.start())):
            continue
        names = sections.sections(text) if names is None else names
        if label or not _is_in_a_list(text, match.start(), names):
            opens = colon == ":" and words.isupper()
            found.setdefault(match.start(), ExaminationHeading(match.start(), match.end(), kind, opens))
    return [found[start] for start in sorted(found)]


def _of_chest(words: str, label: bool, title: bool) -> bool | None:
    """Whether the words are the name of a chest X-ray or of another examination; None if of none or of both."""
    tokens = _tokens(words)
    if not tokens or not tokens <= VOCABULARY:
        return None
    if tokens & OTHER_METHODS:
        return None if tokens & XRAY else False
    if not label and not tokens & (XRAY | VIEWS if title else XRAY):
        return None
    return True if tokens & CHEST else False if tokens & OTHER_BODY else None


def _starts_anew(text: str, start: int) -> bool:
    """Whether a statement or a paragraph ends before `start`."""
    before = text[max(0, start - LOOK_BACK) : start]
    words = before.rstrip()
    return not words or words.endswith(STATEMENT_ENDS) or before.count("\n", len(words)) > 1


def _is_in_a_list(text: str, start: int, found: list[sections.Section]) -> bool:
    """Whether the line names an earlier film or a method, below a header that says so."""
    before = next((section for section in reversed(found) if section.start <= start), None)
    if before is None or before.name not in NAMING:
        return False
    return not re.search(r"\n[ \t\r]*\n", text[before.start : start])
