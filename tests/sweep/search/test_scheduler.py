"""The schedulers' memory: what is replayed from a record decides as what was never interrupted."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from sentalign.checkpoint import fork
from sentalign.sweep.record import SearchRecord
from sentalign.sweep.search.scheduler import RecordedScheduler, point_config, result_of
from sentalign.sweep.spec.preflight import Checked
from sentalign.sweep.trial import snapshots
from sentalign.sweep.trial.plan import trial_runs
from tests.sweep.conftest import checked_of

Write = Callable[..., Path]
RECALL = "validation/recall"


class TuneTrial(SimpleNamespace):
    """What the schedulers look at of Tune's trial, which they keep in dictionaries."""

    __hash__ = object.__hash__


def tune_trial(record: SearchRecord, number: int) -> TuneTrial:
    return TuneTrial(config=point_config(record.trials[number]), num_failures=1, trial_id=str(number))


def record_of(checked: Checked, out: Path, count: int) -> SearchRecord:
    record = SearchRecord(out)
    record.start({}, {})
    for number in range(len(record.trials), count):
        record.point({"optimizer.lr": number})
    return record


def play(checked: Checked, folder: Path, reports: list[tuple[int, int, float]], interrupt: int | None) -> list[str]:
    """The decisions for reports (trial, pairs, value); after `interrupt` of them all state but the record is lost."""
    record = record_of(checked, folder, 8)
    scheduler, decisions = RecordedScheduler(checked, record), []
    for number in range(8):
        scheduler.on_trial_add(None, tune_trial(record, number))
    for place, (number, pairs, value) in enumerate(reports):
        if place == interrupt:
            record.close()
            record = record_of(checked, folder, 8)
            scheduler = RecordedScheduler(checked, record)
            for one in record.trials:
                if one.is_open:
                    scheduler.on_trial_add(None, tune_trial(record, one.trial))
        if not record.trials[number].is_open:
            decisions.append("-")
            continue
        result = result_of(pairs, {RECALL: [value]}, checked.length.validate_every)
        decisions.append(scheduler.on_trial_result(None, tune_trial(record, number), result))
    record.close()
    return decisions


@pytest.mark.parametrize("kind", ["asha", "median", "none"])
@pytest.mark.parametrize("seed", range(4))
def test_decisions_after_a_resume_are_those_without(sweep_path: Write, tmp_path: Path, kind: str, seed: int) -> None:
    """Eight trials whose reports come in a random order; every report is the place of an interruption once."""
    checked = checked_of(sweep_path(scheduler={"kind": kind}, trials=8))
    chance = random.Random(seed)
    left = {number: list(range(8, 80, 8)) for number in range(8)}
    reports = []
    while any(left.values()):
        number = chance.choice([n for n in left if left[n]])
        reports.append((number, left[number].pop(0), chance.random()))
    whole = play(checked, tmp_path / "whole", reports, None)
    assert ("STOP" in whole) == (kind != "none")
    for interrupt in range(0, len(reports), 5):
        assert play(checked, tmp_path / str(interrupt), reports, interrupt) == whole


def test_the_last_validation_stops_no_training_before_its_end(sweep_path: Write, tmp_path: Path) -> None:
    """Its model would not be written. A shorter length than a run's does end it, as finished."""
    for words, decision, status in [((), "CONTINUE", "waiting"), (("scheduler.max_pairs=72",), "CONTINUE", "waiting"),
                                    (("scheduler.max_pairs=64",), "STOP", "finished")]:  # fmt: skip
        checked = checked_of(sweep_path(), *words)
        record = record_of(checked, tmp_path / decision / str(len(words)), 1)
        scheduler = RecordedScheduler(checked, record)
        scheduler.on_trial_add(None, tune_trial(record, 0))
        result = result_of(72, {RECALL: [0.5]}, 8)
        assert scheduler.on_trial_result(None, tune_trial(record, 0), result) == decision
        assert record.trials[0].status == status
        record.close()


def test_a_report_of_before_a_retry_counts_once(sweep_path: Write, tmp_path: Path) -> None:
    checked = checked_of(sweep_path())
    record = record_of(checked, tmp_path, 1)
    scheduler = RecordedScheduler(checked, record)
    scheduler.on_trial_add(None, tune_trial(record, 0))
    for _ in range(2):
        assert scheduler.on_trial_result(None, tune_trial(record, 0), result_of(8, {RECALL: [0.5]}, 8)) == "CONTINUE"
    assert record.trials[0].curve == [(8, {RECALL: 0.5})]


def test_what_tune_stops_at_the_end_of_the_time_is_not_stopped(sweep_path: Write, tmp_path: Path) -> None:
    checked = checked_of(sweep_path())
    record = record_of(checked, tmp_path, 2)
    scheduler = RecordedScheduler(checked, record)
    for number in range(2):
        scheduler.on_trial_add(None, tune_trial(record, number))
    scheduler.on_trial_complete(None, tune_trial(record, 0), {})
    scheduler.is_ending = True
    scheduler.on_trial_complete(None, tune_trial(record, 1), {})
    assert [trial.status for trial in record.trials] == ["finished", "waiting"]


def test_trials_that_all_wait_for_each_other_go_on(sweep_path: Write, tmp_path: Path) -> None:
    """Ray's Hyperband can leave a bracket in which every trial is paused, for good."""
    checked = checked_of(sweep_path(scheduler={"kind": "hyperband"}, trials=2))
    record = record_of(checked, tmp_path / "out", 2)
    scheduler, statuses = RecordedScheduler(checked, record), ["PAUSED", "RUNNING"]
    trials = [tune_trial(record, number) for number in range(2)]
    for number, trial in enumerate(trials):
        trial.status, trial.is_finished = statuses[number], lambda: False
        scheduler.on_trial_add(None, trial)
    controller = SimpleNamespace(get_trials=lambda: trials)
    assert scheduler.choose_trial_to_run(controller) is None
    trials[1].status = "PAUSED"
    freed = scheduler.choose_trial_to_run(controller)
    assert freed is trials[0]
    # What it reports again does not pause it again.
    record.report(0, 8, {RECALL: 0.5}, {RECALL: [0.5]}, "PAUSE")
    result = result_of(8, {RECALL: [0.5]}, checked.length.validate_every)
    assert scheduler.on_trial_result(controller, freed, result) == "CONTINUE"


def test_a_whole_training_takes_over_no_other(sweep_path: Write, tmp_path: Path) -> None:
    """Tune's scheduler, which does not even know the trial here, is not asked."""
    checked = checked_of(sweep_path(scheduler={"kind": "pbt"}, trials=2))
    record = record_of(checked, tmp_path / "out", 2)
    result = result_of(checked.schedule.max_pairs, {RECALL: [0.1]}, checked.length.validate_every)
    assert RecordedScheduler(checked, record).on_trial_result(None, tune_trial(record, 0), result) == "CONTINUE"
    assert (record.trials[0].pairs, record.trials[0].generation) == (checked.schedule.max_pairs, 0)


def checkpoint(run: Path, pairs: int) -> None:
    """As a training leaves one, and a snapshot of it."""
    folder = run / "checkpoints" / fork.name_of(pairs)
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps({"progress": {"pairs": pairs, "best": 1.0}}))
    (folder / "index.json").write_text("{}")
    (run / "tokenizer").mkdir(exist_ok=True)
    snapshots.keep(run, pairs)


def test_a_trial_takes_over_the_newest_checkpoint_that_is_there(sweep_path: Write, tmp_path: Path) -> None:
    """Of all starts of the other trial; without any it goes on from its own."""
    checked = checked_of(sweep_path(scheduler={"kind": "pbt"}, trials=2, seeds=2))
    record = record_of(checked, checked.sweep.out, 2)
    for pairs in (8, 16, 24):
        record.report(0, pairs, {RECALL: 0.5}, {RECALL: [0.5, 0.5]}, "CONTINUE")
    first, second = trial_runs(checked.sweep, 0)
    checkpoint(first, 16)
    scheduler, changed = RecordedScheduler(checked, record), {"optimizer.lr": 0.7}

    def take() -> TuneTrial:
        trial = tune_trial(record, 0)  # Tune's copy of the configuration of the other trial
        trial.config["point"]["parameters"] = changed
        trial.set_config = lambda config: setattr(trial, "config", config)
        scheduler._take(record.trials[1], trial)
        return trial

    assert take().config["point"]["number"] == 1
    assert (record.trials[1].generation, record.trials[1].parameters) == (0, {"optimizer.lr": 1})
    checkpoint(first, 24)
    checkpoint(second, 16)
    assert take().config["point"]["parameters"] == changed
    assert record.trials[1].source == (0, 0, 16)
    for run in trial_runs(checked.sweep, 1, generation=1):
        assert (run / "checkpoints" / fork.name_of(16) / "state.json").is_file()
