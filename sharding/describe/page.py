"""The statistics and some samples of a data set → one self-contained HTML page.

In: the dictionary of `statistics`, gallery samples with thumbnails. Out: HTML text. Layout and style are in
`templates/`; every value is escaped there (autoescape), since reports hold arbitrary text.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sharding import page_templates

FOLDED = 20  # reports with more sentences share one bar
PIXEL_TITLES = {
    "codec": "Codec",
    "photometric": "Colour model",
    "bits": "Bits stored",
    "voi_source": "Grey range from",
    "inverted": "Inverted for display",
    "looks": "Looks",
}
LAYOUT = {"MAX_BARS": 16, "MAX_SENTENCES": 6, "FOLDED": FOLDED, "PIXEL_TITLES": PIXEL_TITLES}


@dataclass(frozen=True)
class GallerySample:
    """One sample to show: its manifest row, its sentences, a JPEG thumbnail (None: cannot be read), how it looks."""

    row: Mapping[str, Any]
    sentences: Sequence[Mapping[str, Any]]
    jpeg: bytes | None = field(repr=False)
    looks: str = ""


def render(data: Mapping[str, Any], gallery: Sequence[GallerySample]) -> str:
    """The page of `statistics.compute` and the gallery."""
    environment = page_templates.load("sharding.describe")
    environment.filters |= {
        "thousands": "{:,}".format,
        "bytes": _size,
        "share": _share,
        "base64": lambda data: base64.b64encode(data).decode(),
    }
    return environment.get_template("page.html.j2").render(data=data, gallery=gallery, **LAYOUT, **_charts(data))


def _charts(data: Mapping[str, Any]) -> dict[str, Any]:
    """The statistics that a chart shows in another arrangement."""
    splits = {part: {name: both[part] for name, both in data["splits"].items()} for part in ("samples", "patients")}
    return {
        "splits": splits,
        "histogram": _folded(data["sentences"]["histogram"]),
        "repeated": [(item["text"], item["count"]) for item in data["most_repeated"]],
        "reasons": {f"{row['reason']} (by {row['stage']})": row["count"] for row in data["quarantine"]["reasons"]},
    }


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _share(count: int, total: int) -> str:
    percent = 100 * count / total
    return f"{percent:.0f}%" if percent >= 10 or count == 0 else f"{percent:.1f}%"


def _folded(histogram: Mapping[str, int]) -> dict[str, int]:
    """Reports by their number of sentences, those over FOLDED together."""
    few = {number: count for number, count in histogram.items() if int(number) <= FOLDED}
    rest = sum(histogram.values()) - sum(few.values())
    return few | ({f"over {FOLDED}": rest} if rest else {})
