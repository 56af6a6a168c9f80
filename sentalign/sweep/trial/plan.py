"""What all trials of a sweep share, and where the trainings of a trial are.

In: a `Sweep`. Out: a `Plan` that can be sent to another process, and run folders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sentalign.launch import local_ranks
from sentalign.sweep.spec.domain import Parameters
from sentalign.sweep.spec.settings import Sweep
from sentalign.sweep.spec.sweep_file import configuration, trial_overrides

RAY_FOLDER = "ray"  # in the sweep's folder: what Ray writes, removed at each start


@dataclass(frozen=True)
class Plan:
    """What all trials share. `launcher` replaces DeepSpeed's launcher of `module`: a program that takes its words.

    `needed`: the metrics without which a validation is no report. `pauses`: pairs at which trainings that run one after
    another wait for each other. `with_checkpoint`: a report waits for the checkpoint of its validation. `replays`:
    Tune gets each report once, and again in a later start (Hyperband). `keeps_snapshots`: another trial may take over
    the checkpoint of a validation (PBT).
    """

    sweep: Sweep
    folder: str
    module: str
    needed: tuple[str, ...]
    pauses: tuple[int, ...] = ()
    with_checkpoint: bool = False
    replays: bool = False
    keeps_snapshots: bool = False
    parent_run: str | None = None
    launcher: tuple[str, ...] | None = None


def trial_folder(sweep: Sweep, number: int) -> Path:
    return sweep.out / "trials" / f"{number:03d}"


def trial_runs(sweep: Sweep, number: int, generation: int = 0) -> list[Path]:
    """The run folders of a trial, one a seed; a new set for each checkpoint that it took over from another trial."""
    folder = trial_folder(sweep, number)
    folder = folder / f"taken-{generation}" if generation else folder
    return [folder] if sweep.seeds == 1 else [folder / f"seed-{k}" for k in range(sweep.seeds)]


def train_command(plan: Plan, run: Path, parameters: Parameters, seed: int | None, gpus: Sequence[int]) -> list[str]:
    """The command line of one training, with a port of its own. `seed`: None for the configuration's own."""
    arguments = [str(plan.sweep.base), *trial_overrides(plan.sweep, parameters, run)]
    if seed is not None:
        arguments.append(f"seed={seed}")
    if plan.with_checkpoint:  # at every validation
        arguments.append("train.checkpoint_every_pairs=0")
    if plan.parent_run:
        arguments.append(f"track.parent_run={plan.parent_run}")
    if plan.launcher:
        return [*plan.launcher, *arguments]
    return local_ranks.command(plan.module, arguments, plan.sweep.ranks, gpus)


def seeds_of(plan: Plan, parameters: Parameters) -> list[int | None]:
    """The seed of each training of a point: its configuration's, and those that follow."""
    if plan.sweep.seeds == 1:
        return [None]
    first = configuration(plan.sweep, parameters, plan.sweep.out).seed
    return [first + k for k in range(plan.sweep.seeds)]
