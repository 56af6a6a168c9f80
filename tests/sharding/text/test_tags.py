"""Tags follow what a sentence says, with the scope of its negations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.text import tags

WORDS = st.sampled_from(
    [
        "no",
        "without",
        "clear",
        "normal",
        "heart",
        "effusion",
        "may",
        "or",
        "unchanged",
        "recommended",
        ";",
        ".",
        ",",
        "XXXX",
        "___",
        "new",
        "not",
    ]
)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("No pleural effusion.", "negated"),
        ("Pneumothorax is not identified.", "negated"),
        ("No acute cardiopulmonary process.", "negated normal"),
        ("Negative chest.", "negated normal"),
        ("Lungs are clear without effusion.", "negated normal"),
        ("Cardiomegaly without edema.", ""),
        ("No pneumothorax, but a small effusion.", ""),
        ("No pneumothorax with small effusion.", ""),
        ("No effusion and the heart is enlarged.", ""),
        ("No abnormality other than mild edema.", ""),
        ("Not only edema but also effusion.", ""),
        ("No pneumothorax, stable cardiomegaly.", "comparison"),
        ("No change in the right effusion.", "comparison"),
        ("Right effusion without change.", "comparison"),
        ("The effusion is no longer seen.", "negated comparison"),
        ("No new consolidation.", "negated comparison"),
        ("Unchanged cardiomegaly.", "comparison"),
        ("Multiple prior rib fractures after prior surgery.", ""),
        ("Clips are seen as on the prior film.", "comparison"),
        ("Cannot exclude a small pneumothorax.", "uncertain"),
        ("Effusion cannot be excluded.", "uncertain"),
        ("Possible pneumonia.", "uncertain"),
        ("Atelectasis or infiltrate at the base.", "uncertain"),
        ("No focal opacity to suggest pneumonia.", "negated"),
        ("Heart size appears normal.", "normal"),
        ("Heart size is normal with tortuous aorta.", ""),
        ("Heart size is normal.", "normal"),
        ("Findings were discussed with Dr. ___ by telephone.", "non-image"),
        ("Two views of the chest were obtained.", "non-image"),
        ("PA and lateral chest radiographs.", "non-image"),
        ("Two views of the chest show edema.", ""),
        ("CT is recommended.", "non-image"),
        ("Nodule in the right lung, CT is recommended.", ""),
        ("If symptoms persist, CT is recommended.", "comparison non-image"),
        ("No prior studies for comparison.", "non-image"),
        ("Left lower lobe consolidation.", ""),
        *((f"Specifically, {words}no evidence of edema or effusion.", "negated") for words in ("", "there is ")),
        ("Cardio mediastinal silhouette is unremarkable.", "normal"),
        ("Normal hilar vascular markings.", "normal"),
        ("Sacrum and sacroiliac joints are normal.", "normal"),
        ("The epiglottis is within normal limits.", "normal"),
        ("The line is in normal position.", ""),
        ("The lungs are not clear.", ""),
        ("Increased peribronchial cuffing.", ""),
        ("Mild increased airspace opacity, which may be atelectasis.", "uncertain"),
        ("Increased opacity compared to the prior image.", "comparison"),
        ("Lung volumes are decreased.", ""),
        ("The effusion has increased.", "comparison"),
        ("Decreased left airspace disease.", "comparison"),
        ("Scarring and/or atelectasis.", ""),
        *(
            (f"Pneumothorax: {word}.", "negated")
            for word in ("none", "nil", "absent", "No", "not seen", "(-)", "negative")
        ),
        ("Effusion (-), edema (-).", "negated"),
        ("Effusion: none. Nodule: yes.", ""),
        *((f"There isn{mark}t any pneumothorax.", "negated") for mark in "'’‘`´"),
        *((f"Effusion can{mark}t be excluded.", "uncertain") for mark in "'’"),
        ("It would be difficult to exclude pneumonia.", "uncertain"),
        ("Suggest clinical correlation.", "non-image"),
        ("XXXX.", ""),
        ("", ""),
    ],
)
def test_tags(sentence, expected):
    assert " ".join(tags.of(sentence)) == expected


@given(st.text() | st.lists(WORDS, max_size=12).map(" ".join))
def test_tags_stand_in_their_order_and_ignore_case(text):
    found = tags.of(text)
    assert found == tuple(name for name in tags.TAGS if name in found)
    if text.isascii():
        assert tags.of(text.upper()) == found
