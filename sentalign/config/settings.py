"""Every setting of a run: its name, type, default, bounds and meaning; towers and loss have modules of their own.

In: plain mappings. Out: `Config` and its sections, or pydantic's errors, which file.py turns into one line.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sentalign.config.loss_settings import Loss
from sentalign.config.map_settings import Maps
from sentalign.config.model_settings import Model
from sentalign.config.strict_model import StrictModel, Tag
from sentalign.config.validation_settings import Validation

Share = Annotated[float, Field(ge=0, lt=1)]


class Augment(StrictModel):
    """Random changes of the training images; shares of the image side, radians. For the mirror see data.mirror."""

    shift: float = Field(0.0, ge=0, le=0.5, description="largest shift, share of the image side")
    scale: float = Field(0.0, ge=0, lt=1, description="largest change of scale; 0.1: 0.9 to 1.1")
    rotate: float = Field(0.0, ge=0, le=3.15, description="largest rotation, radians")
    contrast: float = Field(0.0, ge=0, lt=1, description="largest relative change of contrast")
    brightness: float = Field(0.0, ge=0, lt=1, description="largest change of brightness, 1: black to white")


class DataSource(StrictModel):
    """One data set of a mixture."""

    url: str = Field(description="folder or URL of its shards")
    weight: float = Field(1.0, gt=0, description="its share of each batch, against the other weights")


class Data(StrictModel):
    """Which shards are streamed, and how a sample becomes a row of the batch."""

    shards: str | Annotated[list[DataSource], Field(min_length=1)] = Field(
        description="folder or URL, or a list of {url, weight} that are mixed"
    )
    train_split: str = Field("train", description="split that is trained on")
    validation_split: str = Field("validate", description="split that the best weights are chosen on")
    batch: int = Field(128, ge=2, description="image-report pairs in one global batch, all ranks together")
    image_size: int = Field(224, ge=32, description="side of the square network input, pixels")
    long_side: int = Field(0, ge=0, description="long side of the picture inside that square; 0: the whole square")
    max_tokens: int = Field(97, ge=8, description="longest report, word pieces with [CLS] and [SEP]")
    length_buckets: int = Field(1, ge=1, description="parts of a rank's reports, by length, each padded to its own")
    sentence_subset: bool = Field(True, description="a random part of the report's sentences each step, shuffled")
    context: Literal["report", "sentence"] = Field(
        "report", description="what a sentence is encoded in, in training: its report, or alone as in a query"
    )
    drop_tags: list[Tag] = Field(
        default_factory=list, description="sentences that training leaves out, unless the report has no others"
    )
    mirror: float = Field(0.0, ge=0, le=1, description="share of training images mirrored, with sides swapped in text")
    upside_down: float = Field(
        0.0, ge=0, le=1, description="share of training images upside down, with their coordinates; text unchanged"
    )
    block: int = Field(16, ge=1, le=1 << 20, description="neighbours that are fetched together; 1: full shuffle")
    max_duplicates: int = Field(0, ge=0, description="samples of one text or patient in a batch at most; 0: no bound")
    duplicate_keys: list[Literal["text", "patient", "study"]] = Field(
        ["text", "patient"], min_length=1, description="what max_duplicates compares"
    )
    on_damage: Literal["fail", "replace"] = Field(
        "fail", description="if a sample cannot be read: end the run, or take another sample in its place"
    )
    damage_budget: float = Field(0.01, ge=0, le=1, description="share of an epoch that may be replaced")
    workers: int = Field(2, ge=0, le=512, description="decoding processes of each rank")
    prefetch_mb: float = Field(256, gt=0, le=1 << 20, description="MB that a worker fetches ahead of use")
    cache: str | None = Field(None, description="local folder that keeps whole shards of remote stores; null: ranges")
    cache_gb: float = Field(100, gt=0, description="GB in that folder; shards that do not fit are read by ranges")
    timeout: float = Field(
        300, gt=0, description="seconds for a worker's part of a batch; a store may be silent or down for a quarter"
    )
    augment: Augment = Augment()

    @property
    def sources(self) -> list[DataSource]:
        """The data sets; one without a weight is a mixture of one."""
        return [DataSource(url=self.shards)] if isinstance(self.shards, str) else self.shards

    @property
    def urls(self) -> list[str]:
        """Where the data sets lie."""
        return [source.url for source in self.sources]

    @property
    def store_timeout(self) -> float:
        """Seconds until a request to a store fails: a sample may wait for that, and for two others in its place."""
        return self.timeout / 4

    @model_validator(mode="after")
    def _bound_is_one(self) -> Data:
        if self.max_duplicates > self.batch:
            raise ValueError(
                f"data.max_duplicates {self.max_duplicates} is more than data.batch {self.batch}; 0 is no bound"
            )
        return self

    @model_validator(mode="after")
    def _picture_fits(self) -> Data:
        if self.long_side > self.image_size:
            raise ValueError(f"data.long_side {self.long_side} is larger than data.image_size {self.image_size}")
        return self


class Optimizer(StrictModel):
    """AdamW or SGD, its schedule and its limits."""

    kind: Literal["adamw", "sgd"] = Field("adamw", description="AdamW, or SGD with momentum")
    lr: float = Field(2e-5, gt=0, description="learning rate, after the warm-up and before the decay")
    betas: tuple[Share, Share] = Field((0.5, 0.999), description="decay rates of the moments, adamw")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum, sgd")
    weight_decay: float = Field(1e-6, ge=0, description="decoupled for adamw, added to the gradient for sgd")
    decay_norms: bool = Field(True, description="false: no weight decay of biases, norms and learned temperatures")
    gradient_clipping: float = Field(0.25, ge=0, description="largest gradient norm; 0: no limit")
    warmup_pairs: int = Field(0, ge=0, description="image-report pairs over which the learning rate rises to lr")
    schedule: Literal["exponential", "cosine", "constant"] = Field("exponential", description="of the learning rate")
    decay: float = Field(0.9, gt=0, le=1, description="factor of the learning rate per epoch, exponential schedule")


class Train(StrictModel):
    """How long, with what precision, and how the state is spread over ranks."""

    epochs: int = Field(5, ge=1, description="passes over the training split")
    zero_stage: Literal[0, 1, 2, 3] = Field(1, description="1: ranks share optimizer state; 2: gradients; 3: weights")
    micro_batch: int = Field(
        0, ge=0, description="pairs of one rank that are in memory at once, by the cached step; 0: its whole share"
    )
    offload: Literal["none", "optimizer", "all"] = Field(
        "none",
        description="what lies in the host's memory: the optimizer's state (ZeRO 1 to 3), all weights too (ZeRO 3)",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the towers' matrix products and convolutions; weights and gradients stay float32"
    )
    recompute: Literal["none", "text", "image", "both"] = Field(
        "none", description="towers whose layers are computed again in the backward pass, to save memory"
    )
    compile: bool = Field(
        False, description="the image tower by torch.compile, at ZeRO 0 to 2; steps are faster after the first minute"
    )
    ema_pairs: float = Field(
        0.0, ge=0, description="half-life, in pairs, of the averaged weights that are validated and kept; 0: no average"
    )
    on_nonfinite: Literal["stop", "skip"] = Field(
        "stop", description="at a loss or gradient that is NaN or inf: end the run, or skip the step"
    )
    validate_every_pairs: int = Field(0, ge=0, description="pairs from one validation to the next; 0: an epoch")
    checkpoint_every_pairs: int = Field(0, ge=0, description="pairs between checkpoints; 0: at validation")
    checkpoint_every_minutes: float = Field(0.0, ge=0, description="also after so many minutes; 0: never")
    keep_checkpoints: int = Field(2, ge=1, description="checkpoints that are kept, the newest ones")
    timeout_minutes: float = Field(30.0, gt=0, description="longest wait for the other ranks in one collective")

    @field_validator("precision", mode="before")
    @classmethod
    def _float16_is_gone(cls, value: object) -> object:
        if value == "float16":
            raise ValueError("float16 is no longer supported; set train.precision=bfloat16, which needs no loss scale")
        return value

    @model_validator(mode="after")
    def _compiled_weights_stay(self) -> Train:
        if self.compile and self.zero_stage == 3:
            raise ValueError("train.compile=true needs train.zero_stage 0, 1 or 2: ZeRO 3 moves weights about")
        return self

    @model_validator(mode="after")
    def _there_is_something_to_offload(self) -> Train:
        if self.offload == "all" and self.zero_stage != 3:
            raise ValueError(
                f"train.offload=all needs train.zero_stage=3, not {self.zero_stage}; or set it to optimizer"
            )
        if self.offload == "optimizer" and self.zero_stage == 0:
            raise ValueError("train.offload=optimizer needs train.zero_stage 1, 2 or 3")
        return self


class Track(StrictModel):
    """Where MLflow keeps the run; the local journal is always written."""

    uri: str | None = Field("sqlite:///mlflow.db", description="MLflow store; null: journal only")
    experiment: str = Field("sentalign", description="name of the MLflow experiment")
    parent_run: str | None = Field(None, description="MLflow run that this one is nested in; null: none")


class Config(StrictModel):
    """Everything that decides a run."""

    run: str = Field(description="folder of the run; created if missing")
    seed: int = Field(0, description="of initial weights, sample order, augmentation and dropout")
    data: Data
    model: Model = Model()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    train: Train = Train()
    maps: Maps = Maps()
    validation: Validation = Validation()
    track: Track = Track()

    @model_validator(mode="after")
    def _views_are_upright(self) -> Config:
        if self.data.upside_down and self.loss.views:
            raise ValueError(
                "data.upside_down cannot be used with loss.weight_rescale or loss.weight_window; set one of them to 0"
            )
        return self
