"""The display on a real terminal and in a pipe: what a reader sees, at any width, and no line twice."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from collections import Counter

import pytest

from sentalign.sweep import content
from sentalign.sweep.live import SweepDisplay
from tests.sweep.live.story import content as content_at
from tests.sweep.live.terminal import ROOT, screens
from tests.sweep.page import made

ESCAPE = "\x1b"


def played(count, steps, pause):
    return f"from tests.sweep.live.story import play; play({count}, {steps}, {pause})"


def test_a_terminal_shows_a_table_that_is_updated_in_place():
    seen, stdout = screens(played(12, 4, 0.7), 150, 24)
    assert stdout == ""
    running = [screen for screen in seen if any(re.match(r"\d+ +running ", line) for line in screen)]
    assert running, "the table was drawn while trials ran"
    assert any(re.search(r"running .* \d+ min", line) for screen in running for line in screen), "time left"
    last = [line for line in seen[-1] if line]
    rows = [line for line in last if re.match(r"\d+ +(finished|stopped|failed) ", line)]
    assert [int(row.split()[0]) for row in rows] == list(range(12)), "each trial once"
    best = content_at(12, 1)["best"]
    assert [int(row.split()[0]) for row in rows if " best" in row] == [best]
    assert sum(made.ERROR in line for line in last) == 1
    assert sum(line.startswith("sweep ended") for line in last) == 1
    assert max(Counter(last).values()) == 1


def test_a_small_terminal_shows_what_matters_most():
    seen, _ = screens(played(30, 3, 1), 60, 14)
    tables = [screen for screen in seen if any("running" in line for line in screen)]
    assert tables
    for screen in tables:
        heading = next(line for line in screen if line.startswith("trial  state"))
        assert "average_precision" in heading
        assert "side_accuracy" not in heading
        assert any(re.match(r"and \d+ ", line) for line in screen), "trials that are left out are counted"
    repeated = Counter(line for line in seen[-1] if line and "out of memory" not in line and not line.startswith("DA"))
    assert max(repeated.values()) == 1


def test_stdout_stays_free_for_results():
    code = "from sentalign.sweep.live import SweepDisplay\nwith SweepDisplay() as d: d.update({}); print('{}')"
    seen, stdout = screens(code, 80, 10)
    assert stdout == "{}\n"
    assert not any("{}" in line for line in seen[-1])


def test_a_dumb_terminal_gets_lines():
    seen, _ = screens(played(3, 2, 0), 100, 40, TERM="dumb")
    assert any(line.startswith("trial 0 starts") for line in seen[-1])


def test_a_pipe_gets_one_line_per_event():
    done = subprocess.run(
        [sys.executable, "-c", played(12, 24, 0)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    assert ESCAPE not in done.stderr
    assert max(Counter(lines).values()) == 1, "no line twice"
    given = made.sweep(12)
    for trial in given["trials"]:
        number = trial["trial"]
        own = [line for line in lines if line.startswith((f"trial {number} ", f"trial {number}:"))]
        assert own[0].startswith(f"trial {number} starts: optimizer.lr=")
        assert own[-1].startswith(f"trial {number} {trial['status']} at {trial['pairs']:,} pairs")
        validations = [f"trial {number}: {p:,} pairs, {made.AP} {v[made.AP]:.4g}" for p, v in trial["curve"]]
        assert [line.partition(f", {made.SIDE}")[0] for line in own[1:-1]] == validations
    best = [int(line.split()[2].rstrip(",")) for line in lines if line.startswith("best: trial")]
    assert best[-1] == content_at(12, 1)["best"]
    assert re.match(r"sweep ended after \d+ s: \d+ finished, \d+ stopped, 1 failed; best: trial ", lines[-1])


def lines_of(*contents, error=None):
    """The lines of a display that is given these contents."""
    stream = io.StringIO()
    try:
        with SweepDisplay(stream) as display:
            for one in contents:
                display._next_reading = float("-inf")  # each is read
                display.update(one)
            if error:
                raise error
    except KeyboardInterrupt:
        pass
    return stream.getvalue().splitlines()


def sweep_of(**trial):
    trial = {"trial": 4, "parameters": {"s": 0.5}, "pairs": 0} | trial
    return {"objectives": [{"metric": "m", "mode": "min"}], "trials": [trial], "rungs": [100]}


def test_a_resumed_sweep_tells_nothing_again():
    ended = {"trial": 1, "status": "stopped", "pairs": 50, "curve": [[50, {"m": 2.0}]]}
    before, after = ([[10, {"m": 1.0}]], [[10, {"m": 1.0}], [20, {"m": 0.5}]])
    first = sweep_of(status="interrupted", pairs=10, curve=before)
    first["trials"].append(ended)
    second = sweep_of(status="running", pairs=20, curve=after)
    second["trials"].append(ended)
    assert lines_of(first, second, second)[:-1] == [
        "resumes with 2 trials that have ended",
        "trial 4 continues at 20 pairs: s=0.5",
        "trial 4: 20 pairs, m 0.5",
    ]


def test_a_trial_that_is_tried_again_says_so_and_repeats_no_validation():
    curve = [[10, {"m": 1.0}]]
    waiting, running = sweep_of(status="waiting"), sweep_of(status="running", pairs=10, curve=curve)
    failed = sweep_of(status="failed", pairs=10, curve=curve, error="lost node\nTraceback")
    assert lines_of(waiting, running, failed, running, failed)[:-1] == [
        "trial 4 starts: s=0.5",
        "trial 4: 10 pairs, m 1",
        "trial 4 failed at 10 pairs: lost node Traceback",
        "trial 4 starts again, attempt 2",
        "trial 4 failed at 10 pairs, attempt 2: lost node Traceback",
    ]


def test_a_trial_that_takes_over_a_checkpoint_does_not_tell_the_curve_of_the_other():
    own = sweep_of(status="running", pairs=10, curve=[[10, {"m": 3.0}]])
    taken = sweep_of(status="running", pairs=20, curve=[[10, {"m": 1.0}], [20, {"m": 0.9}]], parameters={"s": 0.6})
    later = sweep_of(
        status="running", pairs=30, curve=[[10, {"m": 1.0}], [20, {"m": 0.9}], [30, {"m": 0.8}]], parameters={"s": 0.6}
    )
    assert lines_of(sweep_of(), own, taken, later)[:-1] == [
        "trial 4 starts: s=0.5",
        "trial 4: 10 pairs, m 3",
        "trial 4 goes on from another trial at 20 pairs: s=0.6",
        "trial 4: 30 pairs, m 0.8",
    ]


def test_a_new_best_is_told_once():
    one = sweep_of(status="running", pairs=10, values={"m": 1.0}) | {"best": 4}
    better = sweep_of(status="running", pairs=20, values={"m": 0.5}, by_seed={"m": [0.4, 0.6]}) | {"best": 4}
    told = [line for line in lines_of(one, one, better, better)[:-1] if line.startswith("best")]
    assert told == ["best: trial 4, m 1", "best: trial 4, m 0.5 (0.4 to 0.6)"]


def test_the_end_is_told_after_ctrl_c_too_and_nothing_of_a_sweep_that_never_began():
    lines = lines_of(sweep_of(status="running", pairs=10), error=KeyboardInterrupt())
    assert lines[-1] == "sweep interrupted after 0 s: 1 running; no best trial"
    assert lines_of() == []
    assert lines_of({}) == []


def test_the_last_content_is_always_shown():
    stream = io.StringIO()
    with SweepDisplay(stream) as display:
        display.update({})
        display._next_reading = float("inf")
        display.update(sweep_of(status="finished", pairs=100))
        assert stream.getvalue() == ""
    assert "1 finished" in stream.getvalue()


def test_hostile_texts_stay_on_their_lines():
    text = "a\x1b[2J\r\nb [bold]"
    lines = lines_of(sweep_of(status="failed", error=text, parameters={"s": text}))
    assert len(lines) == 3
    assert "a b [bold]" in lines[1]
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("trials", [12, 200])
def test_updates_cost_next_to_nothing(trials):
    """However often it is called: reading takes .5% of the time, and the first reading is no more than a moment."""
    given = made.sweep(trials)
    with SweepDisplay(io.StringIO()) as display:
        display.update(given)
        began, calls, used = time.perf_counter(), 0, time.process_time()
        while time.perf_counter() - began < 2:
            display.update(given)
            calls += 1
            time.sleep(0.001)
        used = time.process_time() - used
    assert calls > 100
    assert used / 2 < 0.1, "with the sleeping itself"


def test_names_that_are_not_ascii_need_no_encoding_of_the_terminal():
    code = "from sentalign.sweep.live import SweepDisplay\nwith SweepDisplay() as d: d.update({'trials': [{'trial': 0, "
    code += "'status': 'failed', 'error': 'größer ≥ 1'}]})"
    env = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert content.read({}).trials == ()
