"""The audit of a build: by which rules it was de-identified, what was masked, what the headers said of their pixels.

In: the counts that `scan.mask` and `secondary_captures.counted` gave for each sample, and the rejections. Out: a
dictionary for audit.json. It holds numbers and names of rules only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sharding.contract import FORMAT_VERSION, Reason
from sharding.deid import deidentified_dicom, scan, secondary_captures
from sharding.deid.identity_patterns import RULES_VERSION

NO_HEADER = "none: pictures carry no header"


def summary(
    counts: Counter[str], *, samples: int, rejected: Mapping[str, int], strict: bool, image_member: str
) -> dict[str, Any]:
    """The audit of a build of so many samples; `rejected` counts by reason, `strict` says how captures were judged."""
    return {
        "format_version": FORMAT_VERSION,
        "samples": samples,
        "rules": {
            "reports": f"identity rules {RULES_VERSION}",
            "captures": "strict" if strict else "flagged",
            "header": deidentified_dicom.PROFILE if image_member == "dcm" else NO_HEADER,
        },
        "masked_in_reports": {kind: counts[kind] for kind in scan.MASKED_KINDS},
        "names_left_as_ordinary_words": counts[scan.ORDINARY_WORD],
        "images": {kind: counts[kind] for kind in secondary_captures.COUNTED},
        "refused": rejected.get(Reason.DEIDENTIFICATION.value, 0),
    }
