"""The images of a study are in one split, also where no patient is known; where headers forbid it, it is said."""

from __future__ import annotations

import numpy as np
import pytest

from sharding import manifest
from sharding.build import finish, run
from sharding.build.sentence_tuple import SampleSettings
from sharding.sources.folder import FolderTable


@pytest.mark.parametrize("kind", ["table", "header"])
def test_a_study_of_nobody_known_is_in_one_split(kind, private, tmp_path, build, read_folder, png_bytes, dicom_bytes):
    root = tmp_path / "in"
    root.mkdir()
    rows = ["image,text,study"]
    for number in range(24):
        grey_HW = np.random.default_rng(number).integers(0, 255, (16, 16), np.uint8)
        study = number // 2
        if kind == "table":
            (root / f"{number}.png").write_bytes(png_bytes(grey_HW))
            rows.append(f"{number}.png,{'' if number % 2 else f'Nodule of {study} mm.'},{study}")
        else:
            content = dicom_bytes(grey_HW.astype(np.uint16), StudyInstanceUID=f"1.2.{study}")
            (root / f"{number}.dcm").write_bytes(content)
    if kind == "table":
        (root / "t.csv").write_text("\n".join(rows) + "\n")
    columns = FolderTable("t.csv", "image", "text", study="study") if kind == "table" else None
    settings = run.BuildSettings("folder", SampleSettings(allow_no_text=True, split_share=(0.4, 0.3, 0.3)))
    build(read_folder(root, columns), settings, tmp_path / "out", private, 1)
    table = manifest.read(str(tmp_path / "out")).table
    studies: dict[str, set[tuple[str, str]]] = {}
    for row in table.to_pylist():
        studies.setdefault(row["study"], set()).add((row["patient"], row["split"]))
    assert (table.num_rows, len(studies)) == (24, 12)
    assert all(len(both) == 1 for both in studies.values())
    assert len({patient for both in studies.values() for patient, _ in both}) == 12


def test_a_study_in_two_splits_is_noted(private, tmp_path, build, read_folder, dicom_bytes):
    """Some images of it name a patient, others do not, or another: nobody can tell before they are read."""
    (tmp_path / "in").mkdir()
    for number in range(24):
        grey_HW = np.random.default_rng(number).integers(0, 255, (16, 16), np.uint16)
        names = {"StudyInstanceUID": f"1.2.{number // 2}", "PatientID": "" if number % 2 else f"doe{number}"}
        (tmp_path / "in" / f"{number}.dcm").write_bytes(dicom_bytes(grey_HW, **names))
    settings = run.BuildSettings("folder", SampleSettings(allow_no_text=True, split_share=(0.4, 0.3, 0.3)))
    account = build(read_folder(tmp_path / "in", None), settings, tmp_path / "out", private, 1)
    splits: dict[str, set[str]] = {}
    for row in manifest.read(str(tmp_path / "out")).table.to_pylist():
        splits.setdefault(row["study"], set()).add(row["split"])
    expected = sum(len(own) > 1 for own in splits.values())
    assert expected > 2
    assert account.notes == {finish.TWO_SPLITS: expected}


def test_images_of_one_study_and_nobody_are_noted(private, tmp_path, build, read_folder, dicom_bytes):
    (tmp_path / "in").mkdir()
    for number in range(10):
        grey_HW = np.random.default_rng(number).integers(0, 255, (16, 16), np.uint16)
        (tmp_path / "in" / f"{number}.dcm").write_bytes(dicom_bytes(grey_HW, StudyInstanceUID="1.2"))
    settings = run.BuildSettings("folder", SampleSettings(allow_no_text=True))
    account = build(read_folder(tmp_path / "in", None), settings, tmp_path / "out", private, 1)
    assert account.notes == {finish.ONE_PATIENT: 10}
