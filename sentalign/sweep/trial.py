"""One trial: a training in a process of its own, whose validations are reported while it runs, killed at the end.

In: a `Plan`, sampled parameters. Out: a run folder with journal.jsonl, train.log and trial.json. Ray is not imported
here: the caller passes `report`, which may raise to stop the trial. MLflow is not either: the training's own uploader
sends, and the sweep sends the rest at its end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentalign.launch import local_ranks, process_group_guard
from sentalign.sweep.space import Sweep, trial_overrides
from sentalign.track import journal
from sharding.store import atomic

POLL_SECONDS = 0.5
TRIAL_NAME, LOG_NAME = "trial.json", "train.log"


@dataclass(frozen=True)
class Plan:
    """What all trials share. `launcher` replaces DeepSpeed's launcher of `module`: a program that takes its words."""

    sweep: Sweep
    folder: str
    module: str
    parent_run: str | None = None
    launcher: tuple[str, ...] | None = None

    def run(self, number: int) -> Path:
        return self.sweep.out / "trials" / f"{number:03d}"


def execute(plan: Plan, number: int, parameters: dict[str, Any], report: Callable[[dict[str, float]], None]) -> None:
    """Trains once; each validation is reported as {metric: value, ..., "pairs": pairs}.

    Raises RuntimeError where the training fails or never writes the metric, and whatever `report` raises; the training
    and all its processes are dead when this returns or raises.
    """
    run = plan.run(number)
    run.mkdir(parents=True)
    record = {"trial": number, "parameters": parameters, "status": "running", "error": ""}
    _write(run, record)
    process = _start(plan, run, parameters)
    record["status"] = "stopped"
    try:
        _tail(plan.sweep.metric, run, process, report)
        record["status"] = "finished"
    except RuntimeError as error:
        record |= {"status": "failed", "error": str(error)}
        raise
    finally:
        _kill(process)
        _write(run, record)


def _start(plan: Plan, run: Path, parameters: dict[str, Any]) -> subprocess.Popen[bytes]:
    gpus = local_ranks.visible_gpus(os.environ, plan.sweep.gpus)  # Ray chose them
    with open(run / LOG_NAME, "ab") as log:
        return subprocess.Popen(
            process_group_guard.command(train_command(plan, run, parameters, gpus)),
            cwd=plan.folder,
            env=local_ranks.environment(os.environ, plan.sweep.ranks, gpus),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def train_command(plan: Plan, run: Path, parameters: dict[str, Any], gpus: Sequence[int]) -> list[str]:
    """The command line of one training, with a port of its own."""
    arguments = [str(plan.sweep.base), *trial_overrides(plan.sweep, parameters, run)]
    if plan.parent_run:
        arguments.append(f"track.parent_run={plan.parent_run}")
    if plan.launcher:
        return [*plan.launcher, *arguments]
    return local_ranks.command(plan.module, arguments, plan.sweep.ranks, gpus)


def _tail(metric: str, run: Path, process: subprocess.Popen[bytes], report: Callable[[dict[str, float]], None]) -> None:
    offset, reported = 0, False
    while True:
        code = process.poll()  # before reading, so that the last lines are read after the end
        for entry, end in journal.follow(run, offset):
            offset = end
            metrics = journal.metrics(entry)
            if entry["kind"] == "validation" and metric in metrics:
                reported = True
                report({**metrics, "pairs": entry["pairs"]})
        if code is not None:
            break
        time.sleep(POLL_SECONDS)
    if code:
        raise RuntimeError(f"training ended with {code}: {_error_of(run)}")
    if journal.was_stopped(run):
        raise RuntimeError("training was stopped from outside, by SIGTERM or SIGUSR1")
    if not reported:
        raise RuntimeError(f"the journal has no {metric}; choose a metric that validation writes")


def _error_of(run: Path) -> str:
    """The error line of the log, else its last line."""
    lines = [line.strip() for line in (run / LOG_NAME).read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    return (errors or lines or ["no output"])[-1][:300]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills the whole group at once: a stopped trial needs no last checkpoint."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()
        assert process.stdin
        process.stdin.close()


def _write(run: Path, record: dict[str, Any]) -> None:
    atomic.write_text(run / TRIAL_NAME, json.dumps(record, indent=1))
