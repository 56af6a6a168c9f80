"""The reports of one image → the sentences that describe it, masked and tagged.

In: a `SourceImage`, its DICOM header, the languages to take. Out: sentences, whose offsets count in all reports joined
by JOINT, and counts for the audit. Most images have one report; a table may have a preliminary one, the final one and
addenda: a preliminary one beside another that says something does not count, and what a later one repeats is not
repeated.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import replace

from pydicom import Dataset

from sharding.build.inputs import input_file
from sharding.contract import Reason, Rejected, Sentence
from sharding.deid import header_identifiers
from sharding.deid.reports import masking
from sharding.deid.reports.identifiers import Identifiers, identifiers_of
from sharding.sources import REPORT, SourceImage
from sharding.text import examinations, language, sections, sentences, table_rows
from sharding.text.readable import readable

JOINT = "\n\n"  # between the reports of one image
# Counts of reports, by the names that the audit and the account have for them.
PRELIMINARY = "preliminary report beside another, left out"
OTHER_LANGUAGE = "report in another language beside one that is taken, left out"
CUT, WHOLE = (
    "report of several examinations, the part of the chest X-ray taken",
    "report of several examinations that cannot be told apart, taken whole",
)
TABLE = "report with a table of numbers, its rows left out"
NOTES = (PRELIMINARY, OTHER_LANGUAGE, CUT, WHOLE, TABLE)


def of_image(
    image: SourceImage, dataset: Dataset | None, languages: tuple[str, ...] | None, audit: Counter[str]
) -> list[Sentence]:
    """The sentences; raises Rejected(TEXT) for a report that cannot be read, Rejected(LANGUAGE) for none to take."""
    texts, known = _texts(image), _known(image, dataset)
    spoken = [text for text in texts if text.strip()]
    final = [text for text in spoken if not sections.is_preliminary(text)]
    if len(final) < len(spoken):
        counts = Counter({PRELIMINARY: len(spoken) - len(final)})
        with contextlib.suppress(Rejected):  # final reports of a language that is not taken say nothing either
            if final and (found := _united(final, known, languages, image.layout, counts)):
                audit.update(counts)
                return found
    return _united(spoken or texts[:1], known, languages, image.layout, audit)


def _united(
    texts: list[str], known: Identifiers, languages: tuple[str, ...] | None, layout: str, audit: Counter[str]
) -> list[Sentence]:
    """The sentences of several reports, each once."""
    taken = _of_languages(texts, languages, audit)
    found: list[Sentence] = []
    seen: set[str] = set()
    start = 0
    for text, spoken in taken:
        own = _of_text(text, known, layout, audit)
        if spoken != language.ENGLISH:  # the rules of tags are English
            own = [replace(sentence, tags=()) for sentence in own]
        new = [sentence for sentence in own if sentence.hash not in seen] if seen else own
        found += [replace(one, start=one.start + start, end=one.end + start) for one in new] if start else new
        if len(taken) > 1:
            seen.update(sentence.hash for sentence in own)
        start += len(text) + len(JOINT)
    return found


def _texts(image: SourceImage) -> list[str]:
    text = image.text if image.text is not None or not image.text_file else input_file.report_text(image.text_file)
    return [readable(part) for part in (text or "", *image.more_texts)]


def _of_languages(texts: list[str], languages: tuple[str, ...] | None, audit: Counter[str]) -> list[tuple[str, str]]:
    """The texts to take, each with its language."""
    spoken = [(text, language.of(text)) for text in texts]
    kept = [(text, own) for text, own in spoken if languages is None or own in languages or not text.strip()]
    if not kept:
        raise Rejected(Reason.LANGUAGE, f"the report's language is {spoken[0][1]}; --languages takes it")
    audit.update([OTHER_LANGUAGE] * (len(texts) - len(kept)))
    return kept


def _known(image: SourceImage, dataset: Dataset | None) -> Identifiers:
    study = image.study.removeprefix(f"{image.patient}/")  # a table's study is one of its patient (`folder`)
    known = identifiers_of(ids=[image.patient, study], files=[image.id, image.file])
    return known | header_identifiers.identifiers(dataset) if dataset else known


def _of_text(report: str, known: Identifiers, layout: str, audit: Counter[str]) -> list[Sentence]:
    text, counts = masking.mask(report, known)
    audit.update(counts)
    text = _of_chest(text, audit)
    rows = table_rows.spans(text)
    audit.update([TABLE] if rows else [])
    outside = table_rows.blanked(text, rows)  # a row is no header of a section ("LVEF: 55%")
    parts = sections.official(outside) if layout == REPORT else sections.plain(outside)
    found = _split(text, parts)
    # A final report that says nothing ("N/A") leaves the preliminary one in the same text.
    return found if found or layout == REPORT else _split(text, sections.preliminary(outside))


def _split(text: str, parts: list[sections.Section]) -> list[Sentence]:
    return [sentence for part in parts for sentence in sentences.split(text, part.name, part.start, part.end)]


def _of_chest(text: str, audit: Counter[str]) -> str:
    several = examinations.several(text)
    if several is None:
        return text
    audit.update([CUT if several else WHOLE])
    return table_rows.blanked(text, several)
