"""`sentalign tune` before anything runs: the dry run, mistakes, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sentalign.cli import main
from sentalign.sweep.cli import _print_table, exit_code

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


def test_the_table_in_a_pipe_is_as_wide_as_it_must_be(capsys: pytest.CaptureFixture[str]) -> None:
    space = {f"loss.a_setting_of_a_long_name_{n}": {"uniform": [0, 1]} for n in range(6)}
    trial = {"trial": 0, "parameters": dict.fromkeys(space, 0.25), "status": "finished", "pairs": 4352}
    values = {"values": {"validation/average_precision": 0.5}, "by_seed": {"validation/average_precision": [0.4, 0.6]}}
    goals = [{"metric": "validation/average_precision", "mode": "max"}]
    _print_table({"objectives": goals, "space": space, "trials": [trial | values], "best": 0})
    out = capsys.readouterr().out
    assert "…" not in out
    (heading,) = [line for line in out.splitlines() if "trial" in line]
    assert all(name in heading for name in (*space, "validation/average_precision"))
    assert "0.5 (0.4 to 0.6)" in out
    assert "4,352" in out


def test_a_dry_run_opens_the_boxes(
    sweep_path: Write, phantom_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tune", str(sweep_path()), "--dry-run"]
    assert main([*words, f"validation.boxes={phantom_shards.parent / 'phantoms'}"]) == 0
    assert "compares by   validation/average_precision (max)" in capsys.readouterr().out
    assert main([*words, f"validation.boxes={tmp_path}/none"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert f"{tmp_path}/none" in captured.err
    assert main([*words, "metric=validation/bogus"]) == 2
    assert "validation/bogus: no validation writes it" in capsys.readouterr().err
