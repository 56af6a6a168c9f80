"""Two real ranks of which one hangs, freezes or dies: who is named, and that the run ends within its time-out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sentalign.health import hang, heartbeat
from sentalign.launch.ranks import free_port

# The loop in small: each rank's data, then a step that all do together. Rank 1 hangs in its third round.
SCRIPT = """
import os, sys, time
from datetime import timedelta
from pathlib import Path
import torch, torch.distributed as dist
from sentalign.engine import mishap, watch
run, hangs, timeout = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
watch.GRACE = 1.0
rank = int(os.environ["RANK"])
dist.init_process_group("gloo", timeout=timedelta(seconds=600))
watch.begin(run, os.environ, timeout, 1)
with mishap.told(run, rank):
    for pairs in range(0, 16 * 10**6, 16):
        for phase in ("data", "step"):
            watch.phase(phase, pairs)
            if (rank, pairs, phase) == (1, 32, hangs):
                time.sleep(600)
        dist.all_reduce(torch.ones(3))
        time.sleep(0.05)
"""


class Ranks:
    """Both processes, and the run folder."""

    def __init__(self, run: Path, hangs: str, timeout: float) -> None:
        self.run, port = run, free_port()
        who = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(run), hangs, str(timeout)],
                env=os.environ | who | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in (0, 1)
        ]

    def wait_for(self, rank: int, **wanted: Any) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            path = heartbeat.path_of(self.run, rank)
            if path.is_file() and json.loads(path.read_text()).items() >= wanted.items():
                return
            time.sleep(0.1)
        pytest.fail(f"rank {rank} never was {wanted}")

    def ended(self, rank: int) -> tuple[int, str]:
        said = self.processes[rank].communicate(timeout=60)[1]
        return self.processes[rank].returncode, said

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    made: list[Ranks] = []

    def start(hangs: str, timeout: float = 600) -> Ranks:
        made.append(Ranks(tmp_path, hangs, timeout))
        return made[0]

    yield start
    made[0].kill()


@pytest.mark.parametrize("phase", ["data", "step"])
def test_a_rank_that_hangs_is_named_with_its_phase_then_frozen_then_killed(started: Any, phase: str) -> None:
    ranks = started(phase)
    ranks.wait_for(1, phase=phase, pairs=32)
    ranks.wait_for(0, phase="step", pairs=32, waits=True)
    assert hang.observe(ranks.run, 600).healthy, "a phase may last for as long as it is told"
    time.sleep(3)
    found = hang.observe(ranks.run, 2)
    assert (found.state, found.culprits) == ("stands still", (1,))
    assert f"stands still in phase {phase} after 32 pairs" in found.lines[0]
    # Frozen: its heart stops, and that is told whatever the patience.
    os.kill(ranks.processes[1].pid, signal.SIGSTOP)
    found = hang.observe(ranks.run, 600)
    assert (found.state, found.culprits) == ("stands still", (1,))
    assert (
        f"gives no sign of life: its process is dead or frozen, or its host is gone; last seen in phase {phase}"
        in (found.lines[0])
    )
    # Killed: rank 0 loses contact and says so; rank 1 is still the one to look at.
    ranks.processes[1].kill()
    code, said = ranks.ended(0)
    assert code == 1
    assert "LostContact: rank 0 lost contact with its peers in phase step after 32 pairs" in said
    found = hang.observe(ranks.run, 600)
    assert (found.state, found.culprits) == ("dead", (1,))
    assert any("rank 0" in line and "lost contact" in line for line in found.lines)


def test_a_rank_that_hangs_ends_the_run_within_the_time_out(started: Any) -> None:
    ranks = started("data", 3.0)
    ranks.wait_for(1, phase="data", pairs=32)
    began = time.monotonic()
    ends = [ranks.ended(rank) for rank in (1, 0)]
    assert time.monotonic() - began < 15
    assert [code for code, _ in ends] == [1, 1]
    assert "error: rank 1 has stood still for" in ends[0][1] or "lost contact" in ends[0][1]
    assert "rank 0 has waited for its peers" in ends[1][1] or "rank 0 lost contact with its peers" in ends[1][1]
    found = hang.observe(ranks.run, 600)
    assert not found.healthy
