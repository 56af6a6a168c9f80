"""The audit of a build: the de-identification rules, what was masked, the header flags of the images.

In: the counts of `masking.mask` and `secondary_captures.counted` over all samples, and the rejections. Out: the
content of audit.json, with numbers and names of rules only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sharding.contract import FORMAT_VERSION, Reason
from sharding.deid import deidentified_dicom, secondary_captures
from sharding.deid.reports import masking
from sharding.deid.reports.identity_patterns import RULES_VERSION

NO_HEADER = "none: pictures carry no header"
NOT_SEARCHED = "not searched for text"


def summary(
    counts: Counter[str],
    *,
    samples: int,
    rejected: Mapping[str, int],
    strict: bool,
    image_member: str,
    pixel_text: str | None = None,
) -> dict[str, Any]:
    """`rejected` counts by reason; `strict`: the rules for Secondary Captures; `pixel_text`: the engine, if any."""
    return {
        "format_version": FORMAT_VERSION,
        "samples": samples,
        "rules": {
            "reports": f"identity rules {RULES_VERSION}",
            "captures": "strict" if strict else "flagged",
            "pixels": pixel_text or NOT_SEARCHED,
            "header": deidentified_dicom.PROFILE if image_member == "dcm" else NO_HEADER,
        },
        "masked_in_reports": {kind: counts[kind] for kind in masking.MASKED_KINDS},
        "names_left_as_ordinary_words": counts[masking.ORDINARY_WORD],
        "images": {kind: counts[kind] for kind in secondary_captures.COUNTED},
        "refused": rejected.get(Reason.DEIDENTIFICATION.value, 0),
        "with_text_in_the_pixels": rejected.get(Reason.PIXEL_TEXT.value, 0),
    }
