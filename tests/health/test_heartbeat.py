"""One rank's heartbeat: what it writes, what it costs nothing to say, and when it ends its process."""

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

WHO = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "NODE_RANK": "1"}


@pytest.fixture
def ended():
    yield
    heartbeat.end("finished")


def said(run, rank=3):
    return json.loads(path_of(run, rank).read_text())


def wait_for(run, **wanted):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if said(run).items() >= wanted.items():
            return said(run)
        time.sleep(0.05)
    return pytest.fail(f"{said(run)} never was {wanted}")


def test_a_rank_tells_where_it_stands_and_who_it_is(tmp_path, ended):
    heartbeat.begin(tmp_path, WHO, 60, 60)
    assert said(tmp_path) | {"pid": 0} == {
        "rank": 3, "ranks": 4, "local_rank": 1, "node": 1, "pid": 0, "every": 1.0, "beat": 0, "phase": "start",
        "pairs": 0, "seconds": 0.0, "place": "", "waits": False, "ended": None,
    }  # fmt: skip
    heartbeat.phase("data", 640)
    first = wait_for(tmp_path, phase="data", pairs=640)
    heartbeat.phase("step")
    assert wait_for(tmp_path, phase="step", pairs=640)["beat"] > first["beat"]
    assert heartbeat.where() == ("step", 640)


def test_seconds_count_from_the_last_move(tmp_path, ended):
    heartbeat.begin(tmp_path, WHO, 60, 60)
    heartbeat.phase("validate", 10)
    time.sleep(3.5)
    before = said(tmp_path)["seconds"]
    assert 2 <= before <= 4
    assert list(heartbeat.each("ab")) == ["a", "b"]
    wait_for(tmp_path, seconds=0.0)


def test_the_end_is_written_at_once(tmp_path):
    heartbeat.begin(tmp_path, WHO, 60, 60)
    heartbeat.phase("end", 70)
    heartbeat.end("failed")
    assert said(tmp_path).items() >= {"ended": "failed", "phase": "end", "pairs": 70}.items()
    heartbeat.phase("data", 80)  # nobody listens, nothing fails
    assert [path.name for path in (tmp_path / "heartbeat").iterdir()] == ["rank-00003.json"]


def test_many_ranks_beat_more_slowly(tmp_path):
    heartbeat.begin(tmp_path, WHO | {"WORLD_SIZE": "640"}, 60, 60)
    heartbeat.end("finished")
    assert said(tmp_path)["every"] == 10.0


def test_a_run_folder_that_cannot_be_made_is_left_to_others_to_name(tmp_path):
    (tmp_path / "file").write_text("")
    heartbeat.begin(tmp_path / "file", WHO, 60, 60)
    heartbeat.phase("data", 1)
    assert heartbeat.where() == ("start", 0)


def test_patience_by_hand():
    assert heartbeat.patience(1800, 1.0, 60) == 300
    assert heartbeat.patience(1800, 40.0, 60) == 800
    assert heartbeat.patience(1800, 1.0, 300) == 360
    assert heartbeat.patience(1800, 1000.0, 300) == 1800
    assert heartbeat.patience(30, 1.0, 300) == 30


def test_a_short_limit_is_for_steps_that_are_known(tmp_path):
    heart = heartbeat.HeartbeatThread(tmp_path, heartbeat.Heartbeat(0, 1, 0, 0, 1, 1.0, phase="step"), 1800, 60)
    assert heart.limit() == 1800 + heartbeat.GRACE
    heart.longest = 1.0
    assert heart.limit() == 300 + heartbeat.GRACE
    heart.said = heartbeat.replace(heart.said, phase="save")
    assert heart.limit() == 1800 + heartbeat.GRACE


def test_time_in_which_the_process_was_stopped_does_not_count():
    assert heartbeat.still(5.0, False, 1.01, 1.0) == 6.01
    assert heartbeat.still(5.0, False, 3600.0, 1.0) == 7.0
    assert heartbeat.still(5.0, True, 1.0, 1.0) == 0.0


def test_places_are_lines_of_this_project():
    code = compile(
        "import sys\nf = sys._getframe()\n", str(Path(heartbeat.__file__).parents[1] / "stream/made.py"), "exec"
    )
    names = {}
    exec(code, names)
    assert heartbeat.place_of(names["f"]) == ("stream/made.py:2 <module>", False)
    assert heartbeat.place_of(None) == ("", False)


def test_a_rank_that_stands_still_ends_itself(tmp_path):
    script = (
        "import os, time; from pathlib import Path; from sentalign.engine import watch; watch.GRACE = 0.0\n"
        f"watch.begin(Path({str(tmp_path)!r}), os.environ, 2.0, 60)\n"
        "watch.phase('data', 32)\ntime.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | WHO, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: rank 3 has stood still for ")
    assert "in phase data after 32 pairs" in done.stderr
    assert "run the same command to go on" in done.stderr
    assert done.stderr.count("\n") == 1
    assert said(tmp_path)["ended"] == "stood still"


def test_the_first_rank_removes_what_an_earlier_launch_left(tmp_path, ended):
    heartbeat.begin(tmp_path, WHO, 60, 60)
    heartbeat.end("finished")
    heartbeat.begin(tmp_path, WHO | {"RANK": "2"}, 60, 60)
    assert path_of(tmp_path, 3).exists()
    heartbeat.end("finished")
    heartbeat.begin(tmp_path, WHO | {"RANK": "0"}, 60, 60)
    assert [path.name for path in path_of(tmp_path, 0).parent.iterdir()] == [path_of(tmp_path, 0).name]
