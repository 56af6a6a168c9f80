"""Two real ranks of which one hangs, freezes or dies: which is named, and that the run ends by its timeout."""

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
from sentalign.launch.local_ranks import free_port

# A minimal loop: each rank's data, then a step with a collective. Rank 1 hangs in its third iteration.
SCRIPT = """
import os, sys, time
from datetime import timedelta
from pathlib import Path
import torch, torch.distributed as dist
from sentalign.health import failures, heartbeat
run, hangs, timeout = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
heartbeat.GRACE = 1.0
rank = int(os.environ["RANK"])
dist.init_process_group("gloo", timeout=timedelta(seconds=600))
heartbeat.start(run, os.environ, timeout, 1)
with failures.recorded(run, rank, ()):
    for pairs in range(0, 16 * 10**6, 16):
        for phase in ("data", "step"):
            heartbeat.phase(phase, pairs)
            if (rank, pairs, phase) == (1, 32, hangs):
                time.sleep(600)
        dist.all_reduce(torch.ones(3))
        time.sleep(0.05)
"""


class Ranks:
    """Both processes, and the run folder."""

    def __init__(self, run: Path, hangs: str, timeout: float) -> None:
        self.run, port = run, free_port()
        variables = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(run), hangs, str(timeout)],
                env=os.environ | variables | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
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
        errors = self.processes[rank].communicate(timeout=60)[1]
        return self.processes[rank].returncode, errors

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    launched: list[Ranks] = []

    def start(hangs: str, timeout: float = 600) -> Ranks:
        launched.append(Ranks(tmp_path, hangs, timeout))
        return launched[0]

    yield start
    launched[0].kill()


@pytest.mark.parametrize("phase", ["data", "step"])
def test_a_rank_that_hangs_is_named_with_its_phase_then_frozen_then_killed(started: Any, phase: str) -> None:
    ranks = started(phase)
    ranks.wait_for(1, phase=phase, pairs=32)
    ranks.wait_for(0, phase="step", pairs=32, in_collective=True)
    assert hang.observe(ranks.run, 600).healthy, "a phase may last for `stale` seconds"
    time.sleep(3)
    verdict = hang.observe(ranks.run, 2)
    assert (verdict.state, verdict.suspects) == ("hangs", (1,))
    assert f"hangs in phase {phase} after 32 pairs" in verdict.lines[0]
    # Frozen: its heartbeat stops, which is reported for any `stale`.
    os.kill(ranks.processes[1].pid, signal.SIGSTOP)
    verdict = hang.observe(ranks.run, 600)
    assert (verdict.state, verdict.suspects) == ("hangs", (1,))
    assert (
        f"gives no sign of life: its process is dead or frozen, or its host is gone; last seen in phase {phase}"
        in (verdict.lines[0])
    )
    # Killed: rank 0 loses contact; rank 1 is still the suspect.
    ranks.processes[1].kill()
    code, errors = ranks.ended(0)
    assert code == 1
    assert "LostContact: rank 0 lost contact with its peers in phase step after 32 pairs" in errors
    verdict = hang.observe(ranks.run, 600)
    assert (verdict.state, verdict.suspects) == ("dead", (1,))
    assert any("rank 0" in line and "lost contact" in line for line in verdict.lines)


def test_a_rank_that_hangs_ends_the_run_by_its_timeout(started: Any) -> None:
    ranks = started("data", 3.0)
    ranks.wait_for(1, phase="data", pairs=32)
    ends = [ranks.ended(rank) for rank in (1, 0)]
    assert [code for code, _ in ends] == [1, 1]
    assert "error: rank 1 hung for" in ends[0][1] or "lost contact" in ends[0][1]
    assert "rank 0 has waited for its peers" in ends[1][1] or "rank 0 lost contact with its peers" in ends[1][1]
    verdict = hang.observe(ranks.run, 600)
    assert not verdict.healthy
