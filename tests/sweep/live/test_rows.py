"""The table at every width: no line is longer, the most important columns stay; estimates of the time left."""

from __future__ import annotations

import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console, Group

from sentalign.sweep import content
from sentalign.sweep.live import progress, rows
from tests.sweep.live.story import content as content_at
from tests.sweep.test_content import CONTENTS


def drawn(sweep, width, height=100):
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    console.print(Group(*rows.table(sweep, width, height)))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [24, 40, 60, 80, 100, 120, 160, 240])
def test_the_table_fits_any_width(width):
    sweep = content.read(content_at(12, 0.5))
    lines = drawn(sweep, width)
    assert len(lines) == 1 + 12, "no line is broken"
    assert max(map(len, lines)) <= width
    columns = lines[0].split()
    assert columns[0] == "trial"
    assert width < 28 or "average_precision" in columns
    order = ["state", "pairs", "left", "lr", "weight_local"]
    kept = [name in columns for name in order]
    assert sum(kept) >= min((width - 30) // 20, len(order))
    assert width < 240 or {"side_accuracy", "time", "side_margin", "t3"} <= set(columns)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CONTENTS, st.integers(20, 200), st.integers(5, 30))
def test_any_content_fits(given_, width, height):
    lines = drawn(content.read(given_), width, height)
    assert all(len(line) <= width for line in lines)
    assert len(lines) <= max(height, 8)


def test_only_settings_that_vary_are_columns_by_their_last_names():
    trials = [{"trial": n, "parameters": {"a.x": n, "b.x": n, "c.y": n, "d.z": 1}} for n in range(3)]
    assert drawn(content.read({"trials": trials}), 100)[0].split()[-3:] == ["a.x", "b.x", "y"]


def test_of_many_trials_the_running_and_the_best_are_shown():
    trials = [{"trial": n, "status": "stopped" if n < 50 else "waiting", "values": {"m": n}} for n in range(80)]
    trials[7]["status"] = "running"
    sweep = content.read({"objectives": [{"metric": "m", "mode": "max"}], "trials": trials, "best": 3})
    lines = drawn(sweep, 80, 13)
    assert [int(line.split()[0]) for line in lines[1:-1]] == [3, 7, 42, 43, 44, 45, 46, 47, 48, 49]
    assert lines[-1] == "and 30 waiting, 40 stopped"


def test_the_time_left_follows_the_pairs_of_this_start():
    """100 pairs a trial, 2 at a time; the sweep of before did 300 pairs, this one does 10 a second."""

    def sweep(pairs):
        trials = [{"trial": n, "status": "finished", "pairs": 100} for n in range(3)]
        trials += [{"trial": n, "status": "running", "pairs": pairs} for n in (3, 4)]
        trials += [{"trial": n} for n in range(5, 8)]
        return content.read({"rungs": [50, 100], "trials": trials, "planned": 10})

    speed = progress.Speed()
    assert speed.seconds_left(sweep(0)) is None
    speed.note(sweep(0), 1000.0)
    assert speed.seconds_left(sweep(0)) is None
    speed.note(sweep(25), 1005.0)
    assert speed.seconds_left(sweep(25)) == pytest.approx((2 * 75 + 5 * 100) / 10)
    assert progress.heading(sweep(25), 200, 65).startswith("3 of 10 trials ended | 3 min, about 65 s left | 2 running")


def test_trials_that_wait_are_expected_to_be_stopped_as_early_as_others():
    trials = [{"trial": 0, "status": "stopped", "pairs": 20}, {"trial": 1, "status": "finished", "pairs": 100}]
    trials += [{"trial": 2, "status": "running", "pairs": 80}, {"trial": 3}]
    assert progress._pairs_left(content.read({"trials": trials, "rungs": [100]})) == 0 + 60


def test_a_trial_ends_at_its_own_speed():
    trial = {"trial": 0, "status": "running", "pairs": 25, "seconds": 50}
    sweep = content.read({"trials": [trial], "rungs": [100]})
    assert progress.trial_seconds_left(sweep, sweep.trials[0]) == 150
