"""The rows of a table, several of which may name one image → one `SourceImage` per image.

In: `SourceImage` rows as a table lists them. Out: one per image, with all of its reports in the table's order, or none
where rows contradict each other; what was left out, and notes. A report that a study has for one image serves its
others.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from sharding.sources import SourceImage
from sharding.sources.tables.views import FRONTAL

TWO_PATIENTS = "image of two patients"
CONTRADICTION = "image whose rows contradict each other on study, view or colour model"
REPEATED = "row that repeats another"
SEVERAL_REPORTS = "image with several reports, taken together"
OF_STUDY = "image without a report of its own, takes that of its study"


def one_per_image(rows: list[SourceImage], left_out: Counter[str], notes: Counter[str]) -> list[SourceImage]:
    """The images in the order of their first rows."""
    groups: dict[tuple[str, str], list[SourceImage]] = {}
    for row in rows:
        groups.setdefault((row.file, "" if row.file else row.id), []).append(row)
    images = []
    for group in groups.values():
        contradiction = _contradiction(group)
        if contradiction:
            left_out[contradiction] += len(group)
            continue
        images.append(_united(group))
        left_out[REPEATED] += len(group) - max(1, len(_texts(group)))
        notes[SEVERAL_REPORTS] += bool(images[-1].more_texts)
    return _with_reports_of_studies(images, notes)


def _contradiction(group: list[SourceImage]) -> str:
    if len({row.patient for row in group} - {""}) > 1:
        return TWO_PATIENTS
    values = ({getattr(row, name) for row in group} - {""} for name in ("study", "photometric"))
    return CONTRADICTION if len(_views(group)) > 1 or any(len(own) > 1 for own in values) else ""


def _views(group: list[SourceImage]) -> set[str]:
    """The views of the rows; FRONTAL is AP or PA without saying which."""
    views = {row.view for row in group} - {""}
    return views - {"FRONTAL"} if views <= FRONTAL and len(views) > 1 else views


def _united(group: list[SourceImage]) -> SourceImage:
    """What any of the rows says; the id is that of the first."""
    texts = _texts(group)
    return replace(
        group[0],
        patient=_first(group, "patient"),
        study=_first(group, "study"),
        text=texts[0] if texts else "",
        more_texts=tuple(texts[1:]),
        view=next(iter(_views(group)), ""),
        split=_first(group, "split"),
        photometric=_first(group, "photometric"),
    )


def _first(group: list[SourceImage], name: str) -> str:
    return next((value for row in group if (value := getattr(row, name))), "")


def _texts(group: list[SourceImage]) -> list[str]:
    return list(dict.fromkeys(row.text for row in group if row.text))


def _with_reports_of_studies(images: list[SourceImage], notes: Counter[str]) -> list[SourceImage]:
    """Images without a report take the reports of their study, as exports that fill in only its first row mean."""
    of_study: dict[str, dict[str, None]] = {}
    for image in images:
        if image.study and image.text:
            of_study.setdefault(image.study, {}).update(dict.fromkeys((image.text, *image.more_texts)))
    filled = []
    for image in images:
        texts = tuple(of_study.get(image.study, ())) if not image.text else ()
        notes[OF_STUDY] += bool(texts)
        filled.append(replace(image, text=texts[0], more_texts=texts[1:]) if texts else image)
    return filled
