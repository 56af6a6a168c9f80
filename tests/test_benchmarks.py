"""Every benchmark that needs no run and no data of the user's starts and ends, at sizes that show nothing.

Their figures stand in the documentation with the command beside them; a command that fails makes the figure a claim.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = [
    "checkpoint.py --megabytes 2 --rounds 1",
    "region_loss.py --batch 4 --rounds 1",
    "retrieval.py --pairs 1000 --queries 300 --width 8",
    "sentences.py",
    "stream.py --samples 400 --rounds 1 --batch 16 --side 32",
    "stream_plan.py --samples 2000",
]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split(".")[0])
def test_a_benchmark_runs(command, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    words = [sys.executable, str(ROOT / "benchmarks" / command.split()[0]), *command.split()[1:]]
    ended = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert any(character.isdigit() for character in ended.stdout), "prints no figure"
