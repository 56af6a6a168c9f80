"""View and part of the body are codes and words of this software for any header: never a word of the file."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom import Dataset, Sequence

from sharding import pixels
from sharding.contract import Rejected
from sharding.pixels import examination
from sharding.pixels.examination import OF_CODE, OF_MEANING, VIEWS
from tests.sharding.conftest import dicom_bytes

PARTS = {part.strip() for part in examination.OTHER_PART.pattern.split("(?:")[1].split(")")[0].split("|")}
KNOWN = st.sampled_from(
    [*VIEWS, *OF_CODE, *OF_MEANING, *PARTS, "CHEST", "THORAX", "RIBS", "homo sapiens", "Canis lupus", "DOE^JANE", ""]
)
TEXT = st.one_of(KNOWN, st.text(max_size=20), st.builds("{} {}".format, KNOWN, st.text(max_size=8)))
NAMES = ("ViewPosition", "BodyPartExamined", "PatientSpeciesDescription")


def item(code: str, meaning: str) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodeMeaning = code, meaning
    return made


def header(texts: dict[str, str], views: list[tuple[str, str]], regions: list[tuple[str, str]]) -> Dataset:
    dataset = Dataset()
    for name, value in texts.items():
        setattr(dataset, name, value)
    dataset.ViewCodeSequence = Sequence([item(*view) for view in views])
    dataset.AnatomicRegionSequence = Sequence([item(*region) for region in regions])
    return dataset


CODES = st.lists(st.tuples(TEXT, TEXT), max_size=3)


@pytest.mark.filterwarnings("ignore")
@given(st.dictionaries(st.sampled_from(NAMES), TEXT), CODES, CODES)
@example({"ViewPosition": "DOE^JANE"}, [("399067008", "")], [])
@example({"BodyPartExamined": "Knee of Jane Doe"}, [], [])
@example({"PatientSpeciesDescription": "Rex, a dog"}, [], [("", "Chest")])
def test_only_words_of_this_software_leave(texts, views, regions):
    dataset = header(texts, views, regions)
    assert examination.view(dataset) in {"", *VIEWS}
    assert examination.other_than_chest(dataset) in {"", "animal", *PARTS}


@pytest.mark.filterwarnings("ignore")
@given(CODES)
def test_the_first_code_that_is_known_names_the_view(views):
    """The twin: one code after the other, by its number, else by its words."""
    expected = ""
    for code, meaning in views:
        words = meaning.strip().lower().replace("anteroposterior", "antero-posterior")
        words = words.replace("posteroanterior", "postero-anterior")
        for ending in (" projection", " view"):
            words = words[: -len(ending)] if words.endswith(ending) else words
        expected = expected or OF_CODE.get(code.strip(), OF_MEANING.get(words, ""))
    assert examination.view(header({}, views, [])) == expected


@pytest.mark.parametrize("part", sorted(PARTS))
def test_every_part_is_found_beside_other_words_but_not_in_a_chest(part):
    assert examination.other_than_chest(header({"BodyPartExamined": f"LEFT {part}"}, [], [])) == part
    assert examination.other_than_chest(header({"BodyPartExamined": f"{part} CHEST"}, [], [])) == ""


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_damaged_elements_say_nothing_or_the_file_is_refused(seed, changes):
    """Bytes of the sequences and texts changed in a real file."""
    whole = header({"ViewPosition": "PA", "BodyPartExamined": "KNEE"}, [("399067008", "lateral")], [("", "Knee")])
    data = bytearray(dicom_bytes(**{element.keyword: element.value for element in whole}))
    rng, start = random.Random(seed), data.index(b"KNEE") - 40
    for _ in range(changes):
        data[rng.randrange(start, min(len(data), start + 400))] = rng.randrange(256)
    try:
        raw = pixels.open_image(bytes(data), "x.dcm")
    except Rejected:
        return
    assert raw.view in {"", *VIEWS}
    assert raw.other_body in {"", "animal", *PARTS}
