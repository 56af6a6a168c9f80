"""The record of a search: what is appended is what the next start reads; one writer at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sentalign.sweep.record import SearchRecord
from sharding.contract import UserError

SETTINGS = {"space": {"a": 1}, "trials": 3}
BASE = {"loss.tau": 0.1}


def filled(out: Path) -> SearchRecord:
    record = SearchRecord(out)
    record.start(SETTINGS, BASE)
    for value in range(4):
        record.point({"a": value})
        record.began(value)
    record.report(0, 8, {"m": 1.0}, {"m": [0.5, 1.5]}, "CONTINUE")
    record.report(0, 16, {"m": 2.0}, {"m": [2.0, 2.0]}, "CONTINUE")
    record.report(1, 8, {"m": 0.5}, {"m": [0.5, 0.5]}, "STOP")
    record.close_trial(0, "finished")
    record.close_trial(2, "failed", "why")
    return record


def test_a_later_start_finds_what_was_recorded(tmp_path: Path) -> None:
    before = filled(tmp_path)
    before.close()
    after = SearchRecord(tmp_path)
    assert after.trials == before.trials
    assert [trial.status for trial in after.trials] == ["finished", "stopped", "failed", "running"]
    after.start(SETTINGS, BASE)
    assert [trial.status for trial in after.trials] == ["finished", "stopped", "waiting", "waiting"]
    assert json.loads((tmp_path / "trials" / "002" / "trial.json").read_text())["status"] == "waiting"


def test_the_first_end_of_a_trial_counts(tmp_path: Path) -> None:
    record = filled(tmp_path)
    record.close_trial(1, "finished")
    assert record.trials[1].status == "stopped"


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    filled(tmp_path).close()
    path = tmp_path / "search" / "journal.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    assert SearchRecord(tmp_path).trials[2].status == "running"


def test_a_taken_checkpoint_brings_its_curve(tmp_path: Path) -> None:
    record = filled(tmp_path)
    record.report(3, 8, {"m": 0.1}, {"m": [0.1, 0.1]}, "CONTINUE")
    record.taken(3, {"a": 7}, 0, 16)
    taken = record.trials[3]
    assert (taken.parameters, taken.generation, taken.source, taken.pairs) == ({"a": 7}, 1, (0, 0, 16), 16)
    assert taken.curve == [(8, {"m": 1.0}), (16, {"m": 2.0})]


def test_another_sweep_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    filled(tmp_path).close()
    record = SearchRecord(tmp_path)
    with pytest.raises(UserError, match=r'holds a sweep of other settings \(space: {"a": 1} -> {"a": 2}\)'):
        record.start({"space": {"a": 2}, "trials": 3}, BASE)
    with pytest.raises(UserError, match=r"holds a sweep of other settings \(loss.tau: 0.1 -> 0.2\)"):
        record.start(SETTINGS, {"loss.tau": 0.2})
    record.start({"space": {"a": 1}, "trials": 9}, BASE)  # more of the same


def test_a_refusal_shows_no_password(tmp_path: Path) -> None:
    record = SearchRecord(tmp_path)
    record.start({"points": ["s3://user:secret@bucket/a"]}, {"data.shards": "s3://key:secret@store:9000/a"})
    for changed in (({}, {}), ({"points": ["s3://user:secret@bucket/a"]}, {})):
        with pytest.raises(UserError, match="s3://") as caught:
            record.start(*changed)
        assert "secret" not in str(caught.value)


def test_a_sweep_is_complete_with_all_the_points_that_there_are(tmp_path: Path) -> None:
    record = filled(tmp_path)
    record.close_trial(3, "finished")
    assert [record.is_complete(trials) for trials in (4, 5)] == [True, False]
    record.exhausted()
    record.close()
    after = SearchRecord(tmp_path)
    assert after.is_complete(5)
    after.start(SETTINGS, BASE)  # opens the failed one
    assert not after.is_complete(5)


def test_two_processes_never_search_in_one_folder(tmp_path: Path) -> None:
    record = SearchRecord(tmp_path)
    with pytest.raises(UserError, match="is being searched by another process"):
        SearchRecord(tmp_path)
    record.close()
    SearchRecord(tmp_path)
