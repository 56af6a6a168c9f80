"""A description and an image hold what their row holds, and nothing else."""

from __future__ import annotations

import copy
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from pydicom import dcmread

from sharding import pixels
from sharding.contract import Sentence, SentenceTuple
from sharding.deid import deidentified_dicom
from sharding.pixels.picture import Geometry
from sharding.verify import verify_sample
from sharding.verify.verify_sample import description_faults, image_faults
from tests.sharding.leaks.pictures import cloudy

SENTENCES = (Sentence("No edema.", "findings", 3, 12, ("negated",)), Sentence("Nodule.", "impression", 20, 27))
SAMPLE = SentenceTuple(
    *("0" * 24, b"", "jpg", SENTENCES, "PA", "1" * 16, "2" * 16, "train"),
    Geometry.identity(40, 30).as_dict(),
    {"codec": "PNG"},
)
ROW = {
    **{"key": SAMPLE.key, "image_member": "jpg", "width": 30, "height": 40, "view": "PA", "study": "1" * 16},
    **{"patient": "2" * 16, "split": "train", "sentence_count": 2, "text_hashes": [s.hash for s in SENTENCES]},
}
CONTENT = json.loads(json.dumps(SAMPLE.as_json()))


def faults_of(content, row=ROW):
    return description_faults(json.dumps(content).encode(), row)


def test_what_a_build_writes_is_valid():
    assert faults_of(CONTENT) == []


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("view",), "AP", "disagree about view"),
        (("patient",), "3" * 16, "disagree about patient"),
        (("split",), "test", "disagree about split"),
        (("name",), "Jane Doe", "other fields"),
        (("format_version",), "0", "other fields"),
        (("geometry", "height"), 41, "disagree about the size"),
        (("geometry", "institution"), "St. Elsewhere", "other nested fields"),
        (("sentences", 0, "author"), "Dr. Smith", "other nested fields"),
        (("sentences", 0, "text"), "Edema.", "hash is wrong"),
        (("sentences", 0, "text"), " ", "without text"),
        (("sentences", 0, "text"), 7, "cannot be read"),
        (("sentences", 0, "text"), "\ud800", "hash is wrong"),
        (("sentences", 0, "start"), 12, "without text, offsets"),
        (("sentences", 0, "start"), -1, "without text, offsets"),
        (("sentences", 0, "start"), True, "without text, offsets"),
        (("sentences", 0, "end"), None, "without text, offsets"),
        (("sentences", 0, "tags"), "negated", "without text, offsets or tags"),
        (("sentences", 0, "tags"), [1], "without text, offsets or tags"),
        (("sentences",), [], "disagree about the sentences"),
        (("sentences",), None, "cannot be read"),
        (("pixels", "codec"), {"deep": 1}, "pixel provenance"),
        (("pixels",), [], "cannot be read"),
    ],
)
def test_what_it_does_not_write_is_a_fault(path, value, expected):
    content = copy.deepcopy(CONTENT)
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    faults = faults_of(content)
    assert any(expected in fault for fault in faults), faults
    assert not any(str(value) in fault for fault in faults if isinstance(value, str) and len(value) > 4)


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"\xff", b"{", b"[" * 100_000, b"1e999", b"NaN"])
def test_what_is_no_description_cannot_be_read(data):
    assert len(description_faults(data, ROW)) == 1


def test_a_huge_description_is_not_read(monkeypatch):
    monkeypatch.setattr(verify_sample, "MAX_JSON", 10)
    assert description_faults(json.dumps(CONTENT).encode(), ROW) == ["is larger than 0 MB"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*CONTENT, "text"]), inner, max_size=4),
)


@given(st.sampled_from(sorted(set(CONTENT) - {"pixels"})), JSON)
def test_any_other_value_in_any_place_is_a_fault(name, value):
    assert faults_of(CONTENT | {name: value})


@given(JSON)
def test_pixel_provenance_is_text_only(value):
    valid = isinstance(value, dict) and all(isinstance(word, str) for word in value.values())
    assert bool(faults_of(CONTENT | {"pixels": value})) != valid


def encoded(kind, grey_HW=None, mode="L", **options):
    buffer = io.BytesIO()
    Image.fromarray(cloudy(1, 40, 30) if grey_HW is None else grey_HW).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def test_an_image_of_its_row_is_valid():
    assert image_faults(encoded("JPEG"), ROW) == []
    assert image_faults(encoded("PNG"), ROW | {"image_member": "png"}) == []


def with_text():
    info = PngImagePlugin.PngInfo()
    info.add_text("Patient", "Jane Doe")
    return encoded("PNG", pnginfo=info)


def with_exif():
    exif = Image.Exif()
    exif[0x9286] = "Jane Doe"
    return encoded("JPEG", exif=exif)


@pytest.mark.parametrize(
    ("data", "member", "expected"),
    [
        (encoded("PNG"), "jpg", "PNG, unlike its name"),
        (encoded("JPEG"), "png", "JPEG, unlike its name"),
        (encoded("JPEG"), "dcm", "JPEG, unlike its name"),
        (encoded("JPEG", np.zeros((40, 31), np.uint8)), "jpg", "31 x 40 pixels, 30 x 40 in its row"),
        (encoded("JPEG", mode="RGB"), "jpg", "not 8-bit grey"),
        (encoded("JPEG", comment=b"Jane Doe"), "jpg", "more than pixels"),
        (with_exif(), "jpg", "more than pixels"),
        (with_text(), "png", "more than pixels"),
        (b"", "jpg", "no readable image"),
        (b"<html>", "jpg", "no readable image"),
        (b"\xff\xd8\xff" + b"x" * 99, "jpg", "no readable image"),
    ],
)
def test_another_image_is_a_fault(data, member, expected):
    faults = image_faults(data, ROW | {"image_member": member})
    assert any(expected in fault for fault in faults), faults
    assert not any("Jane" in fault for fault in faults)


@pytest.fixture
def released(dicom_bytes):
    """KEY.dcm as a build writes it."""
    dataset = pixels.open_image(dicom_bytes(np.zeros((40, 30), np.uint16))).dataset
    return deidentified_dicom.dicom(dataset, key="0" * 24, study="1" * 16, patient=ROW["patient"], salt=b"s")


DCM = ROW | {"image_member": "dcm"}


def test_a_released_dicom_file_is_valid(released):
    assert image_faults(released, DCM) == []
    assert image_faults(released, DCM | {"height": 50}) == []  # one side enlarged: pixels that are not square
    assert image_faults(released, ROW) == ["is DICOM, unlike its name"]


@pytest.mark.parametrize("size", [{"width": 29}, {"height": 39}, {"width": 31, "height": 41}])
def test_a_dicom_file_of_another_size_is_a_fault(released, size):
    assert image_faults(released, DCM | size) == ["has another size than its row"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PatientName", "Doe^Jane"),
        ("InstitutionName", "St. Elsewhere"),
        ("StudyDate", "20200101"),
        ("ImageComments", "Jane"),
        ("PatientID", "MRN-12345"),
        ("PatientIdentityRemoved", "NO"),
    ],
)
def test_a_dicom_header_with_more_elements_is_a_fault(released, name, value):
    dataset = dcmread(io.BytesIO(released))
    setattr(dataset, name, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    faults = image_faults(buffer.getvalue(), DCM)
    assert len(faults) == 1
    assert value not in faults[0]


def test_a_private_element_is_a_fault(released):
    dataset = dcmread(io.BytesIO(released))
    dataset.private_block(0x0011, "ACME", create=True).add_new(0x01, "LO", "Jane Doe")
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    assert len(image_faults(buffer.getvalue(), DCM)) == 1
