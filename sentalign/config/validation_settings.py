"""The settings `validation`: boxes that the maps of each validation are measured with. They change no weight.

In: a plain mapping. Out: `Validation`, or pydantic's errors.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sentalign.config.strict_model import StrictModel


class Validation(StrictModel):
    """Localization at each validation, see docs/training.md."""

    boxes: str | None = Field(
        None, description="MS-CXR folder or file whose validation part is localized, or a table; null: none"
    )
    boxes_kind: Literal["ms-cxr", "table"] = Field("ms-cxr", description="what boxes names")
    cases: int = Field(200, ge=1, description="cases that are localized, drawn by category, the same in every run")
    map: Literal["plain", "mirrored", "registered", "both"] = Field(
        "plain", description="map that is scored, in place of the settings maps; plain costs least"
    )
