"""Phantom studies written as an archive in the MIMIC-CXR layout, with MS-CXR ground truth.

In: `Settings` and an empty folder. Out: DICOM files, reports, the four tables of MIMIC-CXR 2.x, the MS-CXR 1.1.0 files
of the test split (and, under another name, of the validation split), phantom.json. Studies are drawn in `study`.
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
from sentalign.phantom.reports import PhantomCase
from sentalign.phantom.study import SPLITS, PlannedStudy, Settings, generate, stream
from sharding.contract import UserError

MS_CXR = "MS_CXR_Local_Alignment_v1.1.0"
MS_CXR_VALIDATE = "MS_CXR_validate"
_FILES = 3
METADATA_COLUMNS = (
    "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns",
    "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)  # fmt: skip
MS_CXR_COLUMNS = (
    "category_name", "dicom_id", "subject_id", "study_id", "path", "label_text", "x", "y", "w", "h",
    "image_width", "image_height", "split",
)  # fmt: skip


@dataclass(frozen=True)
class WrittenStudy:
    """One written study, as far as the tables need it."""

    planned: PlannedStudy
    dicom_id: str
    rows: int
    columns: int
    view: str
    date: str
    time: str
    cases: tuple[PhantomCase, ...]


def study_folder(study: PlannedStudy) -> str:
    """The study's path below the archive, as in MIMIC-CXR."""
    return f"files/p{str(study.subject_id)[:2]}/p{study.subject_id}/s{study.study_id}"


def write_study(number: int, settings: Settings, out: Path) -> WrittenStudy:
    """Draw and write study `number`: one DICOM file and one report."""
    study = generate(number, settings)
    rng = stream(settings.seed, _FILES, number)
    dicom_id = "-".join(f"{int(word):08x}" for word in rng.integers(0, 1 << 32, 5))
    encoded = encode(rng, study, dicom_id)
    folder = out / study_folder(study.planned)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{dicom_id}.dcm").write_bytes(encoded.data)
    folder.with_name(folder.name + ".txt").write_text(study.report, encoding="utf-8")
    rows, columns = study.image_HW.shape
    return WrittenStudy(study.planned, dicom_id, rows, columns, encoded.view, encoded.date, encoded.time, study.cases)


def _write_block(numbers: Sequence[int], settings: Settings, out: Path) -> list[WrittenStudy]:
    return [write_study(number, settings, out) for number in numbers]


def write_archive(
    settings: Settings, out: Path, processes: int = 1, advance: Callable[[int], None] = lambda count: None
) -> dict[str, Any]:
    """Write all studies of `settings` below `out`; returns the content of phantom.json.

    The bytes do not depend on `processes`. `advance` gets the number of studies after every
    block. Raises UserError if `out` is a file, or a folder that is not empty, or cannot be created.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not an empty folder; give a new or empty folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create {out} ({error.strerror}); give another folder") from error
    blocks = [range(start, min(start + 25, settings.studies)) for start in range(0, settings.studies, 25)]
    written: list[WrittenStudy] = []
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


def _write_tables(written: Sequence[WrittenStudy], out: Path) -> None:
    """The tables of MIMIC-CXR 2.x."""
    records, studies, splits, metadata = [], [], [], []
    for w in written:
        p, folder = w.planned, study_folder(w.planned)
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


def _write_truth(written: Sequence[WrittenStudy], split: str, stem: Path) -> None:
    """MS-CXR 1.1.0: COCO-like JSON and CSV, one annotation and one row for every box."""
    categories = [{"id": index, "name": wording.CATEGORY_NAMES[kind]} for index, kind in enumerate(KINDS, 1)]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    rows: list[tuple[object, ...]] = []
    for w in (w for w in written if w.planned.split == split and w.cases):
        path = f"{study_folder(w.planned)}/{w.dicom_id}.jpg"
        size = {"width": w.columns, "height": w.rows}
        images.append({"id": len(images) + 1, "file_name": f"{w.dicom_id}.jpg", "path": path, **size})
        for case, box in ((c, box) for c in w.cases for box in c.boxes_xywh):
            head = {"id": len(annotations) + 1, "image_id": len(images), "category_id": KINDS.index(case.kind) + 1}
            annotations.append({**head, "bbox": list(box), "label_text": case.phrase, **size})
            ids = (wording.CATEGORY_NAMES[case.kind], w.dicom_id, w.planned.subject_id, w.planned.study_id, path)
            rows.append((*ids, case.phrase, *box, w.columns, w.rows, split))
    info = {"description": "Synthetic phantoms in the format of MS-CXR", "version": "1.1.0"}
    truth = {"info": info, "licenses": [], "images": images, "categories": categories, "annotations": annotations}
    stem.with_name(stem.name + ".json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    stem.with_name(stem.name + ".csv").write_text(_csv_text(MS_CXR_COLUMNS, rows), encoding="utf-8")


def _account(written: Sequence[WrittenStudy], settings: Settings) -> dict[str, Any]:
    """The account of the archive: settings, withheld words, counts, sizes of the boxes."""
    shares = [box[2] * box[3] / (w.rows * w.columns) for w in written for case in w.cases for box in case.boxes_xywh]
    kinds_per_study = Counter(len({case.kind for case in w.cases}) for w in written)
    kinds = Counter((w.planned.split, case.kind) for w in written for case in w.cases)
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
            {c.phrase for w in written if w.planned.split == "test" for c in w.cases if c.withheld_wording}
        ),
        "studies": {split: sum(w.planned.split == split for w in written) for split in SPLITS},
        "patients": {split: len({w.planned.patient for w in written if w.planned.split == split}) for split in SPLITS},
        "cases": {split: {kind: kinds[split, kind] for kind in KINDS} for split in SPLITS},
        "kinds_per_study": {str(count): kinds_per_study[count] for count in sorted(kinds_per_study)},
        "box_share": dict(zip(("min", "median", "max"), (round(value, 5) for value in statistics), strict=True)),
    }
