"""What every section of the settings is made of: unknown keys, changes and NaN are refused."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Tag = Literal["negated", "uncertain", "normal", "comparison", "non-image"]


class StrictModel(BaseModel):
    """A part of the configuration; unknown keys are errors, so that a typing mistake never passes silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
