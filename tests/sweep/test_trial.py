"""One trial without Ray: its validations are reported, and no process outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sentalign.sweep import space
from sentalign.sweep.trial import LOG_NAME, TRIAL_NAME, Plan, execute, train_command

Write = Callable[..., Path]
Running = Callable[[Path], list[str]]


def plan(file: Path, launcher: tuple[str, ...] | None, *words: str) -> Plan:
    return Plan(space.load(file, words), str(file.parent), "some.module", "parent", launcher)


def status(of: Plan) -> str:
    return json.loads((of.run(0) / TRIAL_NAME).read_text())["status"]


def gone(find: Running, folder: Path) -> bool:
    """True once no process names the folder any more; the kernel may need a moment."""
    deadline = time.monotonic() + 10
    while find(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not find(folder)


def test_validations_are_reported(sweep_file: Write, launcher: tuple[str, ...], running: Running) -> None:
    trial_plan = plan(sweep_file(), launcher, "train.epochs=3")
    reported: list[dict[str, float]] = []
    execute(trial_plan, 0, {"optimizer.lr": 2.0}, reported.append)
    assert [r["pairs"] for r in reported] == [8, 16, 24]
    assert reported[1]["validation/loss"] == 2.5
    assert status(trial_plan) == "finished"
    assert gone(running, trial_plan.sweep.out)


class Stop(Exception):
    """What Ray raises from a report to end a trial."""


def test_a_stopped_trial_leaves_no_process(sweep_file: Write, launcher: tuple[str, ...], running: Running) -> None:
    trial_plan = plan(sweep_file(), launcher, "train.epochs=500")

    def stop(_: dict[str, float]) -> None:
        assert len(running(trial_plan.sweep.out)) == 4  # guard, watcher, training and its child
        raise Stop

    with pytest.raises(Stop):
        execute(trial_plan, 0, {"optimizer.lr": 2.0}, stop)
    assert status(trial_plan) == "stopped"
    assert gone(running, trial_plan.sweep.out)


def test_the_error_of_a_failed_training_is_reported(sweep_file: Write, launcher: tuple[str, ...]) -> None:
    trial_plan = plan(sweep_file(), launcher, "loss.t2=13")
    with pytest.raises(RuntimeError, match="ended with 1: error: thirteen is refused"):
        execute(trial_plan, 0, {}, print)
    assert status(trial_plan) == "failed"
    assert "thirteen" in (trial_plan.run(0) / LOG_NAME).read_text()


def test_a_training_that_was_stopped_from_outside_is_no_finished_trial(
    sweep_file: Write, launcher: tuple[str, ...]
) -> None:
    trial_plan = plan(sweep_file(), launcher, "loss.t2=14", "train.epochs=1")
    with pytest.raises(RuntimeError, match="stopped from outside"):
        execute(trial_plan, 0, {}, lambda _: None)
    assert status(trial_plan) == "failed"


def test_a_metric_that_is_never_written_is_an_error(sweep_file: Write, launcher: tuple[str, ...]) -> None:
    trial_plan = plan(sweep_file(metric="validation/nothing"), launcher, "train.epochs=1")
    with pytest.raises(RuntimeError, match="no validation/nothing"):
        execute(trial_plan, 0, {}, print)


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
    assert gone(running, folder)


def test_two_trials_never_share_a_port(sweep_file: Write) -> None:
    trial_plan = plan(sweep_file(), None)
    commands = [train_command(trial_plan, trial_plan.run(n), {"optimizer.lr": 0.5}, []) for n in range(2)]
    ports = {command[command.index("--master_port") + 1] for command in commands}
    assert len(ports) == 2
    assert "optimizer.lr=0.5" in commands[0]
    assert "track.parent_run=parent" in commands[0]
    assert commands[0][commands[0].index("--num_gpus") + 1] == "1"


def test_trials_on_gpus_use_those_that_ray_assigned(sweep_file: Write) -> None:
    trial_plan = plan(sweep_file(gpus=2, ranks=2), None)
    command = train_command(trial_plan, trial_plan.run(0), {}, [4, 6])
    assert command[command.index("--include") + 1] == "localhost:4,6"
    assert command[command.index("--module") + 1] == "some.module"
