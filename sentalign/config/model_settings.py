"""The settings of the two towers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from sentalign.config.strict_model import StrictModel


class ImageTowerConfig(StrictModel):
    """The image encoder: any vision backbone of transformers."""

    weights: str | None = Field(None, description="hub name or local folder; null: random weights from `backbone`")
    backbone: dict[str, Any] = Field(
        default_factory=dict, description="transformers config of the backbone, with model_type; unused with weights"
    )
    region_stage: str = Field("stage3", description="backbone stage whose positions are the regions")
    fused_stages: list[str] = Field(
        default_factory=list, description="further stages that are added to the regions, at the grid of region_stage"
    )
    global_stage: str = Field("stage4", description="backbone stage that is pooled to the global vector")
    coordinates: Literal["none", "x", "xy"] = Field(
        "none", description="channels beside grey: the column, or column and row, from -1 to 1; none: grey again"
    )
    vertical_symmetry: bool = Field(
        False,
        description="kernels are their own upside-down images, so that no region learns to look below its centre; new "
        "convolutional backbones only, with coordinates none or x",
    )
    norm: Literal["batch", "frozen", "sync", "group"] = Field(
        "batch",
        description="batch: by each rank's rows; frozen: by the running statistics of the weights, scale and shift "
        "still trained; sync: by the rows of all ranks; group: by each image, in place of batch norm",
    )

    @field_validator("coordinates", mode="before")
    @classmethod
    def _of_former_files(cls, value: object) -> object:
        return {False: "none", True: "xy"}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _symmetry_can_be_kept(self) -> ImageTowerConfig:
        if self.vertical_symmetry and self.weights is not None:
            raise ValueError("model.image.vertical_symmetry would change the kernels of model.image.weights")
        if self.vertical_symmetry and self.coordinates == "xy":
            raise ValueError("model.image.vertical_symmetry has no effect with the rows as a channel; coordinates: x")
        return self

    @model_validator(mode="after")
    def _each_stage_is_added_once(self) -> ImageTowerConfig:
        stages = [self.region_stage, *self.fused_stages]
        if len(set(stages)) < len(stages):
            raise ValueError(
                f"model.image.fused_stages {self.fused_stages} and region_stage {self.region_stage} name a stage twice"
            )
        return self


class TextTowerConfig(StrictModel):
    """The text encoder: a BERT and its vocabulary."""

    weights: str | None = Field(None, description="hub name or local folder; null: random weights from `backbone`")
    backbone: dict[str, Any] = Field(default_factory=dict, description="BertConfig fields; unused with weights")
    vocabulary: str | None = Field(None, description="vocab.txt or folder; null: of the weights, else trained")
    vocabulary_size: int = Field(2000, ge=100, description="word pieces, where the vocabulary is trained")
    cased: bool = Field(True, description="keep upper and lower case apart")
    last_layers: int = Field(4, ge=1, description="hidden layers that are summed, from the last one")


class Model(StrictModel):
    """The two towers and their common width."""

    image: ImageTowerConfig = ImageTowerConfig()
    text: TextTowerConfig = TextTowerConfig()
    width: int = Field(768, ge=8, description="width D of region, global, sentence and report vectors")

    @model_validator(mode="after")
    def _text_is_as_wide(self) -> Model:
        width = self.text.backbone.get("hidden_size", 768)
        if self.text.weights is None and width != self.width:
            raise ValueError(f"model.width {self.width} must equal model.text.backbone.hidden_size {width}")
        return self
