"""Identities planted wherever a hospital's files may hold them: none comes out of a build, by whatever door."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from PIL import Image, PngImagePlugin

NAME = "Quetzalcoatl^Xochitl^Itzel"
# What must appear nowhere, in any case; each is planted below.
PLANTED = (
    *("quetzalcoatl", "xochitl", "itzel", "zq-88412", "8841299", "acc771", "huitzil", "mictlan general", "19530417"),
    *("1953", "04/17", "april 17", "555-0142", "tlaloc", "ward-9-secret", "popoca"),
)


def dicom(dicom_bytes, **elements) -> bytes:
    """A radiograph whose header says who it is, in public, private and nested elements."""
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(np.arange(4096, dtype=np.uint16).reshape(64, 64), **elements)))
    dataset.PatientName, dataset.PatientID, dataset.AccessionNumber = NAME, "ZQ-88412", "ACC771"
    dataset.PatientBirthDate = dataset.StudyDate = "19530417"
    dataset.InstitutionName, dataset.ReferringPhysicianName = "Mictlan General", "Huitzil^Tlaloc"
    dataset.StudyInstanceUID, dataset.StationName = "1.2.840.8841299", "WARD-9-SECRET"
    dataset.ImageComments = "Xochitl, born April 17, 1953"
    block = dataset.private_block(0x0099, "POPOCA 1", create=True)
    block.add_new(0x01, "LO", "Quetzalcoatl Xochitl 8841299")
    item = pydicom.Dataset()
    item.PatientID, item.PatientName = "ZQ-88412", NAME
    dataset.OtherPatientIDsSequence = pydicom.Sequence([item])
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return b"Quetzalcoatl".ljust(128) + buffer.getvalue()[128:]


def png(text: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text)
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


REPORT = (
    "Quetzalcoatl, Xochitl (MRN ZQ-88412, acc. ACC771) was seen on 04/17/1953 by Dr. Huitzil. Call 212-555-0142. "
    "The heart is enlarged in Itzel's film. Read at Mictlan General by Tlaloc Huitzil. No effusion on WARD-9-SECRET."
)


@pytest.fixture
def archive(tmp_path, dicom_bytes):
    """Good and bad files under names and folders that tell who they are of."""
    root = tmp_path / "Mictlan General" / "Xochitl Quetzalcoatl 8841299"
    root.mkdir(parents=True)
    files = {
        "Quetzalcoatl-1953.dcm": dicom(dicom_bytes),
        "ZQ-88412.dcm": dicom(dicom_bytes, BurnedInAnnotation="YES"),
        "Tlaloc.dcm": dicom(dicom_bytes, Modality="CT"),
        "Itzel.dcm": dicom(dicom_bytes, Rows=None),
        "Huitzil.dcm": dicom(dicom_bytes)[:-2000],
        "Xochitl.html": b"<html>Quetzalcoatl</html>",
        "ACC771.png": png("Xochitl Quetzalcoatl 8841299"),
    }
    rows = ["image,text,patient,view"]
    for name, data in files.items():
        (root / name).write_bytes(data)
        rows.append(f'{name},"{REPORT}",ZQ-88412,Quetzalcoatl')
    rows.append(f'missing-Xochitl.dcm,"{REPORT}",ZQ-88412,PA')
    (root / "table.csv").write_text("\n".join(rows) + "\n")
    return root


def test_nothing_planted_comes_out(archive, tmp_path):
    out, page = tmp_path / "out", tmp_path / "page.html"
    columns = [
        "--table",
        "table.csv",
        "--image-column",
        "image",
        "--text-column",
        "text",
        "--patient-column",
        "patient",
    ]
    printed = b""
    for arguments in (
        ["build", "folder", str(archive), "--out", str(out), *columns, "--max-failures", "1"],
        ["build", "folder", str(archive), "--out", str(out), *columns, "--json"],
        ["verify", str(out)],
        ["inspect", str(out), "--html", str(page)],
    ):
        done = subprocess.run([sys.executable, "-m", "sharding", *arguments], capture_output=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        printed += done.stdout + done.stderr
    content = printed + b"".join(path.read_bytes() for path in (*out.iterdir(), page))
    for name in ("manifest.parquet", "quarantine.parquet"):
        table = pq.read_table(out / name)
        content += str((table.to_pylist(), table.schema.metadata)).encode()
    leaked = [word for word in PLANTED if word.encode() in content.lower()]
    assert not leaked
    counts = json.loads(printed[printed.index(b"{") :].splitlines()[0])
    assert (counts["read"], counts["already"]) == (8, 2), "the build wrote what it could"


def test_the_private_folder_alone_knows_and_only_its_owner_may_read(archive, tmp_path):
    private = tmp_path / "private"
    command = [sys.executable, "-m", "sharding", "build", "folder", str(archive), "--out", str(tmp_path / "out")]
    subprocess.run(
        [*command, "--allow-no-text", "--private", str(private), "--max-failures", "1"], check=True, capture_output=True
    )
    assert private.stat().st_mode & 0o077 == 0
    assert (private / "salt").stat().st_mode & 0o077 == 0
    assert b"Quetzalcoatl-1953.dcm" in (private / "ledger.sqlite").read_bytes()
