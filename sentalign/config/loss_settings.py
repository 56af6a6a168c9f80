"""The settings of the loss (docs/method.md)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from sentalign.config.strict_model import StrictModel, Tag


class Loss(StrictModel):
    """Weights and temperatures of the terms, see docs/method.md."""

    attention: Literal["paper", "cosine"] = Field("paper", description="dot products, or cosines")
    units: Literal["sentence", "word"] = Field("sentence", description="the units of a report in the local terms")
    aggregate: Literal["lse", "sentence"] = Field("lse", description="a score per report, or per unit of it")
    objective: Literal["softmax", "sigmoid"] = Field("softmax", description="over the batch, or per pair")
    targets: Literal["own", "multi", "mask"] = Field(
        "own", description="what reports of the same text or study are: negatives, positives, or left out"
    )
    sentence_twins: Literal["keep", "drop", "soft"] = Field(
        "keep",
        description="drop: sentences of other reports that the image's own report contains too are left out; "
        "soft: as negatives they and sentences like them are weighted by (1 - cosine)^2",
    )
    tag_weights: dict[Tag, float] = Field(
        default_factory=dict, description="weight in the local terms of a sentence with this tag; 0: it is left out"
    )
    weight_global: float = Field(1.0, ge=0, description="weight of the two image-report terms")
    weight_local: float = Field(1.0, ge=0, description="weight of the two region-sentence terms")
    weight_rescale: float = Field(
        0.0, ge=0, description="weight of the difference between a sentence's map in a zoomed view and its zoomed map"
    )
    rescale: tuple[float, float] = Field((0.66, 1.5), description="smallest and largest zoom of that view")
    weight_window: float = Field(
        0.0, ge=0, description="weight of the difference that blurring all but windows around some cells makes to them"
    )
    window: float = Field(2.0, gt=0, description="side of such a window, in cells of the map")
    view_share: float = Field(
        0.25, gt=0, le=1, description="share of the batch that gets a second view for each of the two terms"
    )
    view_after_pairs: int = Field(
        0,
        ge=0,
        description="image-report pairs before the first second view: maps must be there first, or they go flat",
    )
    weight_swapped: float = Field(
        0.0, ge=0, description="weight of the term in which a sentence with its side swapped is a negative of the image"
    )
    weight_attraction: float = Field(
        0.0, ge=0, description="weight of the distance between a sentence and the regions of its image most like it"
    )
    attraction_share: float = Field(0.2, gt=0, le=1, description="share of the regions that are most like it")
    t1: float = Field(4.0, gt=0, description="sharpness of the paper attention over regions")
    t2: float = Field(5.0, gt=0, description="sharpness of the sum over a report's units")
    t3: float = Field(10.0, gt=0, description="scale of the logits")
    tau: float = Field(0.1, gt=0, description="temperature of the cosine attention")
    tau_contrast: float | None = Field(
        None, gt=0, description="temperature of the logits of aggregate=sentence; null: the same as tau"
    )
    bias_global: float = Field(-10.0, description="added to the logits of objective=sigmoid")
    bias_local: float = Field(
        -40.0, description="likewise; T3 Z is about T3 (T2 cos + log units), cos / tau_contrast far less"
    )
    learn: list[Literal["t1", "t2", "t3", "tau", "tau_contrast", "bias_global", "bias_local"]] = Field(
        default_factory=list,
        description="temperatures and biases that are learned; the settings above are initial values",
    )

    @property
    def views(self) -> dict[str, float]:
        """The kinds of second view that the loss uses, by name of their term, and the term's weight."""
        weights = {"rescale": self.weight_rescale, "window": self.weight_window}
        return {kind: weight for kind, weight in weights.items() if weight}

    @model_validator(mode="after")
    def _zooms_are_a_range(self) -> Loss:
        low, high = self.rescale
        if not 0 < low <= high:
            raise ValueError(f"loss.rescale is [smallest, largest] zoom, both above 0, not [{low:g}, {high:g}]")
        return self

    @model_validator(mode="after")
    def _swapped_negatives_are_sentences(self) -> Loss:
        if self.weight_swapped and self.units == "word":
            raise ValueError(
                "loss.weight_swapped compares sentences with their swapped form, which most words do not have; "
                "set loss.units=sentence, or loss.weight_swapped=0"
            )
        return self

    @model_validator(mode="after")
    def _attraction_has_a_contrast(self) -> Loss:
        if self.weight_attraction and not self.weight_local:
            raise ValueError(
                "loss.weight_attraction alone makes all regions and sentences equal; set loss.weight_local above 0"
            )
        return self

    @model_validator(mode="after")
    def _weights_are_shares(self) -> Loss:
        wrong = [f"{tag}={weight:g}" for tag, weight in self.tag_weights.items() if not 0 <= weight <= 1]
        if wrong:
            raise ValueError(f"loss.tag_weights are between 0 and 1, not {', '.join(wrong)}")
        return self

    @model_validator(mode="after")
    def _learned_numbers_have_a_part(self) -> Loss:
        used = {
            "t1": self.attention == "paper",
            "tau": self.attention == "cosine",
            "tau_contrast": self.aggregate == "sentence",
            "t2": self.aggregate == "lse",
            "bias_global": self.objective == "sigmoid",
            "bias_local": self.objective == "sigmoid",
        }
        if idle := [name for name in self.learn if not used.get(name, True)]:
            raise ValueError(f"loss.learn: {', '.join(idle)} has no part in this loss; leave it out")
        if len(set(self.learn)) < len(self.learn):
            raise ValueError("loss.learn names a number twice")
        return self

    @model_validator(mode="after")
    def _sentences_want_cosines(self) -> Loss:
        if self.aggregate == "sentence" and self.attention != "cosine":
            raise ValueError("loss.aggregate=sentence needs loss.attention=cosine")
        return self
