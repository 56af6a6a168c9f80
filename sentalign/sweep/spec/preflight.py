"""What is checked once, before anything starts: data, batch, splits, objective, and rungs against the length of a run.

In: a `Sweep`. Out: a `Checked` sweep, or UserError; warnings. What each trial would find wrong, and fail with, is found
here.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from sentalign.config import Config, rank_share
from sentalign.stream.read.manifest_index import count_with_text
from sentalign.stream.read.open_data import open_mixture
from sentalign.sweep.spec.comparable_metrics import refuse_test_split
from sentalign.sweep.spec.objective import Objective, objective_of
from sentalign.sweep.spec.settings import Sweep
from sentalign.sweep.spec.sweep_file import configuration
from sharding.contract import UserError

SHARE = 9  # of a run before the first rung, where none is given: two factors of 3
# What PBT may change within a run: nothing of the stream, the model or the state of the optimizer depends on it.
CHANGES_WITHIN_A_RUN = re.compile(
    r"optimizer\.(lr|betas|momentum|weight_decay|gradient_clipping)|"
    r"loss\.(weight_\w+|t1|t2|t3|tau|tau_contrast|bias_global|bias_local|view_share|attraction_share)"
)
LATE = 0.4  # share of a run before the first rung that is worth a warning


@dataclass(frozen=True)
class RunLength:
    """The length of one training, in image-report pairs."""

    total: int
    validate_every: int
    batch: int

    @property
    def validations(self) -> int:
        return -(-self.total // self.validate_every)


@dataclass(frozen=True)
class Checked:
    """A sweep that can start: its base, what it compares, how long a trial is, and its rungs (none: no early stop)."""

    sweep: Sweep
    base: Config
    objective: Objective
    length: RunLength
    scheduler: str
    grace: int
    rungs: tuple[int, ...]
    warnings: tuple[str, ...]

    @property
    def max_pairs(self) -> int:
        """Pairs at which a trial ends."""
        return min(self.sweep.scheduler.max_pairs or self.length.total, self.length.total)

    @property
    def perturb_every(self) -> int:
        """Pairs between two changes of a trial by PBT."""
        return self.sweep.scheduler.perturb_every_pairs or self.grace


def check(sweep: Sweep) -> Checked:
    """Raises UserError with the first thing that would make every trial fail or the sweep useless."""
    base = configuration(sweep, {}, sweep.out)
    _refuse_test_split(sweep, base)
    objective = objective_of(sweep, base)
    length = run_length(base)
    for batch in [base.data.batch, *_values(sweep, "data.batch")]:
        rank_share(batch, sweep.ranks)
    _check_validation(base, sweep.ranks, objective)
    if sweep.scheduler.kind == "pbt":
        _check_changes(sweep, base)
    kind = sweep.scheduler.kind or ("asha" if len(objective.modes) == 1 else "none")
    grace = sweep.scheduler.grace_pairs or default_grace(length)
    longest = sweep.scheduler.max_pairs or length.total
    rungs = rungs_of(grace, sweep.scheduler.reduction_factor, longest) if kind == "asha" else ()
    warnings = () if kind == "none" else _check_rungs(grace, rungs, longest, length, kind)
    return Checked(sweep, base, objective, length, kind, grace, rungs, warnings)


def run_length(base: Config) -> RunLength:
    """Reads the manifests, as training does. Raises UserError: no shards, or too few for a batch."""
    data = base.data
    count_with_text(data.urls, data.train_split)
    mixture = open_mixture(data, data.train_split, base.seed)
    if not mixture.fills_batches():
        raise UserError(
            f"split {data.train_split!r} of {data.shards} has fewer samples with text than data.batch={data.batch}; "
            "lower data.batch or build more shards"
        )
    epoch = mixture.epoch_batches * data.batch
    return RunLength(base.train.epochs * epoch, base.train.validate_every_pairs or epoch, data.batch)


def default_grace(length: RunLength) -> int:
    """A ninth of a run, rounded up to whole validations."""
    return math.ceil(length.total / SHARE / length.validate_every) * length.validate_every


def rungs_of(grace: int, factor: float, longest: int) -> tuple[int, ...]:
    """The pairs at which ASHA compares trials; the end of a run is none."""
    count = max(0, math.ceil(math.log(longest / grace) / math.log(factor) - 1e-9)) if grace < longest else 0
    return tuple(round(grace * factor**k) for k in range(count))


def _check_rungs(grace: int, rungs: tuple[int, ...], longest: int, length: RunLength, kind: str) -> tuple[str, ...]:
    """Warnings with numbers. Raises UserError where no trial could ever be stopped."""
    run = f"a run has {length.total:,} pairs and validates every {length.validate_every:,}"
    if longest > length.total:
        raise UserError(f"scheduler.max_pairs {longest:,} is never reached: {run}; lower it, or leave it out")
    if grace >= longest:
        raise UserError(f"scheduler.grace_pairs {grace:,} stops no trial early: {run}; leave it out, or kind: none")
    warnings = []
    if grace > LATE * longest:
        share = f"{grace / longest:.0%}"
        warnings.append(f"{share} of a run passes before the first decision at {grace:,} pairs: {run}")
    if length.validate_every > grace:
        warnings.append(f"the first decision, at {grace:,} pairs, waits for the first validation: {run}")
    last = (length.total - 1) // length.validate_every * length.validate_every
    if kind == "asha" and (late := [rung for rung in rungs if rung > last]):
        warnings.append(f"the rung at {late[0]:,} pairs decides nothing, the next validation is the last: {run}")
    return tuple(warnings)


def _refuse_test_split(sweep: Sweep, base: Config) -> None:
    for split in [base.data.validation_split, *_values(sweep, "data.validation_split")]:
        data = base.data.model_copy(update={"validation_split": split})
        refuse_test_split(base.model_copy(update={"data": data}))


def _check_validation(base: Config, ranks: int, objective: Objective) -> None:
    count = count_with_text(base.data.urls, base.data.validation_split)
    if count < ranks:
        raise UserError(
            f"split {base.data.validation_split!r} of {base.data.shards} has {count} samples with text, so that no "
            f"training writes {objective.first}; build shards with a validation split"
        )


def _check_changes(sweep: Sweep, base: Config) -> None:
    """Raises UserError where PBT would change what a running training cannot take over."""
    learned = [f"loss.{name}" for name in base.loss.learn]
    for setting in sweep.space:
        if setting in learned:
            raise UserError(f"scheduler pbt cannot change {setting}, which is learned; take it out of loss.learn")
        if not CHANGES_WITHIN_A_RUN.fullmatch(setting):
            raise UserError(
                f"scheduler pbt cannot change {setting} within a run; it changes rates, weights and temperatures of "
                "the optimizer and the loss; use another scheduler"
            )


def _values(sweep: Sweep, setting: str) -> list[Any]:
    return sweep.space[setting].extremes if setting in sweep.space else []
