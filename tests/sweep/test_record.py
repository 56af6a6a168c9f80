"""The record of a search: what is appended is what the next start reads; one writer at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sentalign.sweep.record import SearchRecord
from sharding.contract import UserError

SETTINGS = {"space": {"a": 1}, "trials": 3}


def filled(out: Path) -> SearchRecord:
    record = SearchRecord(out)
    record.start(SETTINGS)
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
    after.start(SETTINGS)
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
        record.start({"space": {"a": 2}, "trials": 3})
    record.start({"space": {"a": 1}, "trials": 9})  # more of the same


def test_two_processes_never_search_in_one_folder(tmp_path: Path) -> None:
    record = SearchRecord(tmp_path)
    with pytest.raises(UserError, match="is being searched by another process"):
        SearchRecord(tmp_path)
    record.close()
    SearchRecord(tmp_path)
