"""A sweep whose trials have ended: what a later start of the same command still does, without Ray."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sentalign import config
from sentalign.sweep import results, run, tracking
from sentalign.sweep.record import SearchRecord
from sentalign.sweep.run_seconds import RunSeconds
from sentalign.sweep.search import tune
from sentalign.sweep.spec.preflight import Checked
from sentalign.sweep.trial.plan import trial_runs
from sentalign.track import journal
from sentalign.track.journal import Journal
from sharding.contract import UserError
from tests.sweep.conftest import checked_of

Write = Callable[..., Path]
RECALL = "validation/recall"
GRID = {"optimizer.lr": {"grid": [0.01, 0.1]}}


def ended(checked: Checked) -> SearchRecord:
    """The record of a sweep over all points of a grid, as the search leaves it, and a journal of each training."""
    record = SearchRecord(checked.sweep.out)
    record.start(checked.sweep.model_dump(mode="json"), config.decisive(checked.base, measured=True))
    tune._points(checked, record)
    for trial in record.trials:
        record.report(trial.trial, 72, {RECALL: 0.5}, {RECALL: [0.5]}, "CONTINUE")
        record.close_trial(trial.trial, "finished")
        for folder in trial_runs(checked.sweep, trial.trial):
            with Journal(folder) as book:
                book.append("start", run=folder.name, config={}, pairs=0)
    return record


def again(checked: Checked) -> dict[str, Any]:
    """The same command; a training would fail."""
    return run.search(checked, "no.module", launcher=("/bin/false",))


def kinds(folder: Path) -> list[str]:
    return [entry["kind"] for entry, _ in journal.follow(folder)]


def test_a_grid_with_fewer_points_than_trials_is_finished(sweep_path: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base and two points of the grid, of nine trials: Ray is not started again, and the end says finished."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nobody is there
    checked = checked_of(sweep_path(space=GRID, trials=9))
    ended(checked).close()
    tracking.start_parent(checked.sweep, checked.base)
    found = again(checked)
    assert (len(found["trials"]), found["planned"], found["best"]) == (3, 3, 0)
    assert [entry for entry, _ in journal.follow(checked.sweep.out)][-1]["status"] == "finished"


def test_what_was_killed_before_its_upload_is_uploaded_once(sweep_path: Write) -> None:
    checked = checked_of(sweep_path(space=GRID, trials=3))
    ended(checked).close()
    tracking.start_parent(checked.sweep, checked.base)
    assert (kinds(checked.sweep.out), kinds(trial_runs(checked.sweep, 2)[0])) == (["start"], ["start"])
    for _ in range(2):
        again(checked)
        assert (kinds(checked.sweep.out), kinds(trial_runs(checked.sweep, 2)[0])) == (["start", "end"],) * 2


def test_another_base_is_another_sweep(sweep_path: Write) -> None:
    ended(checked_of(sweep_path(space=GRID, trials=3))).close()
    with pytest.raises(UserError, match=r"holds a sweep of other settings \(loss.tau: 0.\d+ -> 0.2\)"):
        again(checked_of(sweep_path(space=GRID, trials=3, training={"loss": {"tau": 0.2}})))
    with pytest.raises(UserError, match=r"other settings \(validation.cases: 200 -> 9\)"):
        again(checked_of(sweep_path(space=GRID, trials=3), "validation.cases=9"))
    track = {"uri": None, "experiment": "another"}
    again(checked_of(sweep_path(space=GRID, trials=3, training={"track": track}), "train.keep_checkpoints=5"))


def test_more_trials_go_on(sweep_path: Write) -> None:
    checked = checked_of(sweep_path(trials=2))
    record = ended(checked)
    assert (record.is_complete(2), record.is_complete(3)) == (True, False)
    assert results.content(checked, record)["planned"] == 2
    record.close()


def test_the_table_of_a_running_sweep_has_seconds(sweep_path: Write) -> None:
    checked = checked_of(sweep_path(space=GRID, trials=3))
    record, run_seconds = ended(checked), RunSeconds()
    (folder,) = trial_runs(checked.sweep, 1)
    lines = [{"kind": "start", "time": 100.0}, {"kind": "metrics", "time": 142.0, "pairs": 8}]
    (folder / journal.JOURNAL_NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    for _ in range(2):
        assert results.content(checked, record, run_seconds=run_seconds)["trials"][1]["seconds"] == 42.0
    record.close()


def test_no_password_of_an_address_is_kept_or_shown(sweep_path: Write) -> None:
    checked = checked_of(sweep_path(space=GRID, trials=3), "track.experiment=https://user:secret@host/a")
    ended(checked).close()
    tracking.start_parent(checked.sweep, checked.base)
    start, _ = next(journal.follow(checked.sweep.out))
    assert start["config"]["overrides"] == {"track.experiment": "https://host/a"}
    again(checked)
    assert "secret" not in (checked.sweep.out / "search" / "journal.jsonl").read_text().splitlines()[-1]


def test_the_nearest_trial_is_told_with_what_was_wanted(sweep_path: Write) -> None:
    checked = checked_of(sweep_path(constraints={"validation/side_margin": ">= 0.9"}))
    trials = [{"trial": n, "status": "finished", "values": {"validation/side_margin": n / 10}} for n in range(3)]
    assert results.nearest(checked, {"trials": trials}) == (
        "no trial meets the constraints; nearest is trial 2 (validation/side_margin >= 0.9: 0.2)"
    )
