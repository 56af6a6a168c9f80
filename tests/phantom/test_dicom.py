"""DICOM files: every coding shows the same picture; variety is there; the header carries the planted identity."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from sentalign.phantom.dicom import Encoded, encode
from sentalign.phantom.study import Settings, Study, generate, stream

SETTINGS = Settings(studies=80, seed=2, size=64, withheld=None, test=10, validate=5)
ID = "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014"


@pytest.fixture(scope="module")
def files() -> list[tuple[Study, Encoded, pydicom.FileDataset]]:
    encoded_studies = []
    for number in range(SETTINGS.studies):
        study = generate(number, SETTINGS)
        encoded = encode(stream(1, number), study, ID)
        encoded_studies.append((study, encoded, pydicom.dcmread(io.BytesIO(encoded.data))))
    return encoded_studies


def shown(dataset: pydicom.FileDataset) -> NDArray[np.float64]:
    """Display values in the order of PS3.3: modality, window, then polarity; 0 to 1."""
    grey = apply_modality_lut(dataset.pixel_array, dataset)
    low, high = 0.0, float((1 << dataset.BitsStored) - 1)
    if "RescaleSlope" in dataset:
        low, high = (float(dataset.RescaleIntercept + value * dataset.RescaleSlope) for value in (low, high))
    if "WindowCenter" in dataset:
        grey = apply_voi_lut(grey, dataset)
    grey = (np.asarray(grey, float) - low) / (high - low)
    return 1 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def test_every_coding_shows_the_picture(files: list[tuple[Study, Encoded, pydicom.FileDataset]]) -> None:
    for study, _, dataset in files:
        np.testing.assert_allclose(shown(dataset), study.image_HW / 4095, atol=0.004)


def test_the_archive_varies(files: list[tuple[Study, Encoded, pydicom.FileDataset]]) -> None:
    datasets = [dataset for _, _, dataset in files]
    assert len(Counter(str(dataset.file_meta.TransferSyntaxUID) for dataset in datasets)) == 3
    assert {dataset.BitsStored for dataset in datasets} == {10, 12, 14}
    assert {dataset.PhotometricInterpretation for dataset in datasets} == {"MONOCHROME1", "MONOCHROME2"}
    assert {dataset.ViewPosition for dataset in datasets} == {"AP", "PA"}
    for name in ("RescaleSlope", "WindowCenter"):
        assert 10 < sum(name in dataset for dataset in datasets) < 70


def test_identity_is_planted(files: list[tuple[Study, Encoded, pydicom.FileDataset]]) -> None:
    for study, encoded, dataset in files:
        assert str(dataset.PatientName).startswith("Phantom^N")
        assert dataset.PatientID == str(study.planned.subject_id)
        assert dataset.StudyDate == encoded.date
        assert dataset.InstitutionName
        assert len(dataset.SOPInstanceUID) <= 64
        assert dataset.PixelSpacing[0] * max(dataset.Rows, dataset.Columns) == pytest.approx(300, rel=0.01)


def test_headers_are_valid(files: list[tuple[Study, Encoded, pydicom.FileDataset]]) -> None:
    with pydicom.config.disable_value_validation():
        pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
    try:
        for _, encoded, _ in files[:20]:
            for element in pydicom.dcmread(io.BytesIO(encoded.data)):
                assert element.value is not None
    finally:
        pydicom.config.settings.reading_validation_mode = pydicom.config.WARN
