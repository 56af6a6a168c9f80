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

    box_level: float | None = Field(
        None, gt=0, lt=1, description="part of a map's range above which boxes lie; null: 0.5 if registered, else 0.65"
    )

    @property
    def level(self) -> float:
        """`box_level`, or its default.

        0.65 of the range is 0.3 on the scale [-1, 1], the middle of the published thresholds 0.1 to 0.5. Registered
        maps are narrower: their boxes agreed best with the true ones at half of the range (docs/method.md).
        """
        return self.box_level or (0.5 if self.registered else 0.65)

    @field_validator("prompts")
    @classmethod
    def _prompts_hold_the_sentence(cls, prompts: list[str]) -> list[str]:
        wrong = [template for template in prompts if "{}" not in template or "{" in template.replace("{}", "", 1)]
        if wrong:
            raise ValueError(f"maps.prompts: {wrong[0]!r} must hold {{}} once, where the sentence stands")
        return prompts
