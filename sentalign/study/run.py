"""Runs what a study still lacks: data, trainings, evaluations, each as a command in a process of its own.

In: a `StudyPlan`. Out: files below its folder. A step that has its result is skipped, a killed training resumes,
so the same command continues an interrupted study.

    data/NAME/phantoms, data/NAME/shards      made once
    runs/ROW/seed-N                           a run folder, with its log beside it (seed-N.log)
    results/ROW/seed-N                        metrics.json, cases.npz, index.html; step.json is written last
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sentalign import config
from sentalign.launch import process_group_guard
from sentalign.study.spec import Phantoms, StudyPlan, folder_name, overrides
from sentalign.track import journal
from sharding.contract import UserError
from sharding.store import atomic

STEP = "step.json"  # written last: the commands that made a folder, and the seconds they took, null if resumed
METRICS = "metrics.json"
SAVE_SECONDS = 60  # a training that is told to stop ends its step and saves


@dataclass(frozen=True)
class Step:
    """Commands that make one folder. `fingerprint` changes where another setting makes another result."""

    name: str
    folder: Path
    commands: tuple[tuple[str, ...], ...]
    log: Path
    fingerprint: str
    fresh: bool  # an incomplete folder is removed first; False: the command itself resumes in it


Jobs = Callable[[Sequence[Sequence[Step]]], Iterator[int]]  # runs chains of steps, yields the number of each that ended


def sentalign(*words: str | Path) -> tuple[str, ...]:
    """A command line of this program, by this interpreter."""
    return (sys.executable, "-m", "sentalign", *map(str, words))


def data_step(study: StudyPlan, name: str) -> Step:
    """Phantoms and their shards."""
    phantoms: Phantoms = study.data[name]
    folder = study.out / "data" / name
    counts = [f"--test-studies={phantoms.test_studies}", f"--validation-studies={phantoms.validation_studies}"]
    kind = f"--withhold={phantoms.withhold}"
    made = (f"--studies={phantoms.studies}", f"--seed={phantoms.seed}", *counts, kind)
    shards = ("--out", folder / "shards", "--private", folder / "private", f"--size={phantoms.size}")
    commands = (
        sentalign("phantom", folder / "phantoms", *made),
        sentalign("shard", "build", "mimic-cxr", folder / "phantoms", *shards),
    )
    return Step(f"data {name}", folder, commands, folder.with_suffix(".log"), _digest(phantoms.model_dump()), True)


def training_step(study: StudyPlan, name: str, seed: int) -> Step:
    """One training of a row; a killed one resumes."""
    run = study.out / "runs" / folder_name(name) / f"seed-{seed}"
    settings = overrides(study, name, seed, run, study.out / "data" / study.data_of(name) / "shards")
    resolved = config.load(study.base, settings).model_dump(mode="json", exclude={"run", "track"})
    resolved["data"].pop("shards")
    resolved["model"].pop("start")
    identity = [resolved, study.data[study.data_of(name)].model_dump(), study.ranks]
    if origin := study.rows[name].starts_from:
        start = training_step(study, origin, seed)
        settings.append(f"model.start={json.dumps(str(start.folder))}")
        identity.append(start.fingerprint)
    command = sentalign("train", study.base, "--ranks", str(study.ranks), *settings, "track.uri=null")
    return Step(f"{name}, seed {seed}: training", run, (command,), run.with_suffix(".log"), _digest(identity), False)


def evaluation_step(study: StudyPlan, name: str, seed: int) -> Step:
    """One evaluation of a row."""
    data, phantoms = study.out / "data" / study.data_of(name), study.data[study.data_of(name)]
    training, out = training_step(study, study.trained_row(name), seed), study.out / "results" / folder_name(name)
    folder = out / f"seed-{seed}"
    withheld = () if phantoms.withhold == "none" else ("--withheld", phantoms.withhold)
    phrases = ("--withheld-phrases", data / "phantoms" / "phantom.json")
    words = ("--data", data / "phantoms", "--run", training.folder, "--out", folder, *withheld, *phrases)
    command = sentalign("evaluate", "ms-cxr", *words, *study.rows[name].evaluate)
    fingerprint = _digest([training.fingerprint, phantoms.model_dump(), study.rows[name].evaluate])
    log = folder.with_suffix(".log")
    return Step(f"{name}, seed {seed}: evaluation", folder, (command,), log, fingerprint, True)


def chains(study: StudyPlan) -> Iterator[list[Step]]:
    """For each row that is trained and each seed: the one it starts from, its training, each evaluation of that."""
    for seed in study.seeds:
        for trained in dict.fromkeys(map(study.trained_row, study.rows)):
            rows = [name for name in study.rows if study.trained_row(name) == trained]
            origin = study.rows[trained].starts_from
            trainings = [training_step(study, name, seed) for name in (origin, trained) if name]
            yield [*trainings, *(evaluation_step(study, name, seed) for name in rows)]


def is_done(step: Step) -> bool:
    """Whether the folder was made by exactly these settings. Raises UserError where it was made by others."""
    record = step.folder / STEP
    if not record.is_file():
        return False
    if json.loads(record.read_text(encoding="utf-8"))["fingerprint"] != step.fingerprint:
        raise UserError(f"{step.folder} was made with other settings; move it away, or give the study another --out")
    return True


def execute(step: Step) -> float:
    """Runs a step unless it is done; the seconds that it took, 0 where it was done. Raises UserError.

    A study may run twice at a time, with other seeds or by mistake: a step that another process runs is waited for.
    """
    step.log.parent.mkdir(parents=True, exist_ok=True)
    with open(step.log, "ab") as log:
        _lock(log, step.name)
        return 0.0 if is_done(step) else _execute(step, log)


def _lock(log: BinaryIO, name: str) -> None:
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{name}: waiting for another process that runs it", file=sys.stderr, flush=True)
        fcntl.flock(log, fcntl.LOCK_EX)


def _execute(step: Step, log: BinaryIO) -> float:
    if step.fresh:
        shutil.rmtree(step.folder, ignore_errors=True)
    resumed = step.folder.exists()
    started = time.monotonic()
    for command in step.commands:
        _call(step, command, log)
    if journal.was_stopped(step.folder):
        raise UserError(f"{step.name} was stopped; the same command goes on from its checkpoint")
    seconds = time.monotonic() - started
    content = {"fingerprint": step.fingerprint, "seconds": None if resumed else round(seconds, 1)}
    atomic.write_text(step.folder / STEP, json.dumps(content) + "\n")
    return seconds


def execute_all(steps: Sequence[Step]) -> None:
    """Runs dependent steps in order."""
    for step in steps:
        execute(step)


def run(study: StudyPlan, jobs: Jobs, report: Callable[[str], None]) -> None:
    """Makes the data, then all that is missing, in the order in which `jobs` runs the chains. Raises UserError."""
    for name in dict.fromkeys(map(study.data_of, study.rows)):
        report(f"data {name}")
        execute(data_step(study, name))
    waiting = [chain for chain in chains(study) if not all(map(is_done, chain))]
    report(f"{len(waiting)} trainings with their evaluations to run")
    for number in jobs(waiting):
        report(f"done: {waiting[number][-1].name}")


def one_after_another(waiting: Sequence[Sequence[Step]]) -> Iterator[int]:
    """Runs the chains on this machine and yields the number of each that ended."""
    for number, steps in enumerate(waiting):
        execute_all(steps)
        yield number


def _call(step: Step, command: Sequence[str], log: BinaryIO) -> None:
    code = _run(command, log)
    if code:
        lines = [line.strip() for line in step.log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error:")] or lines or ["no output"]
        raise UserError(f"{step.name} ended with {code}: {errors[-1][:300]} (log: {step.log})")


def _run(command: Sequence[str], log: BinaryIO) -> int:
    """The exit code of a command that ends with this process: a training whose study stops first saves its state."""
    guarded = process_group_guard.command(command)
    guard = subprocess.Popen(guarded, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
    try:
        return guard.wait()
    except BaseException:  # Ctrl-C, and SIGTERM, of which the command line makes SystemExit
        process_group_guard.terminate(guard)
        with suppress(subprocess.TimeoutExpired):
            guard.wait(SAVE_SECONDS)
        raise
    finally:
        process_group_guard.close(guard)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
