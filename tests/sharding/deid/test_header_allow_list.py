"""Every element that leaves a header is read, checked and written anew; all others stay behind."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset, config
from pydicom.datadict import dictionary_VR

from sharding.deid.header_allow_list import ELEMENTS, allowed

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, for values that break the standard


def dataset(**elements) -> Dataset:
    found = Dataset()
    found.PhotometricInterpretation = "MONOCHROME2"
    for name, value in elements.items():
        setattr(found, name, value)
    return found


def code(value: str, scheme: str, meaning: str = "Zimmermann's chest") -> Dataset:
    return dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning, LongCodeValue="x")


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("ImageType", ["ORIGINAL", "PRIMARY", "ZIMMERMANN"], ["ORIGINAL", "PRIMARY"]),
        ("ImageType", ["ZIMMERMANN", "PRIMARY"], None),
        ("ImageType", "ORIGINAL", None),
        ("ConversionType", "WSD", "WSD"),
        ("ViewPosition", "pa", "PA"),
        ("ViewPosition", "ROE, JANE", None),
        ("PatientOrientation", ["L", "FR"], ["L", "FR"]),
        ("PatientOrientation", ["JANE", "ROE"], None),
        ("BurnedInAnnotation", "NO", "NO"),
        ("PixelSpacing", ["0.143", "0.143"], [0.143, 0.143]),
        ("PixelSpacing", ["0", "0"], None),
        ("PixelSpacing", "0.143", None),
        ("WindowCenter", ["40", "80"], [40, 80]),
        ("RescaleSlope", 0.1 + 0.2, 0.3),
        ("PixelIntensityRelationshipSign", -1, -1),
        ("PixelIntensityRelationshipSign", 1961, None),
        ("LossyImageCompressionMethod", "ISO_10918_1", "ISO_10918_1"),
        ("RescaleType", "Zimmermann", None),
    ],
)
def test_a_value_stays_where_it_is_of_its_kind(monkeypatch, name, value, left):
    monkeypatch.setattr(config.settings, "_reading_validation_mode", config.IGNORE)
    monkeypatch.setattr(config.settings, "_writing_validation_mode", config.IGNORE)
    found = allowed(dataset(**{name: value})).get(name)
    assert found == (pytest.approx(left) if isinstance(left, float) else left)


def test_a_decimal_is_written_with_sixteen_characters_at_most():
    found = allowed(dataset(WindowCenter=1 / 3, RescaleIntercept="-1.50"))
    assert str(found.WindowCenter) == "0.33333333333333"
    assert str(found.RescaleIntercept) == "-1.50"


def test_what_is_not_listed_stays_behind():
    found = dataset(PatientName="Roe^Jane", StudyDate="20190312", Manufacturer="M", KVP="120", PatientComments="c")
    found.add_new(0x00990010, "LO", "MAKER")
    assert [element.value for element in allowed(found)] == ["OT"]  # the modality that is unknown


def test_no_listed_element_holds_names_dates_or_free_text():
    kinds = {name: dictionary_VR(name) for name in ELEMENTS}
    assert kinds.pop("RescaleType") == "LO"  # of which the units of PS3.3 C.11.1.1.2 may leave
    assert set(kinds.values()) <= {"CS", "DS", "IS", "SS"}


def test_codes_get_the_meaning_that_the_standard_gives():
    known = [code("399348003", "SCT"), code("R-10206", "SRT"), code("399348003", "99LOCAL"), code("12345", "SCT")]
    items = allowed(dataset(ViewCodeSequence=known)).ViewCodeSequence
    assert {item.CodeMeaning for item in items} == {"antero-posterior"}
    assert [(item.CodeValue, item.CodingSchemeDesignator) for item in items] == [("399348003", "SCT")] * 2
    assert all(len(item) == 3 for item in items)
    assert "AnatomicRegionSequence" not in allowed(dataset(AnatomicRegionSequence=[code("1", "SCT"), Dataset()]))


def lut(first: int, count: int, data: bytes | list[int]) -> Dataset:
    item = dataset(LUTExplanation="for Dr. Zimmermann", ModalityLUTType="Zimmermann")
    item.add_new(0x00283002, "SS" if first < 0 else "US", [count % 2**16, first, 16])
    item.add_new(0x00283006, "OW" if isinstance(data, bytes) else "US", data)
    return item


def test_a_lookup_table_leaves_without_its_explanation_and_without_what_lies_behind_it():
    data = np.arange(4, dtype="<u2").tobytes() + b"Zimmermann"
    (item,) = allowed(dataset(ModalityLUTSequence=[lut(0, 4, data)])).ModalityLUTSequence
    assert item.LUTData == data[:8]
    assert item.ModalityLUTType == "US"
    assert sorted(element.keyword for element in item) == ["LUTData", "LUTDescriptor", "ModalityLUTType"]


def test_a_damaged_table_and_all_behind_it_stay_behind():
    tables = [lut(0, 2, [1, 2]), lut(0, 9, [1, 2]), lut(0, 2, [1, 2])]
    assert len(allowed(dataset(VOILUTSequence=tables)).VOILUTSequence) == 1


def test_a_long_table_from_below_zero_can_be_written():
    (item,) = allowed(dataset(VOILUTSequence=[lut(-5, 40_000, list(range(40_000)))])).VOILUTSequence
    assert item["LUTDescriptor"].VR == "SS"
    assert [number % 2**16 for number in item.LUTDescriptor] == [40_000, 2**16 - 5, 16]
