"""KEY.dcm shows the same picture as its source and says nothing of where it comes from."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset, Sequence, config, dcmread, uid
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, JPEGBaseline8Bit

from sharding import display, header, pixels, release
from sharding.codecs import stored_values
from sharding.contract import Reason, Rejected

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, for values that break the standard

NAMES = {"key": "0123456789abcdef01234567", "study": "5" * 16, "patient": "7" * 16, "salt": b"s" * 32}
SECRET = "Quetzalcoatl"


def released(data: bytes, **names) -> bytes:
    return release.dicom(header.parse(data), **NAMES | names)


def pictures(data: bytes):
    return pixels.read(data), pixels.read(released(data))


def assert_same(data: bytes) -> None:
    before, after = pictures(data)
    assert np.array_equal(before.grey_HW, after.grey_HW)
    assert before.geometry == after.geometry


def ramp(dtype, low: int, high: int, shape=(24, 20)):
    return np.linspace(low, high, shape[0] * shape[1]).astype(dtype).reshape(shape)


def table(first: int, entries, bits: int, vr: str = "US") -> Sequence:
    item = Dataset()
    item.add_new(0x00283002, "SS" if first < 0 else "US", [len(entries), first, bits])
    item.LUTExplanation = SECRET
    item.ModalityLUTType = "US"
    item.add_new(0x00283006, vr, np.array(entries, "<u2").tobytes() if vr == "OW" else list(entries))
    return Sequence([item])


def palette(entries: int, bits: int, first: int = 0) -> dict[str, object]:
    """Red, green and blue tables of so many entries."""
    elements: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for channel, name in enumerate(("Red", "Green", "Blue")):
        colours = (np.arange(entries) * (channel + 3) % 2**bits).astype(f"<u{bits // 8}")
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [entries, first, bits]
        elements[f"{name}PaletteColorLookupTableData"] = colours.tobytes() + b"\0" * (colours.nbytes % 2)
    return elements


U12, S16, U8 = ramp(np.uint16, 0, 4095), ramp(np.int16, -1000, 1000), ramp(np.uint8, 0, 255)
RGB = np.stack([U8, U8[::-1], U8.T.reshape(U8.shape)], axis=-1)
TWELVE = {"BitsStored": 12, "HighBit": 11}
COLOUR = {"PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
MADE = {
    "without a window": (U12, TWELVE),
    "several windows": (U12, TWELVE | {"WindowCenter": [800, 100], "WindowWidth": [900.5, 10]}),
    "a sigmoid window": (U12, TWELVE | {"WindowCenter": 800, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"}),
    "an inverted image": (U12, TWELVE | {"PhotometricInterpretation": "MONOCHROME1", "PixelPaddingValue": 0}),
    "an inverse shape": (
        U12,
        TWELVE | {"PresentationLUTShape": "INVERSE", "PresentationIntentType": "FOR PRESENTATION"},
    ),
    "signed values": (S16, {"WindowCenter": 0, "WindowWidth": 1500, "RescaleSlope": "1.5", "RescaleIntercept": "-3"}),
    "signed padding": (S16, {"PixelPaddingValue": -1000, "PixelPaddingRangeLimit": -900}),
    "a modality LUT": (U8, {"ModalityLUTSequence": table(3, range(0, 60000, 300), 16)}),
    "a VOI LUT": (U12, TWELVE | {"VOILUTSequence": table(100, [(n * 7) % 1024 for n in range(3000)], 10)}),
    "a VOI LUT in bytes": (U12, TWELVE | {"VOILUTSequence": table(0, range(0, 4096, 2), 12, "OW")}),
    "a VOI LUT from below zero": (S16, {"VOILUTSequence": table(-500, range(1000), 10)}),
    "a palette of 8 bits": (U8, palette(256, 8)),
    "a palette from a later value": (U8, palette(200, 8, first=5)),
    "a palette of 16 bits": (U8, palette(256, 16)),
    "RGB": (RGB, COLOUR),
    "YBR": (RGB, COLOUR | {"PhotometricInterpretation": "YBR_FULL"}),
    "values at the top of the word": (U12 << 4, {"BitsStored": 12, "HighBit": 15}),
    "8 bits in 16": (ramp(np.uint16, 0, 255), {"BitsStored": 8, "HighBit": 7}),
    "16 bits": (ramp(np.uint16, 0, 65535), {}),
    "32 bits": (ramp(np.uint32, 0, 2**20), {}),
    "unlike spacings": (U12, TWELVE | {"ImagerPixelSpacing": ["0.2", "0.1"]}),
    "a pixel aspect": (U12, TWELVE | {"PixelAspectRatio": ["3", "4"]}),
    "a long decimal": (U12, TWELVE | {"WindowCenter": 800.123456789, "WindowWidth": "900.25"}),
}


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
    after = display.decode(header.parse(release.dicom(dataset, **NAMES)))
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
    assert found.DeidentificationMethod == release.PROFILE
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


def assert_clean(data: bytes) -> None:
    """No form of the secret in the bytes, nor in any value."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        for form in (SECRET, SECRET.upper(), SECRET.lower(), SECRET[::-1]):
            assert form.encode(encoding) not in data
    values: list[str] = []
    dcmread(io.BytesIO(data)).walk(lambda _, element: values.append(str(element.value)))
    assert not any(SECRET.lower() in value.lower() for value in values)
    assert data[:128] == bytes(128)


NEEDED = {
    *header.REQUIRED,
    *("HighBit", "PlanarConfiguration", "NumberOfFrames", "ModalityLUTSequence", "VOILUTSequence", "TransferSyntaxUID"),
}
TEXTS = {
    "LO",
    "SH",
    "PN",
    "LT",
    "ST",
    "UT",
    "UC",
    "CS",
    "AE",
    "UI",
    "UR",
    "DA",
    "TM",
    "DT",
    "AS",
    "DS",
    "IS",
    "OB",
    "UN",
}


def planted(depth: int) -> Dataset:
    """A dataset that holds the secret in every text element that the dictionary of DICOM knows, and in sequences."""
    dataset = Dataset()
    for tag, (vr, *_) in DicomDictionary.items():
        if keyword_for_tag(tag) in NEEDED or tag >> 16 in (0x0000, 0x0002, 0x7FE0) or vr not in TEXTS:
            continue
        # Numbers are planted as text: in a file of implicit VR nobody sees the difference.
        written = "LO" if vr in ("DS", "IS") else vr
        dataset.add_new(tag, written, SECRET.encode() if vr in ("OB", "UN") else SECRET)
    block = dataset.private_block(0x0099, SECRET, create=True)
    block.add_new(0x01, "LO", SECRET)
    for group in range(0x6000, 0x6020, 2):
        dataset.add_new((group, 0x3000), "OW", SECRET.encode())
        dataset.add_new((group, 0x4000), "LT", SECRET)
    dataset.add_new((0x5000, 0x3000), "OW", SECRET.encode())
    dataset.add_new((0xFFFC, 0xFFFC), "OB", SECRET.encode())
    for name in (
        "RequestAttributesSequence",
        "ViewCodeSequence",
        "AnatomicRegionSequence",
        "OriginalAttributesSequence",
    ):
        if depth:
            setattr(dataset, name, [planted(depth - 1)])
    return dataset


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
