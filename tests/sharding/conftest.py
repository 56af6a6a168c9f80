"""Fixtures: small DICOM files and sources."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from sharding.build import pool, run
from sharding.build.account import Account
from sharding.deid.private_folder import PrivateFolder, open_private
from sharding.sources import SourceListing, mimic_cxr
from sharding.sources import folder as folder_source
from sharding.sources.files.inventory import Inventory
from sharding.sources.folder import FolderTable

TABLE = FolderTable("table.csv", "image", "text", "patient", "view")


def build_with(
    listing: SourceListing,
    settings: run.BuildSettings,
    out: object,
    private: PrivateFolder,
    processes: int = 1,
    **options,
) -> Account:
    """A build by this many worker processes."""
    plan = run.Build(settings, str(out), private, lambda config: pool.Processes(config, processes), **options)
    return run.build(listing, plan)


@pytest.fixture
def build():
    return build_with


@pytest.fixture
def read_folder():
    """The images of the `folder` fixture, or of any folder with `columns` None."""
    return lambda root, columns=TABLE: folder_source.read(Inventory.of(str(root)), columns)


@pytest.fixture
def read_mimic():
    return lambda root: mimic_cxr.read(Inventory.of(str(root)))


def dicom_bytes(stored_HW=None, **elements) -> bytes:
    """A CR file of the stored values, explicit VR little endian; an element given as None is left out."""
    stored_HW = np.arange(64, dtype=np.uint16).reshape(8, 8) * 16 if stored_HW is None else stored_HW
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["test"])
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PhotometricInterpretation = "CR", "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored_HW.shape[:2]
    dataset.SamplesPerPixel = 1 if stored_HW.ndim == 2 else stored_HW.shape[2]
    dataset.BitsAllocated = dataset.BitsStored = stored_HW.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored_HW.dtype.kind == "i")
    dataset.PixelData = stored_HW.tobytes() + b"\0" * (stored_HW.nbytes % 2)
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def png_bytes(grey_HW=None, mode: str | None = None) -> bytes:
    grey_HW = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5 if grey_HW is None else grey_HW
    image = Image.fromarray(grey_HW)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(name="dicom_bytes")
def dicom_bytes_fixture():
    return dicom_bytes


@pytest.fixture(name="png_bytes")
def png_bytes_fixture():
    return png_bytes


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder source: 6 PNG images of 3 patients, a broken one, and a table."""
    root = tmp_path / "xrays"
    (root / "images").mkdir(parents=True)
    rows = ["image,text,patient,view"]
    for number in range(6):
        grey_HW = np.full((10 + number, 12), 20 * number, np.uint8)
        (root / "images" / f"john-doe-{number}.png").write_bytes(png_bytes(grey_HW))
        rows.append(
            f'john-doe-{number}.png,"Heart size is normal. Nodule of 1.5 cm in {number} places.",doe{number % 3},PA'
        )
    (root / "images" / "broken.png").write_bytes(b"<html>")
    rows.append("broken.png,Edema.,doe9,AP")
    (root / "table.csv").write_text("\n".join(rows) + "\n")
    return root


def write_gz(path: Path, text: str) -> None:
    with gzip.open(path, "wt") as file:
        file.write(text)


REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough  // pneumonia?

 FINDINGS:

 There is a 1.5 cm nodule in the left
 upper lobe.  No pleural effusion.

 IMPRESSION:

 1.  Nodule.
 2.  Unchanged cardiomegaly.
"""


@pytest.fixture
def mimic(tmp_path) -> Path:
    """A MIMIC-CXR tree: three subjects, four images, one of them lateral."""
    root = tmp_path / "mimic"
    images = [("10000032", "50414267", "aa-1", "PA"), ("10000032", "50414267", "aa-2", "LATERAL")]
    images += [("10000764", "57375967", "bb-1", "AP"), ("10000898", "50771383", "cc-1", "AP")]
    record, metadata, split = (
        ["subject_id,study_id,dicom_id,path"],
        ["dicom_id,subject_id,study_id,ViewPosition"],
        ["dicom_id,study_id,subject_id,split"],
    )
    for number, (subject, study, image, view) in enumerate(images):
        path = f"files/p{subject[:2]}/p{subject}/s{study}/{image}.dcm"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        stored_HW = np.random.default_rng(number).integers(0, 4096, (16, 20), dtype=np.uint16)
        (root / path).write_bytes(dicom_bytes(stored_HW, BitsStored=12, HighBit=11))
        (root / path).parent.with_suffix(".txt").write_text(REPORT)
        record.append(f"{subject},{study},{image},{path}")
        metadata.append(f"{image},{subject},{study},{view}")
        split.append(f"{image},{study},{subject},{'validate' if subject == '10000898' else 'train'}")
    write_gz(root / "cxr-record-list.csv.gz", "\n".join(record) + "\n")
    write_gz(root / "mimic-cxr-2.0.0-metadata.csv.gz", "\n".join(metadata) + "\n")
    write_gz(root / "mimic-cxr-2.0.0-split.csv.gz", "\n".join(split) + "\n")
    return root


@pytest.fixture
def private(tmp_path) -> PrivateFolder:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "salt").write_bytes(b"s" * 32)
    return open_private(tmp_path / "private", str(tmp_path / "in"), str(tmp_path / "out"))
