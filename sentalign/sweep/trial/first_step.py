"""The first step of a training, tried before a sweep starts: what every trial would fail with, and the memory it takes.

In: a `Plan`. Out: a `FirstStep`. The training is that of the base, with the largest batch and pictures of the space; it
is killed when its journal has a step.
"""

from __future__ import annotations

import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from sentalign.sweep.spec.domain import Parameters, condition_of
from sentalign.sweep.spec.settings import Sweep
from sentalign.sweep.spec.sweep_file import configuration
from sentalign.sweep.trial.plan import Plan
from sentalign.sweep.trial.point import training_of
from sentalign.sweep.trial.training import LOG_NAME, Training, TrainingFailed
from sentalign.track import journal
from sharding.contract import UserError

FOLDER, POLL_SECONDS = "first-step", 0.2
NEEDS_MEMORY = re.compile(r"data\.(batch|image_size|max_tokens)|train\.micro_batch")
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class FirstStep:
    """`memory`: bytes of this host that all processes of the training had at most; `host_memory`: all that there is.

    `error`: one line, where it failed.
    """

    seconds: float = 0.0
    memory: int = 0
    host_memory: int = 0
    error: str = ""


def run(plan: Plan) -> FirstStep:
    """Trains until the first step is done, in a folder that is removed; after a failure it is left, for its log."""
    folder, started = plan.sweep.out / FOLDER, time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    # With its own folder beside the trials', without MLflow, and without further starts after a failure.
    alone = plan.sweep.model_copy(update={"overrides": plan.sweep.overrides | {"track.uri": None}, "retries": 0})
    training = training_of(replace(plan, sweep=alone, parent_run=None), folder, largest(plan.sweep), None, 0)
    try:
        memory = _until_a_step(training, folder)
    except (TrainingFailed, UserError, OSError) as error:
        return FirstStep(error=f"{' '.join(str(error).split())} (see {folder / LOG_NAME})")
    finally:
        training.close()
    shutil.rmtree(folder, ignore_errors=True)
    return FirstStep(time.monotonic() - started, memory, host_memory())


def largest(sweep: Sweep) -> Parameters:
    """The base's own point with the largest value of each setting that decides memory, where they go together."""
    found: Parameters = {}
    for setting in filter(NEEDS_MEMORY.fullmatch, sweep.space):
        values = [value for value in sweep.space[setting].extremes if isinstance(value, int)]
        # A micro-batch of 0 is the whole batch.
        value = 0 if setting == "train.micro_batch" and 0 in values else max(values, default=None)
        if value is not None:
            found |= condition_of(sweep.space, setting) | {setting: value}
    with suppress(UserError):
        configuration(sweep, found, sweep.out)
        return found
    return {}


def host_memory() -> int:
    """Bytes that the processes of this host, or of its container, may have."""
    total = int(psutil.virtual_memory().total)
    with suppress(OSError, ValueError):  # `max` is no number
        return min(total, int(CONTAINER_LIMIT.read_text()))
    return total


def _until_a_step(training: Training, folder: Path) -> int:
    """The most memory that the processes had at any time. Raises TrainingFailed."""
    most = 0
    training.start()
    while not training.is_finished and not any(entry["kind"] == "metrics" for entry, _ in journal.follow(folder)):
        most = max(most, training.memory())
        time.sleep(POLL_SECONDS)
        training.poll()
    return max(most, training.memory())
