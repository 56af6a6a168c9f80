"""Which rank stands still, from readings made by hand; real processes are in tests/multiproc/test_hang.py."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace

import pytest

from sentalign.health.hang import judge, observe, read
from sentalign.health.heartbeat import Heartbeat, path_of
from sharding.contract import UserError


def beat(rank, ranks=4, **said):
    return Heartbeat(
        rank, ranks, rank % 2, rank // 2, 100 + rank, 1.0, **{"beat": 9, "phase": "step", "pairs": 640} | said
    )


def later(beats, *silent):
    return {b.rank: b if b.rank in silent else replace(b, beat=b.beat + 3) for b in beats}


def judged(beats, *silent, stale=60):
    return judge({b.rank: b for b in beats}, later(beats, *silent), stale)


def test_a_run_that_moves_is_healthy():
    found = judged([beat(r, seconds=0.5 * r) for r in range(4)])
    assert (found.state, found.healthy, found.culprits) == ("running", True, ())
    # One rank moved a moment ago: the others wait for it, but not in vain.
    assert judged([beat(0, seconds=90), beat(1, seconds=2), beat(2, seconds=90), beat(3, seconds=90)]).healthy


@pytest.mark.parametrize("phase", ["data", "validate", "step"])
def test_the_rank_behind_the_others_is_named_with_its_phase(phase):
    beats = [beat(r, seconds=90, waits=True) for r in (0, 1, 3)]
    beats.append(beat(2, seconds=95, phase=phase, place="stream/fetch.py:80 read"))
    found = judged(beats)
    assert (found.state, found.healthy, found.culprits) == ("stands still", False, (2,))
    assert found.lines[0].startswith(f"rank 2 (node 1, local rank 0, process 102) stands still in phase {phase}")
    assert found.lines[0].endswith("for 95 s, at stream/fetch.py:80 read")
    assert found.lines[1] == "3 waiting for it in phase step"
    assert found.lines[2].startswith("what to do: ")


def test_fewer_pairs_are_behind_whatever_the_phase():
    beats = [beat(0, seconds=90, phase="data", pairs=656), beat(1, ranks=2, seconds=90)]
    assert judged([replace(b, ranks=2) for b in beats]).culprits == (1,)


def test_slow_phases_have_ten_times_the_time():
    saving = [beat(r, ranks=2, seconds=90, phase="save") for r in (0, 1)]
    assert judged(saving, stale=60).healthy
    assert not judged(saving, stale=8).healthy


def test_all_at_one_place_is_the_network():
    found = judged([beat(r, seconds=90, waits=True, place="dist.py:20 f") for r in range(4)])
    assert found.culprits == (0, 1, 2, 3)
    assert "network between the hosts" in found.lines[-1]


def test_where_nobody_seems_to_wait_the_rank_that_is_elsewhere_is_named():
    """As on GPUs: what waits for a collective's numbers stands in plain code."""
    beats = [beat(r, seconds=90, place="engine/step.py:99 train_step") for r in range(3)]
    beats.append(beat(3, seconds=90, place="model/image.py:70 forward"))
    assert judged(beats).culprits == (3,)
    halves = [
        *beats[:1],
        *(replace(b, rank=b.rank + 1) for b in beats[:1]),
        *(replace(beats[3], rank=r) for r in (2, 3)),
    ]
    assert judged(halves).culprits == (0, 1, 2, 3)


def test_a_heart_that_stops_is_named_even_while_nobody_has_noticed():
    found = judged([beat(r) for r in range(4)], 3)
    assert (found.state, found.culprits) == ("stands still", (3,))
    assert "rank 3 (node 1, local rank 1, process 103) gives no sign of life" in found.lines[0]
    assert "last seen in phase step after 640 pairs" in found.lines[0]
    assert "the others beat: 3 in phase step" in found.lines


def test_a_rank_that_never_came_is_named():
    found = judged([beat(0, ranks=2, phase="start", pairs=0)])
    assert found.culprits == (1,)
    assert "rank 1 was never there" in found.lines


def test_all_silent_is_a_dead_run_and_the_first_to_fall_silent_is_told(tmp_path):
    beats = [beat(r, ranks=2) for r in (1, 0)]
    found = judged(beats, 0, 1)
    assert (found.state, found.healthy, found.culprits) == ("dead", False, (1, 0))
    assert "rank 1 was the first to fall silent" in found.lines


def test_who_lost_contact_is_not_to_blame():
    found = judged([beat(0, ranks=2, ended="lost contact"), beat(1, ranks=2)], 1)
    assert found.culprits == (1,)
    found = judged([beat(0, ranks=2, ended="lost contact"), beat(1, ranks=2, ended="failed", phase="data")], 0, 1)
    assert (found.state, found.culprits) == ("failed", (1,))
    assert any("errors/" in line for line in found.lines)


def test_a_finished_run_is_said_so():
    found = judged([beat(r, ranks=2, phase="end", ended="finished") for r in (0, 1)], 0, 1)
    assert (found.state, found.healthy) == ("finished", True)
    assert found.lines == ("all 2 ranks left in good order, after 640 pairs",)


def write(run, beat):
    path_of(run, beat.rank).parent.mkdir(exist_ok=True)
    path_of(run, beat.rank).write_text(json.dumps(asdict(beat)))


def test_ranks_of_an_earlier_larger_launch_do_not_count(tmp_path):
    for rank in (2, 3, 0, 1):
        write(tmp_path, beat(rank, ranks=4 if rank > 1 else 2))
        os.utime(path_of(tmp_path, rank), (1000 + 10 * (rank < 2) + rank,) * 2)
    assert list(read(tmp_path)) == [0, 1]


def test_unreadable_heartbeats_are_passed_over(tmp_path):
    write(tmp_path, beat(0, ranks=1))
    path_of(tmp_path, 5).write_text('{"rank":')
    path_of(tmp_path, 6).write_text('{"rank": 6, "of another version": 1}')
    assert list(read(tmp_path)) == [0]
    with pytest.raises(UserError, match=r"no heartbeats in .*; give the folder of a run"):
        read(tmp_path / "nowhere")


def test_observing_ends_as_soon_as_all_have_beaten(tmp_path):
    write(tmp_path, beat(0, ranks=1))
    naps = []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 2:
            write(tmp_path, beat(0, ranks=1, beat=10))

    assert observe(tmp_path, 60, nap).state == "running"
    assert len(naps) == 2
    naps.clear()
    assert observe(tmp_path, 60, naps.append).state == "dead"
    assert sum(naps) == 5.0
