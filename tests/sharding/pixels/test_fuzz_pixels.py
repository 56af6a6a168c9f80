"""Damaged files end as a picture or a plausible refusal: no other error, no print, no death, no flood of memory.

Each set runs in a process of its own with bounded memory. For a longer run by hand:
`python -m tests.sharding.pixels.mutations`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid

from sharding import pixels
from sharding.contract import Rejected
from tests.sharding.conftest import dicom_bytes
from tests.sharding.pixels.coded import EXTENDED_12, HTJ2K_12, LOSSLESS_12, by_gdcm, by_pydicom, pattern, with_frame
from tests.sharding.pixels.mutations import REASONS, outcome

ROOT = Path(__file__).resolve().parents[3]
TWELVE = {"BitsStored": 12, "HighBit": 11}


def outcomes(tmp_path: Path, kind: str, count: int, files: list[Path]) -> dict[str, int]:
    notes = tmp_path / "notes"
    command = [
        sys.executable,
        "-m",
        "tests.sharding.pixels.mutations",
        str(notes),
        kind,
        "0",
        str(count),
        *map(str, files),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stderr) == (0, ""), f"at {notes.read_text()}"
    found = json.loads(done.stdout)
    assert sum(found.values()) == count * len(files)
    return found


def made(tmp_path: Path) -> list[Path]:
    values_HW = np.random.default_rng(0).integers(0, 4096, (40, 34)).astype(np.uint16)
    contents = {
        "native": dicom_bytes(values_HW, **TWELVE, WindowCenter=2000, WindowWidth=3000, PixelSpacing=[1, 2]),
        "rle": by_pydicom(values_HW, uid.RLELossless, **TWELVE),
        "jpegls": by_pydicom(values_HW, uid.JPEGLSLossless, **TWELVE),
        "j2k": by_pydicom(values_HW, uid.JPEG2000Lossless, **TWELVE),
        "jpeg": by_gdcm(values_HW, "JPEGLosslessProcess14_1", **TWELVE),
        "jpeg-small": with_frame(pattern(12), LOSSLESS_12, uid.JPEGLosslessSV1, **TWELVE),
        "extended": with_frame(pattern(12), EXTENDED_12, uid.JPEGExtended12Bit, **TWELVE),
        "htj2k": with_frame(pattern(12), HTJ2K_12, uid.HTJ2KLossless, **TWELVE),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return [tmp_path / name for name in contents]


@pytest.mark.parametrize("kind", ["bytes", "frame"])
def test_damaged_dicom_files_of_every_coding(tmp_path, kind):
    found = outcomes(tmp_path, kind, 60, made(tmp_path))
    assert found["picture"] > 10
    assert found["decode"] > 10


def test_damaged_rasters(tmp_path):
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50)).astype(np.uint8))
    files = {"a.png": {}, "b.jpg": {}, "c.jpg": {"progressive": True}, "d.png": {"transparency": 7}}
    for name, options in files.items():
        grey.save(tmp_path / name, **options)
    grey.convert("RGBA").save(tmp_path / "e.png")
    grey.convert("CMYK").save(tmp_path / "f.jpg")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 200).save(tmp_path / "g.png")
    found = outcomes(tmp_path, "bytes", 80, sorted(tmp_path.glob("?.*")))
    assert found["picture"] > 10
    assert found["decode"] > 10


@pytest.mark.realdata
@pytest.mark.parametrize("kind", ["bytes", "frame"])
def test_damaged_real_dicom_files(tmp_path, kind, realdata):
    files = sorted(path for path in (realdata / "dicom").glob("[!m]*/*") if path.stat().st_size < 300_000)
    found = outcomes(tmp_path, kind, 12, files)
    assert found["decode"] > 10


@pytest.mark.realdata
def test_damaged_real_rasters(tmp_path, realdata):
    files = sorted(path for path in (realdata / "cxr_notes" / "images").iterdir() if path.stat().st_size < 60_000)
    assert outcomes(tmp_path, "bytes", 20, files[:20])["decode"] > 10


NUMBERS = st.one_of(st.integers(0, 40), st.sampled_from([255, 256, 4095, 32767, 32768, 65535]))
DECIMALS = st.sampled_from(["0", "1", "-1", "1e30", "-1e-30", "3.3", "nan", "x", "", "1\\2"])
ELEMENTS = {
    "Rows": NUMBERS,
    "Columns": NUMBERS,
    "BitsAllocated": NUMBERS,
    "BitsStored": NUMBERS,
    "HighBit": NUMBERS,
    "PixelRepresentation": st.integers(0, 2),
    "SamplesPerPixel": st.integers(0, 4),
    "PlanarConfiguration": st.integers(0, 2),
    "PhotometricInterpretation": st.sampled_from(["MONOCHROME1", "RGB", "PALETTE COLOR", "YBR_FULL_422", "X", ""]),
    "NumberOfFrames": st.sampled_from(["0", "1", "2", "-1", "999999999999", "x", ""]),
    "WindowCenter": DECIMALS,
    "WindowWidth": DECIMALS,
    "VOILUTFunction": st.sampled_from(["SIGMOID", "LINEAR_EXACT", "X"]),
    "RescaleSlope": DECIMALS,
    "RescaleIntercept": DECIMALS,
    "PixelPaddingValue": NUMBERS,
    "PixelPaddingRangeLimit": NUMBERS,
    "PixelSpacing": st.sampled_from(["1\\2", "0\\0", "1\\1000", "-1\\1", "1", "x\\y", "5000\\1"]),
    "PixelAspectRatio": st.sampled_from(["1\\2", "2\\1", "1\\0", "1"]),
    "PresentationLUTShape": st.sampled_from(["INVERSE", "IDENTITY", "X"]),
}


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@given(st.fixed_dictionaries({}, optional=ELEMENTS), st.sampled_from(["u1", "u2", "i2"]))
def test_headers_of_any_values(elements, dtype):
    try:
        data = dicom_bytes(np.arange(64).reshape(8, 8).astype(dtype), **elements)
    except (ValueError, TypeError, OSError):
        return  # pydicom does not write it
    assert outcome(data) in {"picture", *(reason.value for reason in REASONS)}


@given(st.binary(max_size=300), st.sampled_from([b"", bytes(128) + b"DICM", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"]))
def test_any_bytes_are_refused(tail, head):
    with pytest.raises(Rejected):
        pixels.read(head + tail)
