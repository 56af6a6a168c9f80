"""Trials over several nodes, on raylets of this machine: real trainings, early stops, lost nodes, failures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from sentalign.track import journal
from tests.e2e.commands import ROOT, good
from tests.processes import within
from tests.sweep.search.command import Command, content, events

Write = Callable[..., Path]
Running = Callable[[Path], list[str]]
SPREAD = {"nodes": 2, "ranks": 2, "cpus": 2}
# What all ranks but the first do; it is put before the stand-in for training.
FOLLOWER = """
import os, sys, time
from pathlib import Path
if os.environ["RANK"] != "0":
    run = Path([word for word in sys.argv if word.startswith("run=")][-1][4:].strip('"'))
    (run / ("rank-" + os.environ["RANK"])).write_text(" ".join(os.environ[name] for name in
        ("WORLD_SIZE", "LOCAL_RANK", "NODE_RANK")))
    while not (run / "journal.jsonl").exists() or '"kind":"end"' not in (run / "journal.jsonl").read_text():
        time.sleep(0.1)
    sys.exit()
"""


@pytest.fixture
def command(ray_cluster: Any, launcher: tuple[str, ...]) -> Command:
    """`sentalign tune` on two nodes with a CPU each, and the stand-in for training on every rank."""
    script = Path(launcher[1])
    script.write_text(FOLLOWER + script.read_text())
    found = Command(launcher)
    found.environment |= {"RAY_ADDRESS": ray_cluster.address}
    return found


def node_of_rank_1(ray_cluster: Any, folder: Path) -> Any:
    """The node whose raylet is an ancestor of the second rank."""
    (rank,) = [process for process in psutil.process_iter() if is_rank_1(process, folder)]
    above = {process.pid for process in rank.parents()}
    raylets = {node: node.all_processes["raylet"][0].process.pid for node in ray_cluster.worker_nodes}
    return next(node for node, pid in raylets.items() if pid in above)


def is_rank_1(process: psutil.Process, folder: Path) -> bool:
    with suppress(psutil.Error):
        words = process.cmdline()
        of_this_sweep = any(str(folder) in word for word in words) and "stand_in.py" in " ".join(words)
        return of_this_sweep and process.environ().get("RANK") == "1" and "process_group_guard" not in " ".join(words)
    return False


def starts(folder: Path, trial: int) -> int:
    return (folder / "trials" / f"{trial:03d}" / "journal.jsonl").read_text().count('"kind":"start"')


@pytest.mark.slow
def test_trials_that_are_stopped_leave_their_nodes(
    command: Command, sweep_path: Write, running: Running, tmp_path: Path
) -> None:
    path, folder = sweep_path(**SPREAD, trials=4, concurrent=2, seed=2), tmp_path / "sweep"
    (tmp_path / "seconds").write_text("0.4")
    code, _, err = command(path)
    assert code == 0, err
    assert "1 trial(s) at once, each training on 1 CPU and 0 GPU on each of 2 nodes" in err
    statuses = [trial["status"] for trial in content(folder)["trials"]]
    assert "stopped" in statuses
    assert "finished" in statuses
    assert set(statuses) <= {"stopped", "finished"}
    assert all(starts(folder, n) == 1 for n in range(4))
    assert (folder / "trials" / "000" / "rank-1").read_text() == "2 0 1"
    within(20, lambda: not running(folder))


@pytest.mark.slow
def test_starts_one_after_another_wait_for_each_other(command: Command, sweep_path: Write, tmp_path: Path) -> None:
    path = sweep_path(**SPREAD, trials=2, seeds=2)
    code, _, err = command(path)
    assert code == 0, err
    trials = content(tmp_path / "sweep")["trials"]
    assert {trial["status"] for trial in trials} <= {"finished", "stopped"}
    assert all(len(values) == 2 for trial in trials for values in trial["by_seed"].values())


@pytest.mark.slow
def test_a_training_that_lost_a_node_goes_on_elsewhere(
    ray_cluster: Any, command: Command, sweep_path: Write, tmp_path: Path
) -> None:
    ray_cluster.add_node(num_cpus=1)
    ray_cluster.wait_for_nodes()
    path, folder = sweep_path(**SPREAD, trials=1, scheduler={"kind": "none"}), tmp_path / "sweep"
    (tmp_path / "seconds").write_text("8")  # longer, for the rest of a run, than Ray takes to miss a node
    process = command.start(path)
    within(180, lambda: events(folder, "report") >= 2 or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    (tmp_path / "seconds").write_text("0.1")
    ray_cluster.remove_node(node_of_rank_1(ray_cluster, folder), allow_graceful=False)
    _, err = process.communicate(timeout=380)
    assert process.returncode == 0, err
    trial = content(folder)["trials"][0]
    assert (trial["status"], trial["pairs"]) == ("finished", 72)
    assert [pairs for pairs, _ in trial["curve"]] == list(range(8, 80, 8))
    assert starts(folder, 0) == 2


@pytest.mark.slow
def test_the_mistake_of_a_rank_is_told_in_one_line(command: Command, sweep_path: Write, tmp_path: Path) -> None:
    path = sweep_path({"loss": {"t2": 13.0}}, **SPREAD, trials=1)
    code, _, err = command(path)
    assert code == 2
    assert "error: the first step of the base failed, as it would in every trial: " in err
    assert "error: thirteen is refused (see " in err
    assert "Traceback" not in err
    assert command(path, "first_step=false")[0] == 1
    trial = content(tmp_path / "sweep")["trials"][0]
    assert trial["status"] == "failed"
    assert "error: thirteen is refused" in trial["error"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_nodes_train_to_the_figures_of_one(
    ray_cluster: Any, sweep_path: Write, phantom_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = yaml.safe_load((ROOT / "configs/phantom-cpu.yaml").read_text())
    training |= {"data": {"shards": str(phantom_shards), "batch": 8, "image_size": 64}, "track": {"uri": None}}
    training |= {"train": {"epochs": 1, "validate_every_pairs": 8}}
    path = sweep_path(training, **SPREAD, trials=1)
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    good("train", tmp_path / "base.yaml", "--ranks", 2, f"run={tmp_path}/one", folder=tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster.address)
    good("tune", path, folder=tmp_path)

    def validations(run: Path) -> list[dict[str, float]]:
        return [journal.metrics(entry) for entry in journal.read(run) if entry["kind"] == "validation"]

    expected, found = validations(tmp_path / "one"), validations(tmp_path / "sweep" / "trials" / "000")
    assert len(found) == len(expected) == 3
    for one, two in zip(found, expected, strict=True):
        assert one == pytest.approx(two, rel=1e-5)
