"""The audit says by which rules a build was made and counts by kind, and holds nothing else."""

from __future__ import annotations

import json
from collections import Counter

from sharding.deid import deidentified_dicom, secondary_captures
from sharding.deid.audit import summary
from sharding.deid.reports.identifiers import identifiers_of
from sharding.deid.reports.identity_patterns import KINDS
from sharding.deid.reports.masking import KNOWN, mask


def test_the_counts_of_texts_and_headers_are_told_apart():
    counts: Counter[str] = Counter()
    known = identifiers_of(persons=["Long^Mary"])
    for text in ("Mary was seen on 3/12/2019.", "A long line.", "Call 617-555-0123."):
        counts += mask(text, known)[1]
    counts.update(secondary_captures.counted(None))
    found = summary(counts, samples=3, rejected={"de-identification": 2, "parse": 1}, strict=False, image_member="jpg")
    assert found["masked_in_reports"] == dict.fromkeys((KNOWN, *KINDS), 0) | {"known": 1, "date": 1, "phone": 1}
    assert found["names_left_as_ordinary_words"] == 1
    assert found["images"] == dict.fromkeys(secondary_captures.COUNTED, 0) | {"no_dicom_header": 1}
    assert (found["samples"], found["refused"]) == (3, 2)


def test_the_rules_that_applied_are_named():
    strict = summary(Counter(), samples=0, rejected={}, strict=True, image_member="dcm")["rules"]
    loose = summary(Counter(), samples=0, rejected={}, strict=False, image_member="png")["rules"]
    assert (strict["captures"], loose["captures"]) == ("strict", "flagged")
    assert strict["header"] == deidentified_dicom.PROFILE
    assert strict["reports"] == loose["reports"]


def test_a_kind_that_no_rule_has_stays_outside():
    found = summary(Counter({"Zimmermann": 3}), samples=1, rejected={}, strict=False, image_member="jpg")
    assert "Zimmermann" not in json.dumps(found)
