"""The reports of one image: which count, in which order, and what the account says of the others."""

from __future__ import annotations

from collections import Counter

import pytest

from sharding.build.inputs import report_sentences
from sharding.contract import Reason, Rejected
from sharding.sources import PLAIN, REPORT, SourceImage


def sentences(*texts: str, layout: str = PLAIN, languages=("en",), patient: str = "", study: str = ""):
    audit: Counter[str] = Counter()
    image = SourceImage("i", "f", text=texts[0], more_texts=texts[1:], layout=layout, patient=patient, study=study)
    found = report_sentences.of_image(image, None, languages, audit)
    return found, {note: audit[note] for note in report_sentences.NOTES if audit[note]}


def test_preliminary_final_and_addendum_in_the_order_of_the_table():
    final, addendum = "FINDINGS: No effusion.\nIMPRESSION: Normal.", "ADDENDUM: There is a nodule. No effusion."
    found, notes = sentences("WET READ: Small effusion.", final, addendum)
    assert [(one.section, one.text) for one in found] == [
        ("findings", "No effusion."),
        ("impression", "Normal."),
        ("addendum", "There is a nodule."),
    ]
    assert notes == {report_sentences.PRELIMINARY: 1}
    joined = final + report_sentences.JOINT + addendum
    assert [joined[one.start : one.end] for one in found] == ["No effusion.", "Normal.", "There is a nodule."]


def test_a_preliminary_report_alone_counts():
    found, notes = sentences("PRELIMINARY REPORT\nFINDINGS: Small effusion.")
    assert ([one.text for one in found], notes) == (["Small effusion."], {})
    assert [one.text for one in sentences("WET READ: Small effusion.", "WET READ: Nodule.")[0]] == [
        "Small effusion.", "Nodule."]  # fmt: skip


WET = "PRELIMINARY REPORT: Large right pneumothorax."


@pytest.mark.parametrize("final", ["N/A", "see impression", "LVEF: 55%\nAorta: 3 cm", "   ", "___"])
def test_a_preliminary_report_counts_if_the_others_say_nothing(final):
    for texts in ([WET, final], [final, WET]):
        found, notes = sentences(*texts)
        assert [one.text for one in found] == ["Large right pneumothorax."]
        assert report_sentences.PRELIMINARY not in notes


@pytest.mark.parametrize(
    "final", ["FINAL REPORT: N/A", "IMPRESSION: See findings.", "FINDINGS: None.\nIMPRESSION: None."]
)
def test_so_does_one_in_the_same_text(final):
    assert [one.text for one in sentences(f"{WET}\n\n{final}")[0]] == ["Large right pneumothorax."]
    assert [one.text for one in sentences(f"{WET}\n\nFINAL REPORT\n\nFINDINGS: No edema.")[0]] == ["No edema."]


def test_a_preliminary_report_in_a_language_that_is_taken_counts_beside_another():
    found, notes = sentences(WET, "Die Lunge ist frei und das Herz ist nicht groß.")
    assert [one.text for one in found] == ["Large right pneumothorax."]
    assert notes == {report_sentences.OTHER_LANGUAGE: 1}


def test_an_empty_report_is_no_preliminary_one():
    found, notes = sentences("", "No effusion.", " ")
    assert ([one.text for one in found], notes) == (["No effusion."], {})


def test_an_addendum_in_the_report_counts():
    found, _ = sentences("FINDINGS: Clear. IMPRESSION: Normal.\nADDENDUM: 5 mm nodule.")
    assert [one.text for one in found] == ["Clear.", "Normal.", "5 mm nodule."]


def test_the_official_sections_of_mimic_are_those_of_its_authors():
    """Of MIMIC-CXR and Open-i, what stands beside findings and impression is not taken (docs/formats.md)."""
    found, _ = sentences("FINDINGS: Clear. IMPRESSION: Normal.\nADDENDUM: 5 mm nodule.", layout=REPORT)
    assert [one.text for one in found] == ["Clear.", "Normal."]


def test_other_languages_beside_one_that_is_taken_are_left_out():
    german = "Die Lunge ist frei und das Herz ist nicht groß."
    found, notes = sentences(german, "Lungs are clear.")
    assert ([one.text for one in found], notes) == (["Lungs are clear."], {report_sentences.OTHER_LANGUAGE: 1})
    with pytest.raises(Rejected) as caught:
        sentences(german, german + " Kein Erguss.")
    assert caught.value.reason == Reason.LANGUAGE
    both, _ = sentences(german, "No effusion.", languages=None)
    assert [one.tags for one in both] == [(), ("negated",)]


def test_tables_and_other_examinations_are_counted():
    found, notes = sentences("LVEF: 55%\nAorta: 3.2 cm\n\nLungs are clear.")
    assert ([one.text for one in found], notes) == (["Lungs are clear."], {report_sentences.TABLE: 1})
    text = "CT ABDOMEN\n\nFINDINGS: Big liver.\n\nCHEST X-RAY\n\nFINDINGS: Lungs are clear."
    found, notes = sentences(text)
    assert ([one.text for one in found], notes) == (["Lungs are clear."], {report_sentences.CUT: 1})
    assert text[found[0].start : found[0].end] == "Lungs are clear."
    found, notes = sentences("EXAM: CT HEAD\nEXAM: CHEST X-RAY\nFINDINGS: All is normal.")
    assert ([one.text for one in found], notes) == (["All is normal."], {report_sentences.WHOLE: 1})


def test_the_id_of_a_study_is_masked_under_its_patient():
    found, _ = sentences("Study XK47110 shows clear lungs.", patient="P7", study="P7/XK47110")
    assert "XK47110" not in found[0].text
