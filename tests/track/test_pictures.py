"""Which sentences of a report are drawn; the maps themselves are tested with a whole run (tests/e2e)."""

from __future__ import annotations

from sentalign.track.pictures import findings


def test_findings_are_what_may_have_a_place():
    several = [
        "Small left pleural effusion.",
        "No pneumothorax.",
        "The heart is normal in size.",
        "Right apical nodule.",
    ]
    assert findings(several) == ["Small left pleural effusion.", "Right apical nodule."]
    assert findings([]) == []
