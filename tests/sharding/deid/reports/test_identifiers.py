"""Names, ids and places that are known are found however a report writes them; ordinary words are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.deid.reports.identifiers import NOBODY, identifiers_of
from sharding.deid.reports.spelling import tokenize


def hidden(text: str, **known) -> str:
    for first, last in reversed(identifiers_of(**known).find(text)[0]):
        text = text[:first] + "#" + text[last:]
    return text


@pytest.mark.parametrize(
    ("name", "text", "left"),
    [
        ("Zimmermann^Ida", "ZIMMERMANN or zimmermann and Zimmermann's; Zimmermanns.", "# or # and #; #."),
        ("Zimmermann^Ida^K", "Seen: I. K. Zimmermann, Zimmermann, Ida and IZimmermann.", "Seen: # and #."),
        ("Müller^José", "Mueller; MULLER and Jose\u0301 but no Muell.", "#; # and # but no Muell."),
        ("Groß^Anna", "Gross, ANNA and Groß.", "# and #."),
        ("O'Brien^Pat", "O'Brien or OBrien and O’BRIEN.", "# or # and #."),
        ("Lopez-Garcia^Ana", "Lopez Garcia; Garcia; lopezgarcia.", "#; #; #."),
        ("Smith^John^^Dr^MD", "Dr. was called, MD Smith was not.", "Dr. was called, MD # was not."),
        ("Yamada^Tarou=山田^太郎", "Yamada was seen.", "# was seen."),
        ("Smith, John A., MD", "Smith and John; a nodule.", "# and #; a nodule."),
        ("Mueller^Ida", "Müller; Mu\u0308ller; MULLER and Mueller; a mull.", "#; #; # and #; a mull."),
        ("Aagaard^B", "Ågaard; Agaard", "#; #"),
        ("Bøe^B", "Boe; BØE and bo", "#; # and bo"),
        ("Weiß^B", "Weiss and WEISS", "# and #"),
        ("Łuczak^B", "Luczak", "#"),
        ("Muñoz^B", "Munoz; MUNOZ", "#; #"),
        ("Delacruz^B", "de la Cruz; De-La-Cruz; de la", "#; #; de la"),
        ("van der Berg^B", "Vanderberg; van der Berg", "#; #"),
        ("McDonald^B", "Mc Donald; MCDONALD", "#; #"),
        ("O'Brien^Pat", "O Brien; O′Brien; OʼBrien", "#; #; #"),
        ("Wu^Mei", "Wu and WU came; wu", "# and # came; wu"),
        ("Ng^Tom", "An NG tube; Ng", "An NG tube; #"),
        (
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
            "山田太郎さん, 山田 太郎, 太郎と山田; やまださん; 山の田",
            "#さん, #, #と#; #さん; 山の田",
        ),
        ("Wang^Xiaodong=王^小东", "王小东先生, 小东; 王先生; 王国", "#先生, #; #先生; 王国"),
        ("Kim^Minsu=김^민수", "김민수 씨, 민수; 김 씨; 김밥", "# 씨, #; # 씨; 김밥"),
        ("李^娜", "李 娜 and 李娜", "# and #"),
    ],
)
def test_a_name_is_found_in_every_spelling(name, text, left):
    assert hidden(text, persons=[name]) == left


@pytest.mark.parametrize(
    ("name", "text", "left"),
    [
        ("Li^Na", "Li Na, Na Li. The li in na.", "#. The li in na."),
        ("Do^An", "Do An came. We do an MRI.", "# came. We do an MRI."),
        ("Long^Mary^A", "Mary Long. A long line along Mary.", "#. A long line along #."),
        ("Long^May", "Long segment; a Long was seen; A. Long.", "Long segment; a # was seen; A. Long."),
        ("Heart^White", "The heart is white. White Heart came.", "The heart is white. # came."),
        ("Smith^Adam", "Seen by Smith. A nodule.", "Seen by #. A nodule."),
    ],
)
def test_short_parts_and_ordinary_words_count_where_they_look_like_a_name(name, text, left):
    assert hidden(text, persons=[name]) == left


def test_ordinary_words_that_are_left_alone_are_counted():
    assert identifiers_of(persons=["Long^Heart"]).find("A long heart. Long lungs.")[1] == 3


@pytest.mark.parametrize(
    ("id_", "text", "left"),
    [
        ("A1234567", "A1234567; a-123-4567 and 1234567 but 12345678", "#; # and # but 12345678"),
        ("00412345", "No. 412345 and 0412345 but 4123456", "No. # and # but 4123456"),
        ("17", "17 ribs", "17 ribs"),
        ("2019", "since 2019", "since 2019"),
        ("study0012", "study 12, study0012", "study 12, study0012"),
        ("doe_jane", "Jane Doe; doe", "#; #"),
        ("covid_patient_12", "a covid patient", "a covid patient"),
        ("healthy control 3", "healthy as a control", "healthy as a control"),
    ],
)
def test_an_id_is_found_whole_and_the_names_in_it(id_, text, left):
    assert hidden(text, ids=[id_]) == left


@pytest.mark.parametrize(
    ("place", "text", "left"),
    [
        ("Northfield Chest Center", "At Northfield. At Northfield Chest Center, chest film", "At #. At #, chest film"),
        ("City Hospital", "City Hospital; city; the hospital", "#; city; the hospital"),
        ("RADIOLOGY DEPT, Boston", "radiology of Boston", "radiology of #"),
        ("X-RAY", "the x-ray of the chest", "the x-ray of the chest"),
        ("Ward 3B", "Ward 3B; a ward", "#; a ward"),
    ],
)
def test_a_place_is_found_by_its_own_words(place, text, left):
    assert hidden(text, places=[place]) == left


@pytest.mark.parametrize(
    ("file", "text", "left"),
    [
        ("x/john-doe-3.png", "John Doe, the john doe; by Doe; a doe. Doe, John", "#, the john doe; by Doe; a doe. #"),
        ("legionella-pneumonia-1.png", "Legionella pneumophila; pneumonia of Legionella", None),
        ("pneumocystis-12.png", "Pneumocystis jirovecii, a case of Pneumocystis", None),
        ("701_2020_4374_Fig2_HTML.png", "See (Fig. 2).", None),
        ("patient17/study1/image2.dcm", "The patient of study 1, image 2.", "The patient of study 1, image 2."),
        ("covid/viral_pneumonia/chest.png", "Viral pneumonia of the chest in Covid", None),
        ("p10/p10000032/s50414267/a.dcm", "Subject 10000032; s50414267", "Subject #; #"),
        ("sarcoidosis/1.png", "Sarcoidosis. No sarcoidosis.", None),
    ],
)
def test_words_of_a_file_name_count_where_they_are_a_full_name(file, text, left):
    assert hidden(text, files=[file]) == (text if left is None else left)


def test_what_is_known_adds_up():
    both = identifiers_of(persons=["Roe^Jane"]) | identifiers_of(ids=["K441203"])
    assert len(both.find("Roe, record K441203")[0]) == 2
    assert NOBODY.find("Roe") == ([], 0)


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_plain_letters_fold_as_all_others_do(text):
    folded = tokenize(text + " é")
    assert [token.word for token in folded[:-1]] == [token.word for token in tokenize(text)]
    assert all(
        text[token.start : token.end].lower().replace("'", "").replace("`", "") == token.word for token in folded[:-1]
    )


@given(st.text(), st.lists(st.text(max_size=8), max_size=3))
def test_no_value_of_a_header_breaks_the_search(text, values):
    spans, _ = identifiers_of(values, values, values, values).find(text + " " + " ".join(values))
    assert all(first < last for first, last in spans)
    assert spans == sorted(spans)
