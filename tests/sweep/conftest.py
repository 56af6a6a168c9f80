"""A training configuration, a sweep file and a stand-in for training, for all tests of the sweep."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import naming

# Writes a journal as training does: the loss tends to optimizer.lr, so the smallest rate is best. Starts a child of
# its own, as the launcher does, and would run for long, so that a leftover process is seen.
STAND_IN = """
import subprocess, sys, time
from pathlib import Path
from sentalign.config import load
from sentalign.track.journal import Journal

config = load(sys.argv[1], sys.argv[2:])
if config.loss.t2 == 13:
    sys.exit("error: thirteen is refused")
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", config.run])
with Journal(Path(config.run)) as book:
    book.append("start", run=Path(config.run).name, config=config.model_dump(mode="json"), versions={}, pairs=0)
    for step in range(1, config.train.epochs + 1):
        time.sleep(0.3)
        book.append("metrics", step=step, pairs=8 * step, loss=1.0)
        book.append("validation", pairs=8 * step, loss=config.optimizer.lr + 1.0 / step)
    book.append("end", status="stopped" if config.loss.t2 == 14 else "finished")
"""


@pytest.fixture
def launcher(tmp_path: Path) -> tuple[str, ...]:
    """The command line of the stand-in."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    return (sys.executable, str(script))


@pytest.fixture
def sweep_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a base configuration and a sweep over it; named settings replace those of the sweep."""

    def write(**changed: Any) -> Path:
        base = {"run": str(tmp_path / "run"), "data": {"shards": str(tmp_path / "shards")}}
        base["track"] = {"uri": f"sqlite:///{tmp_path}/mlflow.db", "experiment": "sweep"}
        (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
        sweep = {
            "base": "base.yaml",
            "out": str(tmp_path / "sweep"),
            "trials": 4,
            "asha": {"grace_pairs": 16, "max_pairs": 160, "reduction_factor": 2},
            "space": {"optimizer.lr": {"loguniform": ["1e-3", 10]}},
            **changed,
        }
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
        return tmp_path / "sweep.yaml"

    return write


@pytest.fixture
def running() -> Callable[[Path], list[str]]:
    """Command lines of living processes that name a folder."""

    return lambda folder: naming(f"{folder}/trials")
