"""Rows of one image or one study are of one patient, by whichever row names it, and go into one split."""

from __future__ import annotations

import pytest

from sharding.contract import UserError
from tests.sharding.sources.test_folder import of_rows


def test_a_row_without_a_patient_is_that_of_its_image_or_its_study(folder):
    rows = [
        "john-doe-0.png,Edema.,1,5",
        "john-doe-0.png,Nodule.,,5",
        "john-doe-1.png,,,5",
        "john-doe-2.png,Clear.,2,",
        "john-doe-2.png,,,6",
        "john-doe-3.png,,,6",
        "john-doe-3.png,Normal.,,",
        "gone.png,,,6",
    ]
    listing = of_rows(folder, "image,text,patient,study", *rows)
    assert [(image.patient, image.study, image.text, image.more_texts) for image in listing.images] == [
        ("1", "1/5", "Edema.", ("Nodule.",)),
        ("1", "1/5", "Edema.", ("Nodule.",)),
        ("2", "2/6", "Clear.", ()),
        ("2", "2/6", "Normal.", ()),
        ("2", "2/6", "Clear.", ("Normal.",)),
    ]
    assert listing.left_out == {"row that repeats another": 2}
    assert "study id that several patients have: one study for each" not in listing.notes


def test_a_study_id_of_several_patients_gives_nobody_a_patient(folder):
    rows = ["john-doe-0.png,a,1,5", "john-doe-1.png,b,2,5", "john-doe-2.png,c,,5"]
    listing = of_rows(folder, "image,text,patient,study", *rows)
    assert [(image.patient, image.study) for image in listing.images] == [("1", "1/5"), ("2", "2/5"), ("", "5")]
    assert listing.notes["study id that several patients have: one study for each"] == 1


def test_a_split_of_one_row_is_that_of_its_study(folder):
    rows = ["john-doe-0.png,5,train", "john-doe-1.png,5,", "john-doe-1.png,,", "john-doe-2.png,,", "5,,test"]
    listing = of_rows(folder, "image,study,split", *rows)
    assert [image.split for image in listing.images] == ["train", "train", "", "test"]
    with pytest.raises(UserError, match="1 patients are in two splits"):
        of_rows(folder, "image,study,split", *rows, "john-doe-3.png,5,test")
