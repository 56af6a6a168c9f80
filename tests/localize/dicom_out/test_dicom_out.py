"""DICOM objects: what is in them, as pydicom and highdicom read it, and what the validator dciodvfy says of them."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_validator.validator.dicom_file_validator import DicomFileValidator
from PIL import Image
from pydicom import uid

from sentalign.localize.boxes import Localization
from sentalign.localize.dicom_out import source_header, write
from sentalign.localize.maps.heatmap import clean_map
from sharding.contract import UserError
from sharding.pixels import Geometry
from tests.localize.dicom_out import standard
from tests.localize.test_cli import call

SENTENCES = ["Right pleural effusion", "Größe des Herzens, und eine lange Beschreibung davon, mehr als 64 Zeichen lang"]
KINDS = ("seg", "seg-fractional", "sc", "sr")
ROWS, COLUMNS = 120, 90


def write_dicom(file: Path, **attributes: object) -> Path:
    """A DX image of noise; an attribute that is None is left out."""
    image = pydicom.Dataset()
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = uid.generate_uid(), uid.generate_uid()
    image.PatientName, image.PatientID, image.Modality = "Mustermann^Erika", "4711", "DX"
    image.StudyDate, image.StudyTime, image.PatientOrientation = "20200102", "101500", ["L", "F"]
    image.Rows, image.Columns, image.SamplesPerPixel = ROWS, COLUMNS, 1
    image.PhotometricInterpretation, image.PixelRepresentation = "MONOCHROME1", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.WindowCenter, image.WindowWidth = 2048, 4096
    image.PixelData = np.random.default_rng(0).integers(0, 4096, (ROWS, COLUMNS)).astype(np.uint16).tobytes()
    for name, value in attributes.items():
        if value is None:
            delattr(image, name)
        else:
            setattr(image, name, value)
    image.save_as(file, enforce_file_format=True)
    return file


@pytest.fixture(scope="module")
def made(tmp_path_factory, run_folder) -> Path:
    folder = tmp_path_factory.mktemp("dicom")
    file = write_dicom(folder / "image.dcm")
    content = file.read_bytes()
    words = [word for kind in KINDS for word in ("--dicom", kind)]
    call(file, *SENTENCES, "--run", run_folder, "--out", folder / "out", *words)
    assert file.read_bytes() == content
    return folder


def test_the_files(made):
    names = sorted(file.name for file in (made / "out").glob("*.dcm"))
    overlays = [f"overlay-0{n}.dcm" for n in (1, 2, 3)]  # one a sentence, and one with both
    assert names == sorted([*overlays, "report.dcm", "segmentation-fractional.dcm", "segmentation.dcm"])


def test_all_belong_to_the_study_and_are_new(made):
    source, uids = pydicom.dcmread(made / "image.dcm"), set()
    for file in (made / "out").glob("*.dcm"):
        one = pydicom.dcmread(file)
        for name in ("StudyInstanceUID", "PatientID", "PatientName", "StudyDate"):
            assert one[name].value == source[name].value
        assert one.SeriesInstanceUID != source.SeriesInstanceUID
        assert one.SeriesDescription.startswith("Research")
        uids.add(one.SOPInstanceUID)
    assert len(uids) == 6
    assert source.SOPInstanceUID not in uids


@pytest.mark.parametrize("name", ["segmentation", "segmentation-fractional"])
def test_segments_are_the_maps(made, name):
    segmentation = highdicom.seg.segread(made / "out" / f"{name}.dcm")
    source = pydicom.dcmread(made / "image.dcm")
    assert list(segmentation.segment_numbers) == [1, 2]
    assert "Research output" in segmentation.ContentDescription
    frames = segmentation.get_pixels_by_source_instance([source.SOPInstanceUID])[0]
    for number, sentence in enumerate(SENTENCES, 1):
        described = segmentation.get_segment_description(number)
        assert (described.SegmentLabel, described.SegmentDescription) == (
            sentence.encode()[:64].decode(errors="ignore"),
            sentence,
        )
        stored = np.load(made / "out" / f"0{number}-map.npz", allow_pickle=False)
        map_hw = clean_map(stored["grid"], Geometry.from_dict(json.loads(str(stored["geometry"]))))
        scaled_hw = (map_hw - map_hw.min()) / (map_hw.max() - map_hw.min())
        if name == "segmentation":
            expected = scaled_hw >= 0.5
            assert (frames[:, :, number - 1] != expected).mean() < 1e-3, "the grid was rounded to float32"
        else:
            assert frames[:, :, number - 1] == pytest.approx(scaled_hw, abs=0.51 / 255)


def test_the_source_is_referenced_without_a_frame_of_reference(made):
    segmentation, source = pydicom.dcmread(made / "out" / "segmentation.dcm"), pydicom.dcmread(made / "image.dcm")
    assert "FrameOfReferenceUID" not in segmentation
    (series,) = segmentation.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        (derivation,) = frame.DerivationImageSequence
        assert derivation.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_captures_are_the_overlays_with_a_notice(made):
    for number, name in enumerate(("01-overlay.png", "02-overlay.png", "overlay.png"), 1):
        capture = pydicom.dcmread(made / "out" / f"overlay-0{number}.dcm")
        drawn = np.asarray(Image.open(made / "out" / name))
        assert (capture.pixel_array[: len(drawn)] == drawn).all()
        assert capture.pixel_array[len(drawn) :].max() > 200, "the notice"
        assert (capture.SOPClassUID, capture.InstanceNumber) == (uid.SecondaryCaptureImageStorage, number)


def test_the_report_has_every_box(made):
    report = highdicom.sr.srread(made / "out" / "report.dcm")
    stored = json.loads((made / "out" / "boxes.json").read_text())["sentences"]
    groups = report.content.get_planar_roi_measurement_groups()
    boxes = [(one, box) for one in stored for box in one["boxes"]]
    assert len(groups) == len(boxes) > 1
    for group, (one, box) in zip(groups, boxes, strict=True):
        corners = group.roi.value
        assert corners.min(axis=0) == pytest.approx([box["x"], box["y"]], abs=1e-3)
        assert corners.max(axis=0) - corners.min(axis=0) == pytest.approx([box["width"], box["height"]], abs=1e-3)
        assert group.tracking_identifier == one["sentence"]
        assert [float(m.value) for m in group.get_measurements()] == pytest.approx(
            [one["score"], box["score"]], abs=1e-3
        )


@pytest.mark.skipif(not shutil.which("dsrdump"), reason="needs dcmtk")
def test_dcmtk_reads_all(made):
    for file in (made / "out").glob("*.dcm"):
        subprocess.run(["dcmdump", file], check=True, capture_output=True)
    told = subprocess.run(["dsrdump", made / "out" / "report.dcm"], check=True, capture_output=True).stdout.decode()
    assert "Imaging Measurement Report" in told
    assert told.count("POLYLINE") == told.count("Measurement Group") > 1


ODD_HEADERS = [
    {},
    {"PatientID": None, "PatientName": None, "StudyDate": None, "StudyTime": None, "PatientOrientation": None},
    {"PatientAge": "58", "PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.2, 0.2]},
    {"StudyID": "S" * 20, "AccessionNumber": "A" * 17, "PatientIdentityRemoved": "YES", "Laterality": "LEFT"},
    {"PatientOrientation": ["LEFT", "FOOT"], "ClinicalTrialProtocolID": "1"},
    {"ImagePositionPatient": [0, 0, 0], "FrameOfReferenceUID": "1.2.3"},
    {"PatientSex": "W", "PatientBirthDate": "19600230", "StudyTime": "2560", "StudyDate": "2020-1-2"},
    {"SOPClassUID": uid.SecondaryCaptureImageStorage, "FrameOfReferenceUID": "1.2.3", "PatientName": "Müller^Jörg",
     "SpecificCharacterSet": "ISO_IR 100"},
]  # fmt: skip


@pytest.fixture(scope="module", params=ODD_HEADERS)
def of_odd_headers(request, run_folder, tmp_path_factory) -> list[Path]:
    folder, words = tmp_path_factory.mktemp("odd"), [word for kind in KINDS for word in ("--dicom", kind)]
    file = write_dicom(folder / "image.dcm", **request.param)
    call(file, *SENTENCES, "Left\\right " + "and further " * 200, "--run", run_folder, "--out", folder, *words)
    written = sorted(set(folder.glob("*.dcm")) - {file})
    assert len(written) == 7
    return written


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="needs dciodvfy (Debian: dicom3tools)")
def test_dciodvfy_finds_no_error(of_odd_headers):
    for made in of_odd_headers:
        told = subprocess.run(["dciodvfy", "-new", made], capture_output=True, check=False).stderr.decode()
        assert "Error" not in told, told


def faults(*files: Path) -> dict[str, list[str]]:
    """What dicom-validator finds, by file."""
    tables = standard.tables_of(*sorted({str(pydicom.dcmread(file).SOPClassUID) for file in files}))
    validator = DicomFileValidator(tables, log_level=logging.CRITICAL)
    return {
        file.name: [f"{module} {tag}" for module, found in one.module_errors.items() for tag in found]
        for file in files
        for one in validator.validate(file).values()
    }


def test_dicom_validator_finds_no_error(of_odd_headers):
    assert faults(*of_odd_headers) == {file.name: [] for file in of_odd_headers}


@pytest.mark.parametrize(
    ("name", "spoil", "module"),
    [
        ("segmentation", lambda one: one.SegmentSequence[0].pop("SegmentLabel"), "segmentation-image"),
        ("segmentation", lambda one: one.pop("ContentLabel"), "segmentation-image"),
        ("segmentation", lambda one: one.pop("ContentDate"), "multi-frame-functional-groups"),
        ("segmentation-fractional", lambda one: one.pop("SegmentationFractionalType"), "segmentation-image"),
        ("overlay-01", lambda one: one.pop("ConversionType"), "sc-equipment"),
        ("overlay-01", lambda one: one.pop("StudyID"), "general-study"),
        ("report", lambda one: one.pop("CompletionFlag"), "sr-document-general"),
        ("report", lambda one: one.pop("StudyInstanceUID"), "general-study"),
    ],
)
def test_dicom_validator_finds_what_is_missing(made, tmp_path, name, spoil, module):
    one = pydicom.dcmread(made / "out" / f"{name}.dcm")
    spoil(one)
    one.save_as(tmp_path / "spoilt.dcm")
    [(_, found)] = faults(tmp_path / "spoilt.dcm").items()
    assert any(fault.startswith(f"{module} ") for fault in found), found


def test_text_in_the_pixels_of_the_source_is_in_the_captures_too(run_folder, tmp_path):
    for number, (burned, expected) in enumerate([("YES", "YES"), ("NO", "NO")]):
        file = write_dicom(tmp_path / f"{number}.dcm", BurnedInAnnotation=burned)
        call(file, SENTENCES[0], "--run", run_folder, "--out", tmp_path / str(number), "--dicom", "sc")
        capture = pydicom.dcmread(tmp_path / str(number) / "overlay-01.dcm")
        assert capture.BurnedInAnnotation == expected
        assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == pydicom.dcmread(file).SOPInstanceUID
    call(write_dicom(tmp_path / "2.dcm"), SENTENCES[0], "--run", run_folder, "--out", tmp_path / "2", "--dicom", "sc")
    assert "BurnedInAnnotation" not in pydicom.dcmread(tmp_path / "2" / "overlay-01.dcm"), "nobody knows"


def test_constant_maps_have_empty_segments_and_no_report(tmp_path):
    source = of_source(write_dicom(tmp_path / "a.dcm"))
    geometry = Geometry.resized(ROWS, COLUMNS, 96, 96)
    written = write.DicomOut(KINDS, source)
    found, drawings = [Localization("Nothing.", (), None)], [Image.new("RGB", (9, 9))]
    written.write(tmp_path, [np.zeros((6, 6))], geometry, found, drawings, 0.5)
    assert not pydicom.dcmread(tmp_path / "segmentation.dcm").pixel_array.any()
    assert not (tmp_path / "report.dcm").exists()


def test_a_header_that_nothing_can_be_made_with_costs_its_picture_alone(run_folder, tmp_path, monkeypatch):
    write_dicom(tmp_path / "in.dcm")
    write_dicom(tmp_path / "other.dcm")

    def refuse(*args):
        raise ValueError("Mustermann^Erika")

    monkeypatch.setattr(write, "report", refuse)
    words = ("--run", run_folder, "--out", tmp_path / "out", "--dicom", "sr", "--workers", 0)
    assert call(tmp_path / "in.dcm", tmp_path / "other.dcm", *SENTENCES, *words) == 1
    table = (tmp_path / "out" / "results.csv").read_text()
    assert table.count("the header has a value that none can be made with") == 2
    assert "Mustermann" not in table


def test_threads_that_write_objects_print_no_warning(run_folder, tmp_path):
    """Warnings quote names; the filters that hide them are shared by all threads."""
    (tmp_path / "in").mkdir()
    for number in range(12):
        write_dicom(tmp_path / "in" / f"{number}.dcm", PatientName="Mustermann Erika", StudyDate="2020-1-2")
    words = [word for kind in KINDS for word in ("--dicom", kind)]
    command = [sys.executable, "-W", "always", "-m", "sentalign", "localize", tmp_path / "in", SENTENCES[0], *words]
    command += ["--run", run_folder, "--out", tmp_path / "out"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert "Warning" not in told.stderr
    assert "Mustermann" not in told.stdout + told.stderr


def of_source(file):
    return source_header.read(file.read_bytes())


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"StudyInstanceUID": None}, "no StudyInstanceUID"),
        ({"SOPClassUID": uid.CTImageStorage}, "no X-ray image"),
        ({"NumberOfFrames": 2}, "several frames"),
        ({"NumberOfFrames": [1, 1]}, "a value that cannot be read"),
    ],
)
def test_files_that_nothing_can_refer_to(attributes, message, tmp_path):
    with pytest.raises(UserError, match=message):
        of_source(write_dicom(tmp_path / "image.dcm", **attributes))


def test_a_value_that_is_none_of_its_type_is_left_out(tmp_path):
    file = write_dicom(tmp_path / "a.dcm", PatientSize="1.80")
    content = file.read_bytes()
    assert content.count(b"1.80") == 1
    file.write_bytes(content.replace(b"1.80", b"1,80"))
    assert "PatientSize" not in of_source(file)


def test_a_picture_without_a_header(run_folder, tmp_path):
    Image.fromarray(np.arange(2500, dtype=np.uint8).reshape(50, 50)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="they need the DICOM file"):
        call(tmp_path / "a.png", *SENTENCES, "--run", run_folder, "--out", tmp_path / "out", "--dicom", "seg")
    write_dicom(tmp_path / "b.dcm")
    words = ("--run", run_folder, "--out", tmp_path / "many", "--dicom", "seg", "--workers", 0)
    assert call(tmp_path / "a.png", tmp_path / "b.dcm", *SENTENCES, *words) == 1
    assert [file.name for file in (tmp_path / "many").rglob("*.dcm")] == ["segmentation.dcm"]
    assert "they need the DICOM file" in (tmp_path / "many" / "results.csv").read_text()


def test_warnings_do_not_print_the_name(run_folder, tmp_path, recwarn, capfd):
    file = write_dicom(tmp_path / "image.dcm", PatientName="JANE", ReferringPhysicianName="WARD")
    call(file, *SENTENCES, "--run", run_folder, "--out", tmp_path, "--dicom", "seg", "--dicom", "sc", "--dicom", "sr")
    assert not [w for w in recwarn if "JANE" in str(w.message) or "WARD" in str(w.message)]
    told = capfd.readouterr()
    assert "JANE" not in told.out + told.err
