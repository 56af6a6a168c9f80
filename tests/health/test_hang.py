"""Which rank hangs, from heartbeats made by hand; real processes are in tests/multiproc/test_hang.py."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace

import pytest

from sentalign.health.hang import judge, observe, read
from sentalign.health.heartbeat import Heartbeat, path_of
from sharding.contract import UserError


def beat(rank, ranks=4, **fields):
    return Heartbeat(
        rank, ranks, rank % 2, rank // 2, 100 + rank, 1.0, **{"count": 9, "phase": "step", "pairs": 640} | fields
    )


def later(beats, *silent):
    return {b.rank: b if b.rank in silent else replace(b, count=b.count + 3) for b in beats}


def judged(beats, *silent, stale=60):
    return judge({b.rank: b for b in beats}, later(beats, *silent), stale)


def test_a_run_that_makes_progress_is_healthy():
    verdict = judged([beat(r, idle=0.5 * r) for r in range(4)])
    assert (verdict.state, verdict.healthy, verdict.suspects) == ("running", True, ())
    # One rank made progress a moment ago; the others wait for it.
    assert judged([beat(0, idle=90), beat(1, idle=2), beat(2, idle=90), beat(3, idle=90)]).healthy


@pytest.mark.parametrize("phase", ["data", "validate", "step"])
def test_the_rank_behind_the_others_is_named_with_its_phase(phase):
    beats = [beat(r, idle=90, in_collective=True) for r in (0, 1, 3)]
    beats.append(beat(2, idle=95, phase=phase, line="stream/fetch.py:80 read"))
    verdict = judged(beats)
    assert (verdict.state, verdict.healthy, verdict.suspects) == ("hangs", False, (2,))
    assert verdict.lines[0].startswith(f"rank 2 (node 1, local rank 0, process 102) hangs in phase {phase}")
    assert verdict.lines[0].endswith("for 95 s, at stream/fetch.py:80 read")
    assert verdict.lines[1] == "ranks that wait for it: 3 in phase step"
    assert verdict.lines[2].startswith("what to do: ")


def test_fewer_pairs_are_behind_whatever_the_phase():
    beats = [beat(0, idle=90, phase="data", pairs=656), beat(1, ranks=2, idle=90)]
    assert judged([replace(b, ranks=2) for b in beats]).suspects == (1,)


def test_slow_phases_have_ten_times_the_time():
    saving = [beat(r, ranks=2, idle=90, phase="save") for r in (0, 1)]
    assert judged(saving, stale=60).healthy
    assert not judged(saving, stale=8).healthy


def test_all_at_one_line_is_the_network():
    verdict = judged([beat(r, idle=90, in_collective=True, line="dist.py:20 f") for r in range(4)])
    assert verdict.suspects == (0, 1, 2, 3)
    assert "network between the hosts" in verdict.lines[-1]


def test_without_a_rank_in_a_collective_the_one_at_another_line_is_named():
    """As on GPUs: a rank that waits for a collective's values is in plain code."""
    beats = [beat(r, idle=90, line="engine/step.py:99 train_step") for r in range(3)]
    beats.append(beat(3, idle=90, line="model/image.py:70 forward"))
    assert judged(beats).suspects == (3,)
    halves = [
        *beats[:1],
        *(replace(b, rank=b.rank + 1) for b in beats[:1]),
        *(replace(beats[3], rank=r) for r in (2, 3)),
    ]
    assert judged(halves).suspects == (0, 1, 2, 3)


def test_a_rank_without_a_heartbeat_is_named_before_the_others_wait():
    verdict = judged([beat(r) for r in range(4)], 3)
    assert (verdict.state, verdict.suspects) == ("hangs", (3,))
    assert "rank 3 (node 1, local rank 1, process 103) gives no sign of life" in verdict.lines[0]
    assert "last seen in phase step after 640 pairs" in verdict.lines[0]
    assert "ranks with a heartbeat: 3 in phase step" in verdict.lines


def test_a_rank_that_never_started_is_named():
    verdict = judged([beat(0, ranks=2, phase="start", pairs=0)])
    assert verdict.suspects == (1,)
    assert "rank 1 never started" in verdict.lines


def test_all_silent_is_a_dead_run_and_the_first_to_fall_silent_is_named(tmp_path):
    beats = [beat(r, ranks=2) for r in (1, 0)]
    verdict = judged(beats, 0, 1)
    assert (verdict.state, verdict.healthy, verdict.suspects) == ("dead", False, (1, 0))
    assert "rank 1 was the first to fall silent" in verdict.lines


def test_a_rank_that_lost_contact_is_no_suspect():
    verdict = judged([beat(0, ranks=2, ended="lost contact"), beat(1, ranks=2)], 1)
    assert verdict.suspects == (1,)
    verdict = judged([beat(0, ranks=2, ended="lost contact"), beat(1, ranks=2, ended="failed", phase="data")], 0, 1)
    assert (verdict.state, verdict.suspects) == ("failed", (1,))
    assert any("errors/" in line for line in verdict.lines)


def test_a_finished_run():
    verdict = judged([beat(r, ranks=2, phase="end", ended="finished") for r in (0, 1)], 0, 1)
    assert (verdict.state, verdict.healthy) == ("finished", True)
    assert verdict.lines == ("all 2 ranks exited normally, after 640 pairs",)


def write(run, beat):
    path_of(run, beat.rank).parent.mkdir(exist_ok=True)
    path_of(run, beat.rank).write_text(json.dumps(asdict(beat)))


def test_ranks_of_an_earlier_larger_launch_do_not_count(tmp_path):
    for rank in (2, 3, 0, 1):
        write(tmp_path, beat(rank, ranks=4 if rank > 1 else 2))
        os.utime(path_of(tmp_path, rank), (1000 + 10 * (rank < 2) + rank,) * 2)
    assert list(read(tmp_path)) == [0, 1]


def test_unreadable_heartbeats_are_skipped(tmp_path):
    write(tmp_path, beat(0, ranks=1))
    path_of(tmp_path, 5).write_text('{"rank":')
    path_of(tmp_path, 6).write_text('{"rank": 6, "of another version": 1}')
    assert list(read(tmp_path)) == [0]
    with pytest.raises(UserError, match=r"no heartbeats in .*; give the folder of a run"):
        read(tmp_path / "nowhere")


def test_observing_ends_as_soon_as_every_rank_has_a_new_heartbeat(tmp_path):
    write(tmp_path, beat(0, ranks=1))
    naps = []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 2:
            write(tmp_path, beat(0, ranks=1, count=10))

    assert observe(tmp_path, 60, nap).state == "running"
    assert len(naps) == 2
    naps.clear()
    assert observe(tmp_path, 60, naps.append).state == "dead"
    assert sum(naps) == 5.0
