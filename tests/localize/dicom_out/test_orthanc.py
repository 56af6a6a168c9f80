"""DICOM objects sent to a real Orthanc by C-STORE (dcmsend of dcmtk) and by STOW-RS, and read back."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pydicom
import pytest

from tests.localize.dicom_out.test_dicom_out import KINDS, SENTENCES, write_dicom
from tests.localize.test_cli import call
from tests.servers import free_port, running

ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ORTHANC and DICOMWEB.exists() and shutil.which("dcmsend")),
        reason="needs Orthanc and dcmtk (Debian: orthanc orthanc-dicomweb dcmtk)",
    ),
]


@pytest.fixture
def orthanc(tmp_path):
    """(URL, DICOM port) of an empty server on loopback."""
    http, dicom = free_port(), free_port()
    settings = {"StorageDirectory": str(tmp_path / "db"), "IndexDirectory": str(tmp_path / "db"), "HttpPort": http}
    settings |= {"DicomPort": dicom, "RemoteAccessAllowed": False, "DicomCheckCalledAet": False}
    settings |= {"Plugins": [str(DICOMWEB)], "AuthenticationEnabled": False}
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    with running([str(ORTHANC), str(tmp_path / "orthanc.json")], http) as url:
        yield url, dicom


@pytest.fixture
def objects(run_folder, tmp_path):
    file = write_dicom(tmp_path / "image.dcm")
    words = [word for kind in KINDS for word in ("--dicom", kind)]
    call(file, *SENTENCES, "--run", run_folder, "--out", tmp_path / "out", *words)
    return [file, *sorted((tmp_path / "out").glob("*.dcm"))]


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return bytes(answer.read())


def stow(url: str, files: list[Path]) -> None:
    parts = [b"--b\r\nContent-Type: application/dicom\r\n\r\n" + file.read_bytes() + b"\r\n" for file in files]
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
    urllib.request.urlopen(urllib.request.Request(url, b"".join(parts) + b"--b--", headers), timeout=20).close()


@pytest.mark.parametrize("way", ["C-STORE", "STOW-RS"])
def test_sent_and_read_back(orthanc, objects, way):
    url, port = orthanc
    if way == "C-STORE":
        subprocess.run(["dcmsend", "localhost", str(port), *objects], check=True)
    else:
        stow(f"{url}/dicom-web/studies", objects)
    expected = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, objects)}
    found = [
        pydicom.dcmread(io.BytesIO(read(f"{url}/instances/{key}/file"))) for key in json.loads(read(f"{url}/instances"))
    ]
    assert {one.SOPInstanceUID for one in found} == set(expected)
    for one in found:
        assert one == expected[one.SOPInstanceUID]
    assert len(json.loads(read(f"{url}/studies"))) == 1, "all are of the image's study"
    assert len(json.loads(read(f"{url}/series"))) == 5
