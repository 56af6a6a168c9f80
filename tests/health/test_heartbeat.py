"""One rank's heartbeat: what it writes, and when it ends its process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sentalign.health import heartbeat
from sentalign.health.heartbeat import path_of

RANK = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "NODE_RANK": "1"}


@pytest.fixture
def ended():
    yield
    heartbeat.end("finished")


def written(run, rank=3):
    return json.loads(path_of(run, rank).read_text())


def wait_for(run, **wanted):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if written(run).items() >= wanted.items():
            return written(run)
        time.sleep(0.05)
    return pytest.fail(f"{written(run)} never was {wanted}")


def test_a_heartbeat_has_the_ranks_numbers_phase_and_pairs(tmp_path, ended):
    heartbeat.start(tmp_path, RANK, 60, 60)
    assert written(tmp_path) | {"pid": 0} == {
        "rank": 3, "ranks": 4, "local_rank": 1, "node": 1, "pid": 0, "interval": 1.0, "count": 0, "phase": "start",
        "pairs": 0, "idle": 0.0, "line": "", "in_collective": False, "ended": None,
    }  # fmt: skip
    heartbeat.phase("data", 640)
    first = wait_for(tmp_path, phase="data", pairs=640)
    heartbeat.phase("step")
    assert wait_for(tmp_path, phase="step", pairs=640)["count"] > first["count"]
    assert heartbeat.position() == ("step", 640)


def test_idle_seconds_count_from_the_last_progress(tmp_path, ended):
    heartbeat.start(tmp_path, RANK, 60, 60)
    heartbeat.phase("validate", 10)
    time.sleep(3.5)
    before = written(tmp_path)["idle"]
    assert 2 <= before <= 4
    assert list(heartbeat.ticking("ab")) == ["a", "b"]
    wait_for(tmp_path, idle=0.0)


def test_the_end_is_written_at_once(tmp_path):
    heartbeat.start(tmp_path, RANK, 60, 60)
    heartbeat.phase("end", 70)
    heartbeat.end("failed")
    assert written(tmp_path).items() >= {"ended": "failed", "phase": "end", "pairs": 70}.items()
    heartbeat.phase("data", 80)  # without a heartbeat, nothing fails
    assert [path.name for path in (tmp_path / "heartbeat").iterdir()] == ["rank-00003.json"]


def test_many_ranks_write_less_often(tmp_path):
    heartbeat.start(tmp_path, RANK | {"WORLD_SIZE": "640"}, 60, 60)
    heartbeat.end("finished")
    assert written(tmp_path)["interval"] == 10.0


def test_a_run_folder_that_cannot_be_made_is_no_error_here(tmp_path):
    (tmp_path / "file").write_text("")
    heartbeat.start(tmp_path / "file", RANK, 60, 60)
    heartbeat.phase("data", 1)
    assert heartbeat.position() == ("start", 0)


def test_step_limit_by_hand():
    assert heartbeat.step_limit(1800, 1.0, 60) == 300
    assert heartbeat.step_limit(1800, 40.0, 60) == 800
    assert heartbeat.step_limit(1800, 1.0, 300) == 360
    assert heartbeat.step_limit(1800, 1000.0, 300) == 1800
    assert heartbeat.step_limit(30, 1.0, 300) == 30


def test_the_short_limit_applies_once_a_step_was_timed(tmp_path):
    thread = heartbeat.HeartbeatThread(tmp_path, heartbeat.Heartbeat(0, 1, 0, 0, 1, 1.0, phase="step"), 1800, 60)
    assert thread.limit() == 1800 + heartbeat.GRACE
    thread.longest_step = 1.0
    assert thread.limit() == 300 + heartbeat.GRACE
    thread.heartbeat = heartbeat.replace(thread.heartbeat, phase="save")
    assert thread.limit() == 1800 + heartbeat.GRACE


def test_time_in_which_the_process_was_stopped_does_not_count():
    assert heartbeat.idle_seconds(5.0, False, 1.01, 1.0) == 6.01
    assert heartbeat.idle_seconds(5.0, False, 3600.0, 1.0) == 7.0
    assert heartbeat.idle_seconds(5.0, True, 1.0, 1.0) == 0.0


def test_lines_are_of_this_project():
    code = compile(
        "import sys\nf = sys._getframe()\n", str(Path(heartbeat.__file__).parents[1] / "stream/made.py"), "exec"
    )
    names = {}
    exec(code, names)
    assert heartbeat.current_line(names["f"]) == ("stream/made.py:2 <module>", False)
    assert heartbeat.current_line(None) == ("", False)


def test_a_rank_that_hangs_exits(tmp_path):
    script = (
        "import os, time; from pathlib import Path; from sentalign.health import heartbeat; heartbeat.GRACE = 0.0\n"
        f"heartbeat.start(Path({str(tmp_path)!r}), os.environ, 2.0, 60)\n"
        "heartbeat.phase('data', 32)\ntime.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | RANK, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: rank 3 hung for ")
    assert "in phase data after 32 pairs" in done.stderr
    assert "run the same command to go on" in done.stderr
    assert done.stderr.count("\n") == 1
    assert written(tmp_path)["ended"] == "hung"


def test_the_first_rank_removes_what_an_earlier_launch_left(tmp_path, ended):
    heartbeat.start(tmp_path, RANK, 60, 60)
    heartbeat.end("finished")
    heartbeat.start(tmp_path, RANK | {"RANK": "2"}, 60, 60)
    assert path_of(tmp_path, 3).exists()
    heartbeat.end("finished")
    heartbeat.start(tmp_path, RANK | {"RANK": "0"}, 60, 60)
    assert [path.name for path in path_of(tmp_path, 0).parent.iterdir()] == [path_of(tmp_path, 0).name]
