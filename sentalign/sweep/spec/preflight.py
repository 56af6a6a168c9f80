"""What is checked once, before anything starts: data, batch, splits, boxes, objective, and the length of a run.

In: a `Sweep`. Out: a `Checked` sweep, or UserError. What each trial would find wrong, and fail with, is found here, or
by the first step (trial/first_step.py), which shows the memory too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sentalign.config import Config, rank_share
from sentalign.stream.read.manifest_index import count_with_text
from sentalign.stream.read.open_data import open_mixture
from sentalign.sweep.spec.comparable_metrics import refuse_test_split
from sentalign.sweep.spec.domain import condition_of
from sentalign.sweep.spec.objective import Objective, objective_of
from sentalign.sweep.spec.schedule import RunLength, Schedule, schedule_of
from sentalign.sweep.spec.settings import Sweep
from sentalign.sweep.spec.sweep_file import configuration
from sentalign.sweep.wording import setting_text
from sharding.contract import UserError

# What PBT may change within a run: nothing of the stream, the model or the state of the optimizer depends on it.
CHANGES_WITHIN_A_RUN = re.compile(
    r"optimizer\.(lr|betas|momentum|weight_decay|gradient_clipping)|"
    r"loss\.(weight_\w+|t1|t2|t3|tau|tau_contrast|bias_global|bias_local|view_share|attraction_share)"
)
# Settings that decide where validations of a run are, and its end; data.batch only rounds it to whole batches.
DECIDES_LENGTH = re.compile(r"train\.(epochs|validate_every_pairs)|data\.(?!batch$|augment\.).+")


@dataclass(frozen=True)
class Checked:
    """A sweep that can start: its base, what it compares, how long a training is, and when trials are compared."""

    sweep: Sweep
    base: Config
    objective: Objective
    length: RunLength
    schedule: Schedule


def check(sweep: Sweep, check_boxes: Callable[[Config], object] = lambda base: None) -> Checked:
    """Raises UserError with the first thing that would make every trial fail or the sweep useless.

    `check_boxes` opens `validation.boxes` as training does, and raises its error.
    """
    base = configuration(sweep, {}, sweep.out)
    _refuse_test_split(sweep, base)
    objective = objective_of(sweep, base)
    length = run_length(base)
    for batch in [base.data.batch, *_values(sweep, "data.batch")]:
        rank_share(batch, sweep.ranks)
    _check_validation(base, sweep.ranks, objective)
    if base.validation.boxes:
        check_boxes(base)
    if sweep.scheduler_kind == "pbt":
        _check_changes(sweep, base)
    _check_lengths(sweep, length)
    return Checked(sweep, base, objective, length, schedule_of(sweep, length))


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
    return RunLength(base.train.epochs * epoch, base.train.validate_every_pairs or epoch)


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


def _check_lengths(sweep: Sweep, length: RunLength) -> None:
    """Raises UserError where trials would have other lengths, or be validated elsewhere: the longest would win."""
    for setting in filter(DECIDES_LENGTH.fullmatch, sweep.space):
        for value in sweep.space[setting].extremes:
            point = condition_of(sweep.space, setting) | {setting: value}
            other = run_length(configuration(sweep, point, sweep.out))
            if other != length:
                raise UserError(
                    f"space.{setting}: with {setting_text(value)} {other}, but {length} by the base; trials of unlike "
                    "length do not compare, so give it under overrides, the same for all"
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
