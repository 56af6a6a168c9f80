"""KEY.dcm shows the same picture as its source and says nothing of where it comes from."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset, config, dcmread, uid
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, JPEGBaseline8Bit

from sharding import pixels
from sharding.contract import Reason, Rejected
from sharding.deid import deidentified_dicom
from sharding.pixels import display, header
from sharding.pixels.decode.codecs import stored_values
from tests.sharding.deid.planted_dicom import SECRET, assert_clean, planted
from tests.sharding.pixels.decode.test_layout import PICTURE_HW, WIDE_HW
from tests.sharding.pixels.decode.test_palette import palette_file
from tests.sharding.pixels.display_cases import MADE, S16, TWELVE, U8, U12, palette, table

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, for values that break the standard

NAMES = {"key": "0123456789abcdef01234567", "study": "5" * 16, "patient": "7" * 16, "salt": b"s" * 32}


def released(data: bytes, **names) -> bytes:
    return deidentified_dicom.dicom(header.parse(data), **NAMES | names)


def pictures(data: bytes):
    return pixels.read(data), pixels.read(released(data))


def assert_same(data: bytes) -> None:
    before, after = pictures(data)
    assert np.array_equal(before.grey_HW, after.grey_HW)
    assert before.geometry == after.geometry


@pytest.mark.parametrize("name", MADE)
def test_the_released_picture_is_that_of_the_source(dicom_bytes, name):
    stored, elements = MADE[name]
    assert_same(dicom_bytes(stored, **elements))


@pytest.mark.parametrize("entries", [256, 201])
def test_a_palette_in_segments_is_written_out(dicom_bytes, entries):
    elements = palette(entries, 8)
    for name in ("Red", "Green", "Blue"):
        del elements[f"{name}PaletteColorLookupTableData"]
        elements[f"Segmented{name}PaletteColorLookupTableData"] = bytes([0, 1, 0, 1, entries - 1, 255])
    assert_same(dicom_bytes(U8, **elements))


def test_padding_that_contradicts_its_pixels_stays_as_written(dicom_bytes):
    dataset = header.parse(dicom_bytes(S16))
    dataset.add_new(0x00280120, "US", 64536)  # -1000 in the words of signed pixels
    before = display.decode(dataset)
    after = display.decode(header.parse(deidentified_dicom.dicom(dataset, **NAMES)))
    assert before.provenance["padding"] == after.provenance["padding"] == "black"
    assert np.array_equal(before.grey_HW, after.grey_HW)


def test_big_endian_tables_are_turned(dicom_bytes):
    dataset = dcmread(io.BytesIO(dicom_bytes(U12, **TWELVE, VOILUTSequence=table(0, range(4096), 12, "OW"))))
    item = dataset.VOILUTSequence[0]
    item.LUTData = np.frombuffer(item.LUTData, "<u2").astype(">u2").tobytes()
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    turned = Dataset()
    turned.update(dataset)
    turned.file_meta = dataset.file_meta
    turned.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    buffer = io.BytesIO()
    turned.save_as(buffer, enforce_file_format=True)
    assert_same(buffer.getvalue())


@pytest.mark.parametrize(
    "window", [{}, {"WindowCenter": 128, "WindowWidth": 256}, {"WindowCenter": 2048, "WindowWidth": 4096}]
)
@pytest.mark.parametrize(
    ("stored", "elements"),
    [
        (WIDE_HW << 4, {"BitsStored": 12, "HighBit": 11}),
        (WIDE_HW, {"BitsStored": 12, "HighBit": 15}),
        (WIDE_HW, {"BitsStored": 8, "HighBit": 7}),
        (WIDE_HW * 16 + 5, {"BitsStored": 12, "HighBit": 11}),
        (PICTURE_HW, {"BitsStored": 12, "HighBit": 11}),
    ],
)
def test_a_contradicted_depth_is_corrected(dicom_bytes, stored, elements, window):
    assert_same(dicom_bytes(stored, **elements, **window))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("said", [8, 16])
@pytest.mark.parametrize("kind", ["16 bits", "8 bits, packed", "8 bits, a word each"])
def test_palettes_are_written_as_they_were_read(kind, said, big_endian):
    assert_same(palette_file(kind, big_endian, said))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 16), st.booleans(), st.integers(1, 40), st.integers(1, 40), st.randoms(use_true_random=False))
def test_every_stored_value_survives(dicom_bytes, bits, signed, rows, columns, random):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    allocated = random.choice([8, 16]) if bits <= 8 else 16
    values = np.random.default_rng(random.getrandbits(32)).integers(low, high + 1, (rows, columns))
    stored_HW = values.astype(f"{'i' if signed else 'u'}{allocated // 8}")
    data = dicom_bytes(stored_HW, BitsStored=bits, HighBit=bits - 1)
    found = stored_values(header.parse(released(data)))
    assert found.values.dtype == stored_HW.dtype
    assert np.array_equal(found.values, stored_HW)
    assert found.layout.bits == bits


def test_overlays_in_the_unused_bits_are_masked(dicom_bytes):
    data = dicom_bytes(U12 | np.uint16(0xA000), **TWELVE)
    found = stored_values(header.parse(released(data))).values
    assert np.array_equal(found, U12)


def test_the_same_input_and_salt_give_the_same_bytes(dicom_bytes):
    data = dicom_bytes(U12, **TWELVE)
    assert released(data) == released(data)
    assert released(data) != released(data, salt=b"t" * 32)


def test_images_of_a_study_share_its_uid_and_no_uid_stays(dicom_bytes):
    source = {"StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.5"}
    one, two = (
        dcmread(io.BytesIO(released(dicom_bytes(U12, **TWELVE, **source), key=key))) for key in ("a" * 24, "b" * 24)
    )
    assert one.StudyInstanceUID == two.StudyInstanceUID
    assert one.SeriesInstanceUID == two.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert uid.UID(one[name].value).is_valid
        assert one[name].value.startswith("2.25.")
    assert one.StudyInstanceUID != one.SeriesInstanceUID


def test_the_file_says_that_it_was_de_identified(dicom_bytes):
    found = dcmread(
        io.BytesIO(released(dicom_bytes(U12, PatientID="K1", PatientName="Roe^Jane", StudyDate="20190312")))
    )
    assert found.PatientID == NAMES["patient"]
    assert (found.PatientName, found.StudyDate) == ("", "")
    assert found.PatientIdentityRemoved == "YES"
    assert found.LongitudinalTemporalInformationModified == "REMOVED"
    assert found.DeidentificationMethod == deidentified_dicom.PROFILE
    assert found.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert found.file_meta.TransferSyntaxUID == uid.JPEGLSLossless


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (uid.ComputedRadiographyImageStorage, uid.ComputedRadiographyImageStorage),
        (uid.DigitalXRayImageStorageForPresentation, uid.DigitalXRayImageStorageForPresentation),
        (uid.CTImageStorage, uid.SecondaryCaptureImageStorage),
        ("1.2.3.4.5", uid.SecondaryCaptureImageStorage),
    ],
)
def test_a_class_whose_modules_are_dropped_becomes_a_secondary_capture(dicom_bytes, source, found):
    assert dcmread(io.BytesIO(released(dicom_bytes(U12, SOPClassUID=source)))).SOPClassUID == found


def jpeg(comment: bytes) -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = SECRET
    Image.fromarray(U8).save(buffer, "JPEG", quality=60, comment=comment, exif=exif)
    return buffer.getvalue()


def lossy(dicom_bytes, **elements) -> bytes:
    dataset = dcmread(io.BytesIO(dicom_bytes(U8, **elements)))
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate([jpeg(SECRET.encode())])
    dataset["PixelData"].VR = "OB"
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def test_what_was_compressed_with_loss_still_says_so(dicom_bytes):
    found = dcmread(io.BytesIO(released(lossy(dicom_bytes, LossyImageCompressionRatio="12.5"))))
    assert found.LossyImageCompression == "01"
    assert found.LossyImageCompressionMethod == "ISO_10918_1"
    assert found.LossyImageCompressionRatio == 12.5
    assert "LossyImageCompression" not in dcmread(io.BytesIO(released(dicom_bytes(U8))))


def test_nothing_beside_the_pixels_of_a_compressed_image_survives(dicom_bytes):
    data = lossy(dicom_bytes)
    assert SECRET.encode() in data
    assert_clean(released(data))
    assert_same(data)


@pytest.fixture
def no_validation(monkeypatch):
    monkeypatch.setattr(config.settings, "_reading_validation_mode", config.IGNORE)
    monkeypatch.setattr(config.settings, "_writing_validation_mode", config.IGNORE)


def test_a_secret_in_every_element_of_the_dictionary_does_not_get_out(dicom_bytes, no_validation):
    voi = table(0, range(4096), 12)
    dataset = dcmread(io.BytesIO(dicom_bytes(U12, **TWELVE, VOILUTSequence=voi)))
    dataset.update(planted(depth=2))
    voi[0].update({element.tag: element for element in planted(0) if element.tag not in voi[0]})
    dataset.VOILUTSequence = voi
    del dataset.RescaleSlope, dataset.RescaleIntercept  # unreadable ones reject the image
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer, implicit_vr=True)
    data = SECRET.encode().ljust(128, b" ") + buffer.getvalue()[128:]
    assert data.count(SECRET.encode()) > 5000
    assert_clean(released(data))
    assert_same(data)


def test_only_known_words_of_coded_elements_stay(dicom_bytes, no_validation):
    kept = {"BodyPartExamined": "CHEST", "ViewPosition": "PA", "ImageLaterality": "R", "Modality": "DX"}
    strange = dict.fromkeys(kept, "ZIMMERMANN")
    assert all(dcmread(io.BytesIO(released(dicom_bytes(U12, **kept))))[name].value == kept[name] for name in kept)
    found = dcmread(io.BytesIO(released(dicom_bytes(U12, **strange))))
    assert found.Modality == "OT"
    assert [found.get(name) or "" for name in kept if name != "Modality"] == ["", "", ""]


def test_pixels_that_cannot_be_read_are_refused_without_their_values(dicom_bytes):
    with pytest.raises(Rejected) as caught:
        released(dicom_bytes(U12, PatientName=SECRET, PhotometricInterpretation=SECRET.upper()))
    assert caught.value.reason in (Reason.DECODE, Reason.DEIDENTIFICATION)
    assert SECRET.lower() not in caught.value.message.lower()


def test_a_released_file_can_be_released_again(dicom_bytes):
    once = released(dicom_bytes(U12, **TWELVE, WindowCenter="800", WindowWidth="900"))
    again = dcmread(io.BytesIO(released(once)))
    assert np.array_equal(stored_values(again).values, U12)
    assert again.WindowCenter == 800


@pytest.mark.realdata
def test_every_real_file_shows_the_same_picture_when_released(realdata):
    compared = 0
    for path in sorted((realdata / "dicom").rglob("*.dcm")):
        data = path.read_bytes()
        try:
            before = display.decode(header.parse(data))
        except Rejected:
            assert path.parent.name == "malformed"
            continue
        after = display.decode(header.parse(released(data)))
        assert np.array_equal(before.grey_HW, after.grey_HW), path.name
        assert before.geometry == after.geometry, path.name
        compared += 1
    assert compared == 28
