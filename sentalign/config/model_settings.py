"""The settings of the two towers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

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
    coordinates: bool = Field(False, description="channels grey, x, y instead of three times grey")
    norm: Literal["batch", "frozen", "sync", "group"] = Field(
        "batch",
        description="batch: by each rank's rows; frozen: by the running statistics of the weights, scale and shift "
        "still trained; sync: by the rows of all ranks; group: by each image, in place of batch norm",
    )

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

    start: str | None = Field(
        None, description="run or export folder, of the same towers, whose weights training starts from; null: none"
    )
    image: ImageTowerConfig = ImageTowerConfig()
    text: TextTowerConfig = TextTowerConfig()
    width: int = Field(768, ge=8, description="width D of region, global, sentence and report vectors")

    @model_validator(mode="after")
    def _text_is_as_wide(self) -> Model:
        width = self.text.backbone.get("hidden_size", 768)
        if self.text.weights is None and width != self.width:
            raise ValueError(f"model.width {self.width} must equal model.text.backbone.hidden_size {width}")
        return self
