"""`sentalign tune` before anything runs: the dry run, mistakes, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sentalign.cli import main
from sentalign.sweep.cli import exit_code

Write = Callable[..., Path]


def test_a_dry_run_says_what_would_run(sweep_path: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = sweep_path(seeds=2, constraints={"validation/side_margin": ">= 0.1"})
    assert main(["tune", str(path), "--dry-run", "cpus=2", "seeds_at_once=2"]) == 0
    out = capsys.readouterr().out
    for line in (
        "compares by   validation/recall (max)",
        "only where    validation/side_margin >= 0.1",
        "a training    72 of 72 pairs, a validation every 8",
        "scheduler     asha, rungs at 8, 24 pairs",
        "trials        4 by random, 2 training(s) each, at most 576 pairs",
        "at once       1 trial(s), each 4 CPU and 0 GPU",
        "point 0       optimizer.lr=1",
    ):
        assert line in out.splitlines()
    assert main(["tune", str(path), "--dry-run", "--json", "searcher=optuna"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rungs"], found["points"], found["most_pairs"]) == ([8, 24], [{"optimizer.lr": 1.0}], 576)
    assert not (tmp_path / "sweep").exists()


def test_a_fresh_clone_is_told_in_one_line(
    sweep_path: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sweep_path(training={"data": {"shards": str(tmp_path / "none"), "batch": 8}})
    assert main(["tune", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "no such folder" in captured.err
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("best", "statuses", "code"),
    [(0, ["finished"], 0), (0, ["finished", "failed"], 3), (None, ["failed"], 1), (None, ["finished"], 1)],
)
def test_exit_codes(best: int | None, statuses: list[str], code: int) -> None:
    assert exit_code({"best": best, "trials": [{"status": status} for status in statuses]}) == code
