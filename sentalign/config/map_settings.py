"""The settings `maps`: how the maps of a trained model are made. They change no weight.

In: a plain mapping. Out: `Maps`, or pydantic's errors.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from sentalign.config.strict_model import StrictModel


class Maps(StrictModel):
    """How the maps of a trained model are made, see docs/method.md."""

    mirrored: bool = Field(
        True, description="mean with the mirrored picture, queried by the sentence with left and right exchanged"
    )
    registered: bool = Field(
        True, description="times where in the receptive fields the evidence lies, by the gradient at the pixels"
    )
    prompts: list[str] = Field(
        ["{}"], min_length=1, description="wordings of the sentence whose vectors are averaged; {} is the sentence"
    )

    @field_validator("prompts")
    @classmethod
    def _prompts_hold_the_sentence(cls, prompts: list[str]) -> list[str]:
        wrong = [template for template in prompts if "{}" not in template or "{" in template.replace("{}", "", 1)]
        if wrong:
            raise ValueError(f"maps.prompts: {wrong[0]!r} must hold {{}} once, where the sentence stands")
        return prompts
