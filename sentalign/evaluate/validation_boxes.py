"""The cases of `validation.boxes`, which a training localizes at each validation, opened and tried.

In: the settings `validation`. Out: `Case`s, at least one with an image that can be read, or UserError.
"""

from __future__ import annotations

from pathlib import Path

from sentalign.config import Config
from sentalign.evaluate import predict_cases
from sentalign.evaluate.datasets import validation_part
from sentalign.evaluate.datasets.case import Case
from sharding.contract import UserError


def read(config: Config) -> list[Case]:
    """None without `validation.boxes`. Raises UserError."""
    settings = config.validation
    if not settings.boxes:
        return []
    cases = validation_part.read(Path(settings.boxes), settings.boxes_kind, settings.cases)
    # Decoders are imported on use: workers that are forked while a thread imports could hang.
    if not any(predict_cases.read_picture(case) for case in cases):
        raise UserError(f"not one image of the validation part of {settings.boxes} can be read; check its files")
    return cases
