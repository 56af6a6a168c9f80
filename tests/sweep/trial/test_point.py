"""One trial without Ray: its validations are reported, it resumes, and no process outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sentalign.checkpoint import fork
from sentalign.sweep.run import plan_of
from sentalign.sweep.spec import sweep_file
from sentalign.sweep.trial import snapshots
from sentalign.sweep.trial.plan import Plan, train_command, trial_runs
from sentalign.sweep.trial.point import execute
from sentalign.sweep.trial.training import LOG_NAME, TrainingFailed
from tests.processes import within
from tests.sweep.conftest import checked_of

Write = Callable[..., Path]
Running = Callable[[Path], list[str]]
RECALL = "validation/recall"


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_SECONDS", "0.02")


def plan(file: Path, launcher: tuple[str, ...] | None, *words: str, **changed: Any) -> Plan:
    of = Plan(sweep_file.load(file, words), str(file.parent), "some.module", (RECALL,), launcher=launcher)
    return replace(of, **changed)


def run(of: Plan, parameters: dict[str, Any], after: int = 0) -> list[tuple[int, dict[str, list[float]]]]:
    reported: list[tuple[int, dict[str, list[float]]]] = []
    execute(of, 0, parameters, lambda pairs, by_seed: reported.append((pairs, by_seed)), after=after)
    return reported


def starts(of: Plan, place: int = 0) -> list[int]:
    """The pairs at which a training was started."""
    lines = (trial_runs(of.sweep, 0)[place] / "journal.jsonl").read_text().splitlines()
    return [entry["pairs"] for entry in map(json.loads, lines) if entry["kind"] == "start"]


def test_validations_are_reported(sweep_path: Write, launcher: tuple[str, ...], running: Running) -> None:
    of = plan(sweep_path(), launcher, "train.epochs=1")
    reported = run(of, {"optimizer.lr": 0.1})
    assert [pairs for pairs, _ in reported] == [8, 16, 24]
    assert reported[1][1][RECALL] == pytest.approx([1 - 0.5**0.5])
    within(10, lambda: not running(of.sweep.out))


class Stop(Exception):
    """What Ray raises from a report to end a trial."""


def test_a_stopped_trial_leaves_no_process(sweep_path: Write, launcher: tuple[str, ...], running: Running) -> None:
    of = plan(sweep_path(), launcher, "train.epochs=500")

    def stop(pairs: int, by_seed: object) -> None:
        assert len(running(of.sweep.out)) == 4  # guard, watcher, training and its child
        raise Stop

    with pytest.raises(Stop):
        execute(of, 0, {"optimizer.lr": 2.0}, stop)
    within(10, lambda: not running(of.sweep.out))


def test_a_trial_that_was_stopped_continues_from_its_checkpoint(sweep_path: Write, launcher: tuple[str, ...]) -> None:
    of = plan(sweep_path(), launcher, "train.epochs=40")

    def stop(pairs: int, by_seed: object) -> None:
        if pairs >= 16:
            raise Stop

    with pytest.raises(Stop):
        execute(of, 0, {"optimizer.lr": 0.1}, stop)
    reported = run(of, {"optimizer.lr": 0.1}, after=16)
    assert [pairs for pairs, _ in reported] == list(range(24, 968, 8))
    assert 16 <= starts(of)[1] < 960
    assert run(of, {"optimizer.lr": 0.1}, after=952) == reported[-1:]  # what has finished is not started again
    assert len(starts(of)) == 2


def test_the_starts_of_a_point_are_reported_together(sweep_path: Write, launcher: tuple[str, ...]) -> None:
    """The stand-in's recall is .01 higher for each seed."""
    of = plan(sweep_path(seeds=3, seeds_at_once=3, overrides={"seed": 5}), launcher, "train.epochs=1")
    reported = run(of, {"optimizer.lr": 0.1})
    assert [pairs for pairs, _ in reported] == [8, 16, 24]
    share = 1 - 0.5 ** (24 / 32)
    assert reported[-1][1][RECALL] == pytest.approx([1.05 * share, 1.06 * share, 1.07 * share])


def test_starts_one_after_another_wait_for_each_other_at_the_rungs(
    sweep_path: Write, launcher: tuple[str, ...]
) -> None:
    """Each is interrupted at the rung and goes on from its checkpoint, unless the point is stopped there."""
    of = plan(sweep_path(seeds=2), launcher, "train.epochs=40", pauses=(16,))
    assert [pairs for pairs, _ in run(of, {"optimizer.lr": 0.1})] == list(range(8, 968, 8))
    for place in range(2):
        first, second = starts(of, place)
        assert first == 0
        assert 16 <= second < 960


@pytest.mark.parametrize(
    ("scheduler", "stops"),
    [
        ({"kind": "pbt", "perturb_every_pairs": 32}, 2),
        ({"kind": "hyperband"}, 4),
        ({"kind": "median", "grace_pairs": 40}, 2),
    ],
)
def test_starts_one_after_another_wait_for_each_other_wherever_trials_are_compared(
    sweep_path: Write, launcher: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, scheduler: dict[str, Any], stops: int
) -> None:
    """Also where the training keeps fewer checkpoints than it makes until then; PBT takes over those of reports."""
    monkeypatch.setattr("sentalign.sweep.trial.point.POLL_SECONDS", 0.05)
    monkeypatch.setenv("STAND_IN_SECONDS", "0.2")
    path = sweep_path(seeds=2, scheduler=scheduler, overrides={"train.validate_every_pairs": 16, "train.epochs": 3})
    of = plan_of(checked_of(path), "some.module", None, launcher)
    runs, reported = trial_runs(of.sweep, 0), []

    def report(pairs: int, by_seed: object) -> None:
        if of.keeps_snapshots:
            assert all((run / snapshots.FOLDER / fork.name_of(pairs)).is_dir() for run in runs)
            snapshots.drop_old(of.sweep, 0, 0, pairs)
        finished = '"finished"' in (runs[0] / "journal.jsonl").read_text()
        reported.append((pairs, finished))

    execute(of, 0, {"optimizer.lr": 0.1}, report)
    assert [pairs for pairs, _ in reported] == [16, 32, 48, 64, 80]
    compared = [pairs for pairs in of.pauses if pairs < 80]
    assert not any(finished for pairs, finished in reported if pairs in compared), "before the first start has ended"
    assert len(compared) == stops
    if of.keeps_snapshots:
        kept = sorted(path.name for path in (runs[1] / snapshots.FOLDER).iterdir())
        assert kept == [fork.name_of(pairs) for pairs in (48, 64, 80)]


def test_a_start_does_not_go_beyond_the_end_of_a_trial_while_others_wait(sweep_path: Write) -> None:
    of = plan_of(checked_of(sweep_path(seeds=2), "scheduler.kind=none", "scheduler.max_pairs=24"), "", None, None)
    assert of.pauses == (24,)


def test_the_error_of_a_failed_training_is_reported(sweep_path: Write, launcher: tuple[str, ...]) -> None:
    of = plan(sweep_path(), launcher, "loss.t2=13")
    with pytest.raises(TrainingFailed, match="ended with 1: error: thirteen is refused"):
        run(of, {})
    log = (trial_runs(of.sweep, 0)[0] / LOG_NAME).read_text()
    assert log.count("error: thirteen is refused") == 2, "the same error at the same place is not tried a third time"


def test_the_error_is_that_of_the_last_start(sweep_path: Write, launcher: tuple[str, ...]) -> None:
    """One that is killed says nothing, whatever an earlier one has said."""
    of = plan(sweep_path(), launcher, "loss.t2=16", "retries=1")
    with pytest.raises(TrainingFailed, match=r"ended with -?[0-9]+: no output"):
        run(of, {})
    assert "the first start" in (trial_runs(of.sweep, 0)[0] / LOG_NAME).read_text()


def test_a_training_that_falls_is_continued(sweep_path: Write, launcher: tuple[str, ...]) -> None:
    of = plan(sweep_path(), launcher, "loss.t2=15", "train.epochs=2")
    assert [pairs for pairs, _ in run(of, {"optimizer.lr": 0.1})] == [8, 16, 24, 32, 40, 48]
    assert starts(of) == [0, 24]


def test_a_training_is_continued_as_often_as_is_allowed(sweep_path: Write, launcher: tuple[str, ...]) -> None:
    with pytest.raises(TrainingFailed, match="ended with 9: no output"):
        run(plan(sweep_path(), launcher, "loss.t2=15", "retries=0"), {})


def test_a_training_that_was_stopped_from_outside_is_no_finished_trial(
    sweep_path: Write, launcher: tuple[str, ...]
) -> None:
    of = plan(sweep_path(), launcher, "loss.t2=14", "train.epochs=1")
    with pytest.raises(TrainingFailed, match="stopped from outside"):
        run(of, {})
    assert len(starts(of)) == 3


def test_a_metric_that_is_never_written_is_an_error(sweep_path: Write, launcher: tuple[str, ...]) -> None:
    of = plan(sweep_path(), launcher, "train.epochs=1", needed=("validation/nothing",))
    with pytest.raises(
        TrainingFailed, match=r"no validation wrote validation/nothing; choose among: .*validation/recall"
    ):
        run(of, {})


@pytest.mark.parametrize("guard_dies_first", [False, True])
def test_a_guarded_command_dies_with_a_parent_that_is_killed(
    tmp_path: Path, running: Running, guard_dies_first: bool
) -> None:
    folder = tmp_path / "sweep"
    child = ["-c", "import time; time.sleep(300)", f"{folder}/trials"]
    program = (
        "import subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'sentalign.launch.process_group_guard', sys.executable, *sys.argv[1:]]\n"
        "guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)\n"
        "print(guard.pid, flush=True)\n"
        "time.sleep(300)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, *child], stdout=subprocess.PIPE)
    assert parent.stdout
    guard = int(parent.stdout.readline())
    deadline = time.monotonic() + 10
    while len(running(folder)) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(running(folder)) == 4
    if guard_dies_first:
        os.kill(guard, signal.SIGKILL)
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    within(10, lambda: not running(folder))


def test_a_run_that_another_process_still_writes_is_waited_for(
    sweep_path: Write, launcher: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a driver or a node was lost: its training may live on for a moment."""
    of = plan(sweep_path(), launcher, "train.epochs=1")
    (folder,) = trial_runs(of.sweep, 0)
    folder.mkdir(parents=True)
    program = f"import fcntl, time; f = open({str(folder / 'lock')!r}, 'ab'); fcntl.flock(f, 2); print(1, flush=True)"
    holder = subprocess.Popen([sys.executable, "-c", f"{program}; time.sleep(300)"], stdout=subprocess.PIPE)
    assert holder.stdout
    holder.stdout.readline()
    with monkeypatch.context() as patched:
        patched.setattr("sentalign.sweep.trial.training.LOCK_SECONDS", 0.3)
        with pytest.raises(TrainingFailed, match="still in use by another training"):
            run(of, {})
    holder.kill()
    holder.communicate()
    assert run(of, {})


def test_two_trials_never_share_a_port(sweep_path: Write) -> None:
    of = plan(sweep_path(), None, parent_run="parent")
    run_0 = trial_runs(of.sweep, 0)[0]
    commands = [train_command(of, run_0, {"optimizer.lr": 0.5}, seed, []) for seed in (None, 3)]
    ports = {command[command.index("--master_port") + 1] for command in commands}
    assert len(ports) == 2
    assert {"optimizer.lr=0.5", "track.parent_run=parent"} <= set(commands[0])
    assert [any(word.startswith("seed=") for word in command) for command in commands] == [False, True]
    assert commands[0][commands[0].index("--num_gpus") + 1] == "1"


def test_trials_on_gpus_use_those_that_ray_assigned(sweep_path: Write) -> None:
    of = plan(sweep_path(gpus=2, ranks=2), None)
    command = train_command(of, trial_runs(of.sweep, 0)[0], {}, None, [4, 6])
    assert command[command.index("--include") + 1] == "localhost:4,6"
    assert command[command.index("--module") + 1] == "some.module"
