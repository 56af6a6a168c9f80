"""The configuration of a sweep: the search space, the number of trials, the resources of one; typed and validated.

In: a YAML file (configs/sweep.yaml) and `key=value` overrides. Out: a `Sweep`, and its trials' configurations. Ray is
not imported here (tune.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from sentalign import config
from sentalign.config import StrictModel


class Domain(StrictModel):
    """The values that one setting may take, by exactly one of these distributions."""

    uniform: tuple[float, float] | None = None
    loguniform: tuple[float, float] | None = None
    randint: tuple[int, int] | None = Field(None, description="from the first up to, and without, the second")
    choice: list[Any] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one_distribution(self) -> Domain:
        names = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(names) != 1:
            raise ValueError("give exactly one of uniform, loguniform, randint, choice")
        if names[0] != "choice":
            low, high = getattr(self, names[0])
            if not low < high or (names[0] == "loguniform" and low <= 0):
                raise ValueError(f"{names[0]} needs a lower and a larger bound, above 0 for loguniform")
        return self

    @property
    def extremes(self) -> list[Any]:
        """The values to validate: the bounds, or every choice."""
        if self.choice is not None:
            return self.choice
        if self.randint is not None:
            return [self.randint[0], self.randint[1] - 1]
        return list(self.uniform or self.loguniform or ())


class Asha(StrictModel):
    """Early stopping (ASHA, Li et al. 2020); everything is counted in image-report pairs."""

    grace_pairs: int = Field(ge=1, description="pairs before which no trial is stopped")
    max_pairs: int = Field(ge=1, description="pairs at which every trial is stopped")
    reduction_factor: float = Field(3, gt=1, description="one in this many trials continues at each rung")

    @model_validator(mode="after")
    def _grace_is_at_most_max(self) -> Asha:
        if self.grace_pairs > self.max_pairs:
            raise ValueError(f"grace_pairs {self.grace_pairs} is more than max_pairs {self.max_pairs}")
        return self


class Sweep(StrictModel):
    """All settings of a sweep."""

    base: Path = Field(description="training configuration; relative to the sweep file")
    out: Path = Field(description="folder of the sweep; one run folder a trial inside")
    overrides: dict[str, Any] = Field(default_factory=dict, description="dotted settings that all trials share")
    space: dict[str, Domain] = Field(min_length=1, description="dotted settings that vary")
    seed: int = Field(0, ge=0, description="the same seed draws the same trials")
    trials: int = Field(16, ge=1)
    concurrent: int = Field(1, ge=1, description="trials at the same time, at most")
    ranks: int = Field(1, ge=1, description="processes of one trial, all on one node")
    cpus: float = Field(1, gt=0, description="CPU cores that one trial takes")
    gpus: int = Field(0, ge=0, description="GPUs that one trial takes: none, or one a rank")
    metric: str = Field("validation/loss", description="metric of the journal that is compared")
    mode: Literal["min", "max"] = "min"
    asha: Asha

    @model_validator(mode="after")
    def _a_gpu_for_each_rank(self) -> Sweep:
        if self.gpus not in (0, self.ranks):
            raise ValueError(f"gpus {self.gpus} must be 0 or equal ranks {self.ranks}")
        return self


def load(path: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """Reads a sweep file. Overrides are settings of the sweep (`trials=4`, `asha.max_pairs=800`) or of the training.

    Every bound of the space is validated as part of the training configuration, so that a misspelt or impossible
    setting is an error before anything starts. Raises UserError.
    """
    tree = config.read_mapping(path, "sweep", "configs/sweep.yaml", "base, out, asha and space")
    for override in overrides:
        _apply(tree, override)
    sweep = config.validated(Sweep, tree, "sweep")
    base = (Path(path).parent / sweep.base).resolve()
    sweep = sweep.model_copy(update={"base": base, "out": sweep.out.resolve()})
    for setting, domain in sweep.space.items():
        for value in domain.extremes:
            configuration(sweep, {setting: value}, sweep.out)
    return sweep


def draw(sweep: Sweep) -> list[dict[str, Any]]:
    """The parameters of every trial: a pure function of seed and space; more trials change none."""
    return [
        {
            setting: _value(domain, np.random.default_rng([sweep.seed, number, place]))
            for place, (setting, domain) in enumerate(sweep.space.items())
        }
        for number in range(sweep.trials)
    ]


def trial_overrides(sweep: Sweep, parameters: dict[str, Any], run: Path) -> list[str]:
    """The `key=value` overrides of one trial; JSON values are YAML values."""
    settings = {**sweep.overrides, **parameters, "run": str(run)}
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]


def configuration(sweep: Sweep, parameters: dict[str, Any], run: Path) -> config.Config:
    """The resolved training configuration of one trial. Raises UserError."""
    return config.load(sweep.base, trial_overrides(sweep, parameters, run))


def _value(domain: Domain, random: np.random.Generator) -> Any:
    if domain.choice is not None:
        return domain.choice[int(random.integers(len(domain.choice)))]
    if domain.randint is not None:
        return int(random.integers(*domain.randint))
    if domain.loguniform is not None:
        low, high = domain.loguniform
        return float(low * (high / low) ** random.random())
    assert domain.uniform
    return float(random.uniform(*domain.uniform))


def _apply(tree: dict[str, Any], override: str) -> None:
    """`trials=4` and `asha.max_pairs=8` belong to the sweep; any other key is a setting of all trials."""
    key, value = config.read_override(override, "trials=4 or train.epochs=1")
    section, _, leaf = key.partition(".")
    if key in Sweep.model_fields:
        tree[key] = value
    elif section == "asha" and isinstance(tree.get("asha"), dict):
        tree["asha"][leaf] = value
    else:
        tree["overrides"] = {**(tree.get("overrides") or {}), key: value}
