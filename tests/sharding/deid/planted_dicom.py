"""A header that holds a secret wherever the dictionary of DICOM has room for text, and a search for it in a file."""

from __future__ import annotations

import io

from pydicom import Dataset, dcmread
from pydicom.datadict import DicomDictionary, keyword_for_tag

from sharding.pixels import header

SECRET = "Quetzalcoatl"
NEEDED = {
    *header.REQUIRED.split(),
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


def assert_clean(data: bytes) -> None:
    """No form of the secret in the bytes, nor in any value."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        for form in (SECRET, SECRET.upper(), SECRET.lower(), SECRET[::-1]):
            assert form.encode(encoding) not in data
    values: list[str] = []
    dcmread(io.BytesIO(data)).walk(lambda _, element: values.append(str(element.value)))
    assert not any(SECRET.lower() in value.lower() for value in values)
    assert data[:128] == bytes(128)
