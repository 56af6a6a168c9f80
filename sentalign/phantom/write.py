"""Writing of phantom studies as an archive in the MIMIC-CXR layout, with MS-CXR ground truth.

Comes in: `Settings` and an empty folder.
Goes out: DICOM files, reports, the four tables of MIMIC-CXR 2.x, the MS-CXR 1.1.0 files of the test split (and, under
another name, of the validation split), phantom.json. Not here: drawing (study), encoding (dicom).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sentalign.phantom import wording
from sentalign.phantom.dicom import encode
from sentalign.phantom.lesions import KINDS
from sentalign.phantom.study import SPLITS, Place, Settings, generate, stream
from sharding.contract import UserError

MS_CXR = "MS_CXR_Local_Alignment_v1.1.0"
MS_CXR_VALIDATE = "MS_CXR_validate"
_FILES = 3
METADATA_COLUMNS = (
    "dicom_id",
    "subject_id",
    "study_id",
    "PerformedProcedureStepDescription",
    "ViewPosition",
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)
MS_CXR_COLUMNS = (
    "category_name",
    "dicom_id",
    "subject_id",
    "study_id",
    "path",
    "label_text",
    "x",
    "y",
    "w",
    "h",
    "image_width",
    "image_height",
    "split",
)


@dataclass(frozen=True)
class TrueCase:
    """One (image, phrase) pair and its boxes."""

    kind: str
    phrase: str
    wording: str
    withheld_wording: bool
    boxes_xywh: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True)
class Written:
    """What the tables need to know of one written study."""

    place: Place
    dicom_id: str
    rows: int
    columns: int
    view: str
    date: str
    time: str
    kinds: tuple[str, ...]
    cases: tuple[TrueCase, ...]


def study_folder(place: Place) -> str:
    """The study's path below the archive, as in MIMIC-CXR."""
    return f"files/p{str(place.subject_id)[:2]}/p{place.subject_id}/s{place.study_id}"


def write_study(number: int, settings: Settings, out: Path) -> Written:
    """Draw and write study `number`: one DICOM file and one report."""
    study = generate(number, settings)
    rng = stream(settings.seed, _FILES, number)
    dicom_id = "-".join(f"{int(word):08x}" for word in rng.integers(0, 1 << 32, 5))
    encoded = encode(rng, study, dicom_id)
    folder = out / study_folder(study.place)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{dicom_id}.dcm").write_bytes(encoded.data)
    folder.with_name(folder.name + ".txt").write_text(study.report, encoding="utf-8")
    rows, columns = study.image_HW.shape
    cases = tuple(
        TrueCase(c.kind, c.phrase, c.wording, c.withheld_wording, tuple(lesion.box_xywh for lesion in c.lesions))
        for c in study.cases
    )
    kinds = tuple(lesion.kind for lesion in study.lesions)
    return Written(study.place, dicom_id, rows, columns, encoded.view, encoded.date, encoded.time, kinds, cases)


def _write_block(numbers: Sequence[int], settings: Settings, out: Path) -> list[Written]:
    return [write_study(number, settings, out) for number in numbers]


def write_archive(
    settings: Settings, out: Path, processes: int = 1, advance: Callable[[int], None] = lambda count: None
) -> dict[str, Any]:
    """Write all studies of `settings` below `out`; returns the content of phantom.json.

    The bytes do not depend on `processes`. `advance` is told the number of studies after every block.
    Raises UserError when `out` is a file, or a folder that is not empty, or cannot be made.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not an empty folder; name a new one, or empty it")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as refusal:
        raise UserError(f"{out} cannot be made ({refusal.strerror}); choose another folder") from refusal
    blocks = [range(start, min(start + 25, settings.studies)) for start in range(0, settings.studies, 25)]
    written: list[Written] = []
    pool = ProcessPoolExecutor(processes) if processes > 1 else None
    with pool or nullcontext():
        mapped = pool.map if pool else map
        for block in mapped(_write_block, blocks, [settings] * len(blocks), [out] * len(blocks)):
            written.extend(block)
            advance(len(block))
    _write_tables(written, out)
    _write_truth(written, "test", out / MS_CXR)
    _write_truth(written, "validate", out / MS_CXR_VALIDATE)
    account = _account(written, settings)
    (out / "phantom.json").write_text(json.dumps(account, indent=2) + "\n", encoding="utf-8")
    return account


def _csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.write_bytes(gzip.compress(_csv_text(header, rows).encode(), mtime=0))


def _write_tables(written: Sequence[Written], out: Path) -> None:
    """The tables of MIMIC-CXR 2.x."""
    records, studies, splits, metadata = [], [], [], []
    for w in written:
        p, folder = w.place, study_folder(w.place)
        records.append((p.subject_id, p.study_id, w.dicom_id, f"{folder}/{w.dicom_id}.dcm"))
        studies.append((p.subject_id, p.study_id, f"{folder}.txt"))
        splits.append((w.dicom_id, p.study_id, p.subject_id, p.split))
        step = "CHEST (PORTABLE AP)" if w.view == "AP" else "CHEST (PA AND LAT)"
        beam = "antero-posterior" if w.view == "AP" else "postero-anterior"
        procedure = (step, w.view, w.rows, w.columns, w.date, f"{w.time}.000", step, beam, "Erect")
        metadata.append((w.dicom_id, p.subject_id, p.study_id, *procedure))
    _write_table(out / "cxr-record-list.csv.gz", ("subject_id", "study_id", "dicom_id", "path"), sorted(records))
    _write_table(out / "cxr-study-list.csv.gz", ("subject_id", "study_id", "path"), sorted(studies))
    _write_table(out / "mimic-cxr-2.0.0-split.csv.gz", ("dicom_id", "study_id", "subject_id", "split"), sorted(splits))
    _write_table(out / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA_COLUMNS, sorted(metadata))


def _write_truth(written: Sequence[Written], split: str, stem: Path) -> None:
    """MS-CXR 1.1.0: COCO-like JSON and CSV, one annotation and one row for every box."""
    categories = [{"id": index, "name": wording.CATEGORY_NAMES[kind]} for index, kind in enumerate(KINDS, 1)]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    rows: list[tuple[object, ...]] = []
    for w in (w for w in written if w.place.split == split and w.cases):
        path = f"{study_folder(w.place)}/{w.dicom_id}.jpg"
        size = {"width": w.columns, "height": w.rows}
        images.append({"id": len(images) + 1, "file_name": f"{w.dicom_id}.jpg", "path": path, **size})
        for case, box in ((c, box) for c in w.cases for box in c.boxes_xywh):
            place = {"id": len(annotations) + 1, "image_id": len(images), "category_id": KINDS.index(case.kind) + 1}
            annotations.append({**place, "bbox": list(box), "label_text": case.phrase, **size})
            ids = (wording.CATEGORY_NAMES[case.kind], w.dicom_id, w.place.subject_id, w.place.study_id, path)
            rows.append((*ids, case.phrase, *box, w.columns, w.rows, split))
    info = {"description": "Synthetic phantoms in the format of MS-CXR", "version": "1.1.0"}
    truth = {"info": info, "licenses": [], "images": images, "categories": categories, "annotations": annotations}
    stem.with_name(stem.name + ".json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    stem.with_name(stem.name + ".csv").write_text(_csv_text(MS_CXR_COLUMNS, rows), encoding="utf-8")


def _account(written: Sequence[Written], settings: Settings) -> dict[str, Any]:
    """What was made: settings, what was withheld, counts, sizes of the boxes."""
    shares = [box[2] * box[3] / (w.rows * w.columns) for w in written for case in w.cases for box in case.boxes_xywh]
    kinds_per_study = Counter(len(set(w.kinds)) for w in written)
    withheld = {
        wording.CATEGORY_NAMES[kind]: sorted(text for _, text in wording.WITHHELD_WORDINGS[kind]) for kind in KINDS
    }
    statistics = (float(np.min(shares)), float(np.median(shares)), float(np.max(shares))) if shares else (0.0,) * 3
    return {
        "settings": asdict(settings),
        "withheld_kind": settings.withheld,
        "withheld_category": wording.CATEGORY_NAMES[settings.withheld] if settings.withheld else None,
        "withheld_wordings": withheld,
        "withheld_phrases": sorted(
            {c.phrase for w in written if w.place.split == "test" for c in w.cases if c.withheld_wording}
        ),
        "studies": {split: sum(w.place.split == split for w in written) for split in SPLITS},
        "patients": {split: len({w.place.patient for w in written if w.place.split == split}) for split in SPLITS},
        "cases": {
            split: {
                kind: sum(c.kind == kind for w in written if w.place.split == split for c in w.cases) for kind in KINDS
            }
            for split in SPLITS
        },
        "kinds_per_study": {str(count): kinds_per_study[count] for count in sorted(kinds_per_study)},
        "box_share": dict(zip(("min", "median", "max"), (round(value, 5) for value in statistics), strict=True)),
    }
