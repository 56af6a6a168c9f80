"""The archive: layout and tables of MIMIC-CXR, ground truth of MS-CXR, the same bytes for any number of processes."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from pathlib import Path

import pydicom
import pytest

from sentalign.phantom.study import Settings, generate
from sentalign.phantom.wording import CATEGORY_NAMES
from sentalign.phantom.write import METADATA_COLUMNS, MS_CXR, MS_CXR_COLUMNS, MS_CXR_VALIDATE, write_archive
from sharding.contract import UserError

SETTINGS = Settings(studies=60, seed=6, size=96, withheld="cavity", test=16, validate=6)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "archive"
    write_archive(SETTINGS, out)
    return out


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode())))


def fingerprint(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_tables_name_every_file(archive: Path) -> None:
    records, studies = rows(archive / "cxr-record-list.csv.gz"), rows(archive / "cxr-study-list.csv.gz")
    assert len(records) == len(studies) == SETTINGS.studies
    for record in records:
        subject, study, dicom_id = record["subject_id"], record["study_id"], record["dicom_id"]
        assert record["path"] == f"files/p{subject[:2]}/p{subject}/s{study}/{dicom_id}.dcm"
        assert (archive / record["path"]).is_file()
    for record in studies:
        assert record["path"].endswith(f"/s{record['study_id']}.txt")
        assert "FINAL REPORT" in (archive / record["path"]).read_text()


def test_metadata_agrees_with_the_files(archive: Path) -> None:
    paths = {record["dicom_id"]: archive / record["path"] for record in rows(archive / "cxr-record-list.csv.gz")}
    metadata = rows(archive / "mimic-cxr-2.0.0-metadata.csv.gz")
    assert tuple(metadata[0]) == METADATA_COLUMNS
    for record in metadata[:20]:
        dataset = pydicom.dcmread(paths[record["dicom_id"]], stop_before_pixels=True)
        assert (str(dataset.Rows), str(dataset.Columns)) == (record["Rows"], record["Columns"])
        assert dataset.ViewPosition == record["ViewPosition"]


def test_splits_keep_patients_together(archive: Path) -> None:
    splits: dict[str, set[str]] = {}
    for record in rows(archive / "mimic-cxr-2.0.0-split.csv.gz"):
        splits.setdefault(record["subject_id"], set()).add(record["split"])
    assert {split for patient_splits in splits.values() for split in patient_splits} == {"train", "validate", "test"}
    assert all(len(patient_splits) == 1 for patient_splits in splits.values())


@pytest.mark.parametrize(("stem", "split", "first"), [(MS_CXR, "test", 44), (MS_CXR_VALIDATE, "validate", 38)])
def test_truth_is_that_of_the_studies(archive: Path, stem: str, split: str, first: int) -> None:
    truth = json.loads((archive / f"{stem}.json").read_text())
    images = {image["id"]: image for image in truth["images"]}
    categories = {category["id"]: category["name"] for category in truth["categories"]}
    written = {
        (images[a["image_id"]]["path"].split("/")[3], a["label_text"], categories[a["category_id"]], *a["bbox"])
        for a in truth["annotations"]
    }
    count = SETTINGS.test if split == "test" else SETTINGS.validate
    expected = {
        (f"s{study.planned.study_id}", case.phrase, CATEGORY_NAMES[case.kind], *lesion.box_xywh)
        for study in (generate(number, SETTINGS) for number in range(first, first + count))
        for case in study.cases
        for lesion in case.lesions
    }
    assert written == expected
    assert len(truth["annotations"]) == len(expected)
    for image in images.values():
        dicom = archive / image["path"].replace(".jpg", ".dcm")
        dataset = pydicom.dcmread(dicom, stop_before_pixels=True)
        assert (dataset.Columns, dataset.Rows) == (image["width"], image["height"])


def test_the_csv_says_what_the_json_says(archive: Path) -> None:
    truth = json.loads((archive / f"{MS_CXR}.json").read_text())
    table = list(csv.DictReader(io.StringIO((archive / f"{MS_CXR}.csv").read_text())))
    assert tuple(table[0]) == MS_CXR_COLUMNS
    boxes = [[int(row[name]) for name in ("x", "y", "w", "h")] for row in table]
    assert boxes == [a["bbox"] for a in truth["annotations"]]
    assert [row["label_text"] for row in table] == [a["label_text"] for a in truth["annotations"]]
    assert {row["split"] for row in table} == {"test"}


def test_account(archive: Path) -> None:
    account = json.loads((archive / "phantom.json").read_text())
    assert account["withheld_kind"] == "cavity"
    assert account["studies"] == {"train": 38, "validate": 6, "test": 16}
    assert account["cases"]["train"]["cavity"] == 0
    assert 0.005 <= account["box_share"]["min"] <= account["box_share"]["median"] <= 0.04
    assert account["box_share"]["max"] <= 0.10
    assert sum(account["kinds_per_study"].values()) == 60
    assert set(account["withheld_phrases"]) <= {
        a["label_text"] for a in json.loads((archive / f"{MS_CXR}.json").read_text())["annotations"]
    }


def test_bytes_do_not_depend_on_the_number_of_processes(archive: Path, tmp_path: Path) -> None:
    advances: list[int] = []
    write_archive(SETTINGS, tmp_path / "again", processes=2, advance=advances.append)
    assert fingerprint(tmp_path / "again") == fingerprint(archive)
    assert sum(advances) == SETTINGS.studies


def test_an_occupied_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("keep me")
    with pytest.raises(UserError, match="not an empty folder"):
        write_archive(SETTINGS, tmp_path)
    with pytest.raises(UserError, match="not an empty folder"):
        write_archive(SETTINGS, tmp_path / "letter.txt")
    with pytest.raises(UserError, match="cannot create"):
        write_archive(SETTINGS, tmp_path / "letter.txt" / "below")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
