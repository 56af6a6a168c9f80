"""Whole searches on a real local Ray cluster, with a stand-in for training: kills, failures, exit codes."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sentalign import config
from tests.processes import within
from tests.sweep.search.command import Command, content, events

Write = Callable[..., Path]
Running = Callable[[Path], list[str]]
RECALL = "validation/recall"


def outcome(folder: Path) -> list[tuple[Any, ...]]:
    """What must not depend on interruptions."""
    found = content(folder)
    names = ("trial", "parameters", "status", "pairs", "values", "by_seed", "curve")
    return [found["best"], *(tuple(trial[name] for name in names) for trial in found["trials"])]


@pytest.mark.slow
def test_a_search(sweep_path: Write, launcher: tuple[str, ...], running: Running, tmp_path: Path) -> None:
    path = sweep_path(concurrent=2, seeds=2, seeds_at_once=1, trials=5, seed=2)
    code, out, err = Command(launcher)(path, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found == content(tmp_path / "sweep")
    assert [trial["trial"] for trial in found["trials"]] == [0, 1, 2, 3, 4]
    assert "stopped" in {trial["status"] for trial in found["trials"]}
    assert any(trial["status"] == "finished" and trial["pairs"] == 72 for trial in found["trials"])
    best = found["trials"][found["best"]]
    assert best["values"][RECALL] == max(trial["values"][RECALL] for trial in found["trials"])
    assert best["values"][RECALL] == pytest.approx(sum(best["by_seed"][RECALL]) / 2)
    assert len(set(best["by_seed"][RECALL])) == 2
    assert config.load(tmp_path / "sweep" / "best.yaml").optimizer.lr == best["parameters"]["optimizer.lr"]
    assert re.search(rf"trial {found['best']}:? starts.*optimizer.lr=", err)
    within(10, lambda: not running(tmp_path / "sweep"))


@pytest.mark.slow
def test_the_trial_that_is_better_in_every_term_wins(
    sweep_path: Write, launcher: tuple[str, ...], tmp_path: Path
) -> None:
    """The old objective, the loss, is multiplied by the weight that is searched: it ranked trials by that alone."""
    points = [{"loss.weight_local": 0.1, "optimizer.lr": 0.001}, {"loss.weight_local": 10.0, "optimizer.lr": 0.1}]
    space = {"loss.weight_local": {"loguniform": [0.1, 10]}, "optimizer.lr": {"loguniform": [1e-3, 1]}}
    changed = {"space": space, "points": points, "trials": 3}
    command = Command(launcher)
    code, _, err = command(sweep_path(**changed, metric="validation/loss"))
    assert (code, events(tmp_path / "sweep", "start")) == (2, 0)
    assert "metric validation/loss cannot compare these trials: loss.weight_local" in err
    code, _, err = command(sweep_path(**changed))
    assert code == 0, err
    found = content(tmp_path / "sweep")
    worse, better = found["trials"][1], found["trials"][2]
    last = {trial["trial"]: trial["curve"][0][1] for trial in found["trials"]}
    assert last[2]["validation/recall"] > last[1]["validation/recall"]
    assert last[2]["validation/loss"] > last[1]["validation/loss"]  # which the old sweep took for worse
    assert (found["best"], worse["status"], better["status"]) == (2, "stopped", "finished")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("searcher", ["random", "optuna"])
def test_a_driver_that_is_killed_three_times_ends_with_the_same_trials(
    sweep_path: Write, launcher: tuple[str, ...], running: Running, tmp_path: Path, searcher: str
) -> None:
    """SIGKILL at three random moments; the points of Optuna may be others after a resume, those of chance may not."""
    path = sweep_path(trials=5, seeds=2, seeds_at_once=2)
    words = [f"searcher={searcher}"]
    folder, chance = tmp_path / "sweep", random.Random()
    command = Command(launcher, seconds=0.3)
    for _ in range(3):
        process = command.start(path, *words)
        wanted = events(folder, "report") + chance.randint(1, 7)
        _until_reported(folder, wanted, process)
        time.sleep(chance.random())
        process.kill()
        process.communicate()
    code, _, err = Command(launcher)(path, *words)
    assert code == 0, err
    assert all(trial["status"] in ("finished", "stopped") for trial in content(folder)["trials"])
    within(10, lambda: not running(folder))
    if searcher == "random":
        assert Command(launcher)(path, f"out={tmp_path}/whole")[0] == 0
        assert outcome(folder) == outcome(tmp_path / "whole")


def _until_reported(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    within(120, lambda: events(folder, "report") >= count or process.poll() is not None)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_search_that_is_interrupted_leaves_nothing_running(
    sweep_path: Write, launcher: tuple[str, ...], running: Running, tmp_path: Path, number: int, code: int
) -> None:
    path, folder = sweep_path(concurrent=2), tmp_path / "sweep"
    process = Command(launcher, seconds=0.3).start(path)
    within(120, lambda: events(folder, "report") >= 3)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: to the whole foreground group
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "the same command continues the sweep" in err
    assert "Traceback" not in err
    assert "SIGTERM received" not in err  # Ray's stack of C++
    within(10, lambda: not running(folder))
    assert {trial["status"] for trial in content(folder)["trials"]} <= {"interrupted", "stopped"}
    code, _, err = Command(launcher)(path)
    assert code == 0, err
    assert events(folder, "opened")
    assert "optimizer.lr=" in err


@pytest.mark.slow
def test_failed_trials_are_one_line_and_an_exit_code(
    sweep_path: Write, launcher: tuple[str, ...], tmp_path: Path
) -> None:
    """3 where some failed, 1 where all did; the same command tries them again."""
    path = sweep_path(space={"loss.t2": {"choice": [13.0, 5.0, 6.0]}}, trials=3)
    code, out, err = Command(launcher)(path)
    assert code == 3
    (failed,) = [trial for trial in content(tmp_path / "sweep")["trials"] if trial["status"] == "failed"]
    assert failed["error"] == "training ended with 1: error: thirteen is refused"
    assert err.count("thirteen") == 1
    assert f"trial {failed['trial']} failed: training ended with 1: error: thirteen is refused" in out
    assert "Traceback" not in out + err
    assert Command(launcher)(path)[0] == 3
    path = sweep_path(space={"loss.t1": {"uniform": [1, 2]}}, trials=9, out=str(tmp_path / "all"), max_failures=2)
    code, _, err = Command(launcher)(path, "loss.t2=13", "first_step=false")
    assert code == 1
    statuses = [trial["status"] for trial in content(tmp_path / "all")["trials"]]
    assert statuses.count("failed") == 2
    assert "error: no trial succeeded" in err


@pytest.mark.slow
def test_what_every_trial_would_fail_with_is_one_line_before_any_starts(
    sweep_path: Write, launcher: tuple[str, ...], running: Running, tmp_path: Path
) -> None:
    path, folder = sweep_path(), tmp_path / "sweep"
    code, _, err = Command(launcher)(path, "loss.t2=13")
    assert (code, events(folder, "began")) == (2, 0)
    message = "error: the first step of the base failed, as it would in every trial: training ended with 1: "
    assert err.splitlines()[-1] == f"{message}error: thirteen is refused (see {folder}/first-step/train.log)"
    assert "Traceback" not in err
    assert Command(launcher)(path, "out=" + str(tmp_path / "other"))[0] == 0
    assert not running(folder)
    assert not (tmp_path / "other" / "first-step").exists()


@pytest.mark.slow
def test_the_time_ends_a_search_that_goes_on_later(
    sweep_path: Write, launcher: tuple[str, ...], tmp_path: Path
) -> None:
    path, command = sweep_path(trials=3), Command(launcher, seconds=0.5)
    code, out, err = command(path, "time_budget=0.1")
    assert "the same command continues them" in out, err
    assert "interrupted" in {trial["status"] for trial in content(tmp_path / "sweep")["trials"]}
    code, _, err = Command(launcher)(path)
    assert code == 0, err
    assert {trial["status"] for trial in content(tmp_path / "sweep")["trials"]} <= {"finished", "stopped"}


@pytest.mark.slow
def test_a_lost_node_loses_no_trial(
    ray_cluster: Any, sweep_path: Write, launcher: tuple[str, ...], running: Running, tmp_path: Path
) -> None:
    """Two raylets on this machine with a trial each; one is killed."""
    path, folder = sweep_path(trials=3, concurrent=2, scheduler={"kind": "none"}), tmp_path / "sweep"
    (tmp_path / "seconds").write_text("0.7")
    command = Command(launcher)
    command.environment |= {"RAY_ADDRESS": ray_cluster.address}
    process = command.start(path)
    within(120, lambda: (events(folder, "began") == 2 and events(folder, "report") >= 4) or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    ray_cluster.remove_node(next(iter(ray_cluster.worker_nodes)), allow_graceful=False)
    _, err = process.communicate(timeout=380)
    assert process.returncode == 0, err
    assert [trial["status"] for trial in content(folder)["trials"]] == ["finished"] * 3
    for trial in content(folder)["trials"]:
        assert [pairs for pairs, _ in trial["curve"]] == list(range(8, 80, 8))
    lines = [(folder / "trials" / f"{n:03d}" / "journal.jsonl").read_text() for n in range(2)]
    starts = [line.count('"kind":"start"') for line in lines]
    assert sorted(starts) == [1, 2]  # the lost one went on from its checkpoint
    assert "Traceback" not in err
    within(10, lambda: not running(folder))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hyperband", "pbt", "median"])
def test_the_other_schedulers_resume_too(
    sweep_path: Write, launcher: tuple[str, ...], tmp_path: Path, kind: str
) -> None:
    """Hyperband's halvings wait for all trials of a bracket: the same come out as without the kill."""
    scheduler = {"kind": kind, "perturb_every_pairs": 8} if kind == "pbt" else {"kind": kind}
    path, folder = sweep_path(trials=7, concurrent=4, cpus=0.5, scheduler=scheduler), tmp_path / "sweep"
    process = Command(launcher, seconds=0.5).start(path)
    within(120, lambda: events(folder, "report") >= 20 or process.poll() is not None)
    process.kill()
    process.communicate()
    code, _, err = Command(launcher, seconds=0.5)(path)
    assert code == 0, err
    trials = content(folder)["trials"]
    assert {trial["status"] for trial in trials} <= {"finished", "stopped"}
    assert any(trial["pairs"] == 72 for trial in trials)
    for trial in trials:
        assert [pairs for pairs, _ in trial["curve"]] == list(range(8, trial["pairs"] + 8, 8))
    if kind == "hyperband":
        assert Command(launcher)(path, f"out={tmp_path}/whole")[0] == 0
        assert outcome(folder) == outcome(tmp_path / "whole")
    if kind == "pbt":
        assert events(folder, "taken")
        taken = [trial for trial in trials if (folder / "trials" / f"{trial['trial']:03d}" / "taken-1").is_dir()]
        assert taken
        assert all(trial["pairs"] == 72 for trial in trials)
        assert all(1e-3 <= trial["parameters"]["optimizer.lr"] <= 10 for trial in trials)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hyperband", "pbt", "median"])
def test_the_other_schedulers_compare_means_of_starts_one_after_another(
    sweep_path: Write, launcher: tuple[str, ...], tmp_path: Path, kind: str
) -> None:
    scheduler = {"kind": kind, "perturb_every_pairs": 16} if kind == "pbt" else {"kind": kind}
    path = sweep_path(trials=6, seeds=2, concurrent=6, cpus=0.3, scheduler=scheduler)
    code, _, err = Command(launcher, seconds=0.5)(path)
    assert code == 0, err
    trials = content(tmp_path / "sweep")["trials"]
    assert {trial["status"] for trial in trials} <= {"finished", "stopped"}
    assert any(trial["pairs"] == 72 for trial in trials)
    assert all(len(values) == 2 for trial in trials for values in trial["by_seed"].values())
    assert kind != "pbt" or events(tmp_path / "sweep", "taken")
    first = [tmp_path / "sweep" / "trials" / f"{trial['trial']:03d}" / "seed-0" / "journal.jsonl" for trial in trials]
    assert max(path.read_text().count('"kind":"start"') for path in first) > 1, "it has waited for the other start"
