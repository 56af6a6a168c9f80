"""One trial: a training as a process of its own, its validations told while it runs, nothing left of it at the end.

In: a `Plan`, sampled parameters. Out: a run folder with journal.jsonl, train.log and trial.json. Ray is not imported
here: whoever runs a trial hands in `report`, which may raise to stop it. MLflow is not either: the training's own
uploader sends, and the sweep catches up at the end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentalign.launch import ranks
from sentalign.sweep.space import Sweep, words_of
from sentalign.track import journal
from sharding.store import atomic

POLL_SECONDS = 0.5
TRIAL_NAME, LOG_NAME = "trial.json", "train.log"


@dataclass(frozen=True)
class Plan:
    """What all trials share. `launcher` starts the training, given a config and words; None: DeepSpeed's launcher."""

    sweep: Sweep
    folder: str
    parent_run: str | None = None
    launcher: tuple[str, ...] | None = None

    def run(self, number: int) -> Path:
        return self.sweep.out / "trials" / f"{number:03d}"


def execute(plan: Plan, number: int, parameters: dict[str, Any], report: Callable[[dict[str, float]], None]) -> None:
    """Trains once; each validation is reported as {metric: value, ..., "pairs": pairs}.

    Raises RuntimeError where the training fails or says nothing of the metric, and whatever `report` raises; the
    training and all that it started are dead when this returns or raises.
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


def train_command(plan: Plan, run: Path, parameters: dict[str, Any]) -> list[str]:
    """The words that start one training, with a port of its own."""
    words = words_of(plan.sweep, parameters, run)
    if plan.parent_run:
        words.append(f"track.parent_run={plan.parent_run}")
    if plan.launcher:
        return [*plan.launcher, str(plan.sweep.base), *words]
    command = ranks.command(str(plan.sweep.base), words, plan.sweep.ranks)
    if plan.sweep.gpus:
        # With --num_gpus the launcher overlooks CUDA_VISIBLE_DEVICES, and every trial would take the first GPUs.
        place = command.index("--num_gpus")
        del command[place : place + 2]
    return command


def _start(plan: Plan, run: Path, parameters: dict[str, Any]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sentalign.launch.guard", *train_command(plan, run, parameters)]
    with open(run / LOG_NAME, "ab") as log:
        return subprocess.Popen(
            command,
            cwd=plan.folder,
            env=ranks.environment(os.environ, plan.sweep.ranks, plan.sweep.gpus),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _tail(metric: str, run: Path, process: subprocess.Popen[bytes], report: Callable[[dict[str, float]], None]) -> None:
    offset, heard = 0, False
    while True:
        code = process.poll()  # before reading, so that the last lines are read after the end
        for entry, behind in journal.follow(run, offset):
            offset = behind
            numbers = journal.metrics(entry)
            if entry["kind"] == "validation" and metric in numbers:
                heard = True
                report({**numbers, "pairs": entry["pairs"]})
        if code is not None:
            break
        time.sleep(POLL_SECONDS)
    if code:
        raise RuntimeError(f"training ended with {code}: {_last_words(run)}")
    if not heard:
        raise RuntimeError(f"the journal has no {metric}; choose a metric that validation writes")


def _last_words(run: Path) -> str:
    """The error line of the log, else its last line."""
    lines = [line.strip() for line in (run / LOG_NAME).read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    return (errors or lines or ["no output"])[-1][:300]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills the whole group at once: a trial that was given up needs no last checkpoint."""
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
