"""Makers of DICOM files with compressed pixel data, and frames that no encoder of the test environment writes."""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path

import gdcm
import numpy as np
import pydicom
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGLSLossless, JPEGLSNearLossless

from tests.sharding.conftest import dicom_bytes

# 8 x 12 pixels each, by encoders of other projects (libjpeg-turbo, OpenJPH). All but EXTENDED_12 hold `pattern(bits)`.
LOSSLESS_12 = base64.b64decode(  # predictor 1
    "/9j/4AAQSkZJRgABAQAAAQABAAD/wwALDAAIAAwBAREA/8QAGgABAAMBAQEAAAAAAAAAAAAABwMGCAUEDP/aAAgBAQABAAD5/wDkkkkkkkkkkk"
    "9nY7HY7HY7HY7HY7HYslstlstlstlstlstlsviAgICAgICAgICAgKioqKioqKioqKioqNjQ0NDQ0NDQ0NDQ0aEfHx8fHx8fHx8fHzTmkNIaQ0h"
    "pDSGkNIaQ0hpD//Z"
)
LOSSLESS_16 = base64.b64decode(  # predictor 4
    "/9j/4AAQSkZJRgABAQAAAQABAAD/wwALEAAIAAwBAREA/8QAGgABAQADAQEAAAAAAAAAAAAACQcKCwwIEP/aAAgBAQAEAAD6gUCgUCgUCgUCgU"
    "CgewFAUBQFAUBQFAUBQFAUDJAUBQFAUBQFAUBQFAUBQM8BQFAUBQFAUBQFAUBQFA2oCgKAoCgKAoCgKAoCgKBuwFAUBQFAUBQFAUBQFAUDoQFA"
    "UBQFAUBQFAUBQFAUDpwFAUBQFAUBQFAUBQFAUD//2Q=="
)
HTJ2K_12 = base64.b64decode(  # reversible
    "/0//UQApQAAAAAAMAAAACAAAAAAAAAAAAAAADAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJ"
    "CQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAJYAAf+TwAAmi/0FB3QAAMAAEoBQAgd0AMAAEsAAE8AAEoD7AMd0AApi"
    "ggDCNADzAAd0AMAAE0AAFdAABKAQVIGLdABfZHyh+Qua/gBiA362AMiBD3QAwAAqoAAW9AACUIZlCvDYCRwiVgB3793d3d1d2FwYXrB+wcQFOx"
    "eg/QQCEAEo+GoxugDm8ABUAP/Z"
)
EXTENDED_12 = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUVDA8XGB"
    "YUGBIUFRT/wQALDAAIAAwBAREA/8QAFQABAQAAAAAAAAAAAAAAAAAACgv/xAAiEAAABAYCAwAAAAAAAAAAAAABAgQFAAMGBwgRCRIKUcL/2gAI"
    "AQEAAD8AdnzReDXZnBKyzzVDJRzeinpUx5oGlpylEBAN+omHcnOULlibmBV1tmtSdMjbOvSWQ2gDZzh8x//Z"
)
EXTENDED_12_FIRST_ROW = [2002, 1998, 2000, 2000, 1999, 2002, 2001, 1999, 2004, 1998, 2002, 1996]  # by libjpeg-turbo


UID_JPEG_LS = (JPEGLSLossless, JPEGLSNearLossless)


def pattern(bits: int) -> np.ndarray:
    row_HW, column_HW = np.mgrid[:8, :12]
    values_HW = (3 * row_HW**2 + 5 * row_HW * column_HW + column_HW) * 2**bits // 2**10 % 2**bits
    return values_HW.astype(np.uint16 if bits > 8 else np.uint8)


def with_frame(stored: np.ndarray, frame: bytes, syntax: UID, **elements) -> bytes:
    """The file whose header describes `stored` and whose pixel data is the frame."""
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(stored, **elements)))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    dataset["PixelData"].is_undefined_length = True
    return saved(dataset)


def by_pydicom(stored: np.ndarray, syntax: UID, **elements) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(stored, **elements)))
    dataset.compress(syntax, encoding_plugin="pyjpegls" if syntax in UID_JPEG_LS else "pylibjpeg")
    return saved(dataset)


def by_gdcm(stored: np.ndarray, syntax: str, **elements) -> bytes:
    """`syntax` in gdcm's words, as "JPEGLosslessProcess14_1"."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "image.dcm")
        Path(path).write_bytes(dicom_bytes(stored, **elements))
        reader = gdcm.ImageReader()
        reader.SetFileName(path)
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(path)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return Path(path).read_bytes()


def frame_of(data: bytes) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(data))
    return pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)


def saved(dataset: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
