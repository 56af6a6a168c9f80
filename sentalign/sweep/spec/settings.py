"""Every setting of a sweep: its name, type, default and meaning.

In: plain mappings. Out: `Sweep` and its sections, or pydantic's errors. Files and overrides are in sweep_file.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from sentalign.config import StrictModel
from sentalign.sweep.spec.domain import Domain, condition_of, in_order

Mode = Literal["min", "max"]
PAUSING = ("hyperband", "pbt")  # schedulers that pause trials, and hold more than run at the same time
READ_BY = {  # settings of the scheduler that only some kinds read
    "grace_pairs": ("asha", "median"),
    "reduction_factor": ("asha", "hyperband"),
    "perturb_every_pairs": ("pbt",),
}


class Scheduler(StrictModel):
    """Which trials Ray Tune stops early; everything is counted in image-report pairs."""

    kind: Literal["asha", "hyperband", "median", "pbt", "none"] | None = Field(
        None, description="null: asha for one metric, none for several"
    )
    grace_pairs: int | None = Field(
        None, ge=1, description="asha, median: pairs before which no trial is stopped; null: a ninth, whole validations"
    )
    max_pairs: int | None = Field(None, ge=1, description="pairs at which every trial is stopped; null: a whole run")
    reduction_factor: float = Field(3, gt=1, description="asha, hyperband: one in this many trials goes on")
    perturb_every_pairs: int | None = Field(
        None, ge=1, description="pbt: pairs after which a trial may take over another one; null: a ninth"
    )

    @model_validator(mode="after")
    def _grace_is_at_most_max(self) -> Scheduler:
        if self.grace_pairs and self.max_pairs and self.grace_pairs > self.max_pairs:
            raise ValueError(f"grace_pairs {self.grace_pairs} is more than max_pairs {self.max_pairs}")
        return self


class Sweep(StrictModel):
    """All settings of a sweep."""

    base: Path = Field(description="training configuration; relative to the sweep file")
    out: Path = Field(description="folder of the sweep; one folder a trial inside")
    overrides: dict[str, Any] = Field(default_factory=dict, description="dotted settings that all trials share")
    space: dict[str, Domain] = Field(min_length=1, description="dotted settings that vary")
    points: list[dict[str, Any]] = Field(
        default_factory=list, description="points to try first, after the base's own; left out: the base's value"
    )
    searcher: Literal["random", "optuna"] = Field("random", description="who chooses points: by chance, or TPE")
    scheduler: Scheduler = Scheduler()
    seed: int = Field(0, ge=0, description="the same seed draws the same random points")
    trials: int = Field(16, ge=1, description="points that are tried, the base's own included")
    seeds: int = Field(1, ge=1, description="trainings of each point, from different starts; means are compared")
    seeds_at_once: int = Field(1, ge=1, description="trainings of a point at the same time; cpus and gpus are of one")
    concurrent: int = Field(1, ge=1, description="trials at the same time, at most")
    nodes: int = Field(1, ge=1, description="nodes that one training spans, by Ray Train; each takes an equal share")
    ranks: int = Field(1, ge=1, description="processes of one training, on all its nodes together")
    cpus: float = Field(1, gt=0, description="CPU cores that one training takes, on all its nodes together")
    gpus: int = Field(0, ge=0, description="GPUs that one training takes: none, or one a rank")
    metric: str | None = Field(None, description="metric that is compared; null: localization, else label-free recall")
    mode: Mode | None = Field(None, description="null: max, but min for losses and offsets")
    metrics: dict[str, Mode] = Field(default_factory=dict, description="several metrics and their modes: a Pareto set")
    constraints: dict[str, str] = Field(
        default_factory=dict, description='bounds of other metrics, for example "validation/side": ">= 0.95"'
    )
    retries: int = Field(2, ge=0, description="restarts of a failed or lost training, each from its checkpoint")
    first_step: bool = Field(True, description="try one step of the base first: errors and memory of all trials")
    max_failures: int | None = Field(None, ge=1, description="failed trials that end the sweep; null: any number")
    time_budget: float | None = Field(
        None, gt=0, description="minutes after which the sweep ends; the same command goes on; null: none"
    )

    @model_validator(mode="after")
    def _a_gpu_for_each_rank(self) -> Sweep:
        if self.gpus not in (0, self.ranks):
            raise ValueError(f"gpus {self.gpus} must be 0 or equal ranks {self.ranks}")
        return self

    @model_validator(mode="after")
    def _nodes_share_the_ranks(self) -> Sweep:
        if self.ranks % self.nodes:
            raise ValueError(f"ranks {self.ranks} must be a multiple of nodes {self.nodes}")
        if self.nodes > 1 and self.scheduler.kind in PAUSING:
            raise ValueError(
                f"scheduler {self.scheduler.kind} pauses trials, which trainings over {self.nodes} nodes cannot; "
                "choose asha, median or none"
            )
        return self

    @model_validator(mode="after")
    def _metrics_are_given_once(self) -> Sweep:
        if self.metrics and (self.metric or self.mode):
            raise ValueError("give metric and mode, or metrics, not both")
        return self

    @model_validator(mode="after")
    def _conditions_have_an_order(self) -> Sweep:
        for setting, _ in in_order(self.space):
            condition_of(self.space, setting)
        return self

    @model_validator(mode="after")
    def _points_are_in_the_space(self) -> Sweep:
        for point in self.points:
            if unknown := [setting for setting in point if setting not in self.space]:
                raise ValueError(f"points: {unknown[0]} is not in the space; name it there, or under overrides")
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Sweep:
        if self.searcher == "optuna" and any(domain.grid for domain in self.space.values()):
            raise ValueError("a grid needs searcher: random; for optuna write choice")
        if self.scheduler.kind == "pbt":
            if self.searcher != "random":
                raise ValueError("scheduler pbt changes settings itself; it needs searcher: random")
            if conditional := [setting for setting, domain in self.space.items() if domain.when]:
                raise ValueError(f"scheduler pbt takes no conditions, and space.{conditional[0]} has one")
        return self

    @model_validator(mode="after")
    def _scheduler_reads_its_settings(self) -> Sweep:
        for name, kinds in READ_BY.items():
            # The default changes nothing, so that another kind takes only a word.
            is_given = getattr(self.scheduler, name) != Scheduler.model_fields[name].default
            if is_given and self.scheduler_kind not in kinds:
                raise ValueError(
                    f"scheduler.{name} is read by {' and '.join(kinds)}, not by kind {self.scheduler_kind}; "
                    "leave it out, or choose another kind"
                )
        return self

    @property
    def scheduler_kind(self) -> str:
        """The kind that is given, or what null stands for."""
        return self.scheduler.kind or ("none" if len(self.metrics) > 1 else "asha")

    @property
    def parallel_seeds(self) -> int:
        """Trainings of one trial that run at the same time."""
        return min(self.seeds, self.seeds_at_once)
