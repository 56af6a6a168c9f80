"""A sweep's folder becomes nested MLflow runs with true times and ends, however the outage went."""

from __future__ import annotations

import json
import os
import time

import pytest

from sentalign import cli
from sentalign.track import journal, mlflow_uploader
from sentalign.track.journal import Journal
from sharding.contract import UserError
from tests.track.mlflow.conftest import write_run, write_trial

TREE = {
    "sweep": None,
    **dict.fromkeys(("000", "001", "002", "003"), "sweep"),
    **{f"003-seed-{seed}": "003" for seed in (0, 1)},
}


def end(sweep, status="finished"):
    with Journal(sweep) as book:
        book.append("end", time=1200.0, status=status)


def test_every_run_is_nested_in_that_of_the_folder_above(sweep, store, nested):
    end(sweep)
    ids = mlflow_uploader.sync_tree(sweep, store, "tree")
    runs, parents = nested("tree")
    assert parents == TREE
    assert ids["."] == runs["sweep"].info.run_id
    assert ids["trials/003/seed-1"] == runs["003-seed-1"].info.run_id
    assert mlflow_uploader.sync_tree(sweep, store, "tree") == ids, "nothing is made twice"
    assert len(nested("tree")[0]) == len(TREE)


def test_starts_and_ends_are_those_of_the_journal(sweep, store, nested):
    end(sweep)
    mlflow_uploader.sync_tree(sweep, store, "times")
    seen = {n: (r.info.status, r.info.start_time, r.info.end_time) for n, r in nested("times")[0].items()}
    assert seen.pop("002")[0::2] == ("FAILED", 1_050_000)
    assert seen == {
        "sweep": ("FINISHED", 1_000_000, 1_200_000),
        "000": ("FINISHED", 1_010_000, 1_031_000),
        "001": ("KILLED", 1_020_000, 1_040_000),  # with its last entry
        "003": ("FINISHED", 1_100_000, 1_125_000),
        "003-seed-0": ("FINISHED", 1_100_000, 1_121_000),
        "003-seed-1": ("FINISHED", 1_105_000, 1_126_000),
    }


def test_a_trial_that_died_before_its_journal_has_its_parameters_and_its_error(sweep, store, nested):
    mlflow_uploader.sync_tree(sweep, store, "failed")
    failed = nested("failed")[0]["002"].data
    assert failed.params == {"seed": "7", "loss.tau": "0.3", "loss.t1": "4.0"}
    assert failed.tags["error"] == "training ended with 1: ValueError (message left out)"
    assert "ValueError" in failed.tags["mlflow.note.content"]
    assert failed.tags["trial"] == "2"
    write_trial(sweep / "trials" / "002", "failed", "training ended with 2: error: lower data.batch")
    mlflow_uploader.sync_tree(sweep, store, "failed")
    assert nested("failed")[0]["002"].data.tags["error"] == "training ended with 2: error: lower data.batch"


def test_the_parent_shows_the_search(sweep, store, nested, client):
    ids = mlflow_uploader.sync_tree(sweep, store, "summary")
    mlflow_uploader.sync_tree(sweep, store, "summary")
    parent = nested("summary")[0]["sweep"]
    history = client.get_metric_history(ids["."], "objective/ap")
    assert sorted((m.step, m.value) for m in history) == [(0, 0.5), (1, 0.25), (3, 0.75)]
    assert sorted(m.step for m in client.get_metric_history(ids["."], "objective/side")) == [0, 3]
    assert (parent.data.metrics["best/ap"], parent.data.metrics["best/side"]) == (0.75, 1.0)
    tags = parent.data.tags
    assert (tags["best.trial"], tags["best.ap"], tags["best.loss.tau"]) == ("3", "0.75", "0.4")
    assert tags["best.run_id"] == ids["trials/003"]
    assert (tags["trials.finished"], tags["trials.stopped"], tags["trials.failed"]) == ("2", "1", "1")
    assert {f.path for f in client.list_artifacts(ids["."])} == {"index.html", "best.yaml", "trials.json"}
    curve = client.get_metric_history(ids["trials/003"], "seeds_mean/ap")
    assert sorted((m.step, m.value) for m in curve) == [(8, 0.5), (16, 0.75)]


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("training ended with 2: error: no split 'x'; set data.train_split", None),
        ("error: no validation wrote validation/recall", None),
        ("its process was lost 3 times, with its node or for want of memory", None),
        (
            "training ended with 1: RuntimeError: decode error: John Doe",
            "training ended with 1: RuntimeError (message left out)",
        ),
        ("training ended with -9: the last words of a report", "training ended with -9 (message left out)"),
        ("ValueError: error: John Doe", "ValueError (message left out)"),
        ("error: cannot reach https://bob:s3cret@store/x", "error: cannot reach https://store/x"),
    ],
)
def test_an_error_quotes_no_report_and_no_password(sweep, store, nested, tmp_path, error, shown):
    (sweep / "trials" / "002" / "trial.json").write_text(json.dumps({"status": "failed", "error": error}))
    mlflow_uploader.sync_tree(sweep, store, tmp_path.name)
    tags = nested(tmp_path.name)[0]["002"].data.tags
    assert tags["error"] == (shown or error)
    assert tags["mlflow.note.content"] == f"**failed**: {shown or error}"


def test_trials_that_were_sent_while_nobody_knew_the_parent_get_it(sweep, store, nested):
    """The trainings' own uploaders worked, the sweep's did not; and one was nested in a run that is gone."""
    mlflow_uploader.sync(sweep / "trials" / "000", store, "late")
    mlflow_uploader.sync(sweep / "trials" / "003" / "seed-0", store, "late", "0" * 32)
    mlflow_uploader.sync_tree(sweep, store, "late")
    assert nested("late")[1] == TREE
    # The training of a resumed trial, whose configuration names no parent or another one, does not undo it.
    with Journal(sweep / "trials" / "000") as book:
        book.append("start", time=1300.0, pairs=16, config={})
    uploader = mlflow_uploader.MlflowUploader(sweep / "trials" / "000", store, "late", "1" * 32)
    uploader.start()
    assert uploader.close()
    runs, parents = nested("late")
    assert parents == TREE
    assert runs["000"].info.status == "RUNNING"


def test_nothing_runs_after_the_end_of_an_interrupted_sweep(sweep, store, nested):
    write_run(sweep / "trials" / "004", 1150.0)
    write_trial(sweep / "trials" / "004", "running")
    mlflow_uploader.sync_tree(sweep, store, "interrupted")
    runs, _ = nested("interrupted")
    assert {name for name, run in runs.items() if run.info.status == "RUNNING"} == {"sweep", "004"}
    end(sweep, "interrupted")
    mlflow_uploader.sync_tree(sweep, store, "interrupted")
    runs, _ = nested("interrupted")
    assert (runs["sweep"].info.status, runs["004"].info.status) == ("KILLED", "KILLED")
    assert runs["004"].info.end_time == 1_170_000


def test_a_run_without_a_sign_of_life_has_been_killed(tmp_path, store, nested):
    run = write_run(tmp_path / "silent", 1000.0)
    (run / "heartbeat").mkdir()
    (run / "heartbeat" / "rank-00000.json").write_text("{}")
    mlflow_uploader.sync(run, store, "silent")
    assert nested("silent")[0]["silent"].info.status == "RUNNING"
    for path in (run / "journal.jsonl", run / "heartbeat" / "rank-00000.json"):
        os.utime(path, (time.time() - 700,) * 2)
    mlflow_uploader.sync(run, store, "silent")
    killed = nested("silent")[0]["silent"].info
    assert (killed.status, killed.end_time) == ("KILLED", 1_020_000)


def test_a_checkpoint_taken_over_is_a_run_of_its_trial(tmp_path, store, nested):
    sweep = write_run(tmp_path / "pbt", 1000.0, "finished", validations=0)
    write_trial(sweep / "trials" / "000", "finished")
    write_run(sweep / "trials" / "000", 1001.0, "stopped")
    write_run(sweep / "trials" / "000" / "taken-1", 1050.0, "finished")
    write_trial(sweep / "trials" / "001", "finished")
    write_run(sweep / "trials" / "001" / "taken-2" / "seed-0", 1050.0, "finished")
    mlflow_uploader.sync_tree(sweep, store, "taken")
    assert nested("taken")[1] == {
        "pbt": None,
        "000": "pbt",
        "000-taken-1": "000",
        "001": "pbt",
        "001-taken-2-seed-0": "001",
    }


def test_an_end_that_was_written_late_is_not_when_the_training_ended(tmp_path, store, nested):
    run = write_run(tmp_path / "late-end", 1000.0)
    with Journal(run) as book:
        book.append("end", time=5000.0, status="stopped")
    mlflow_uploader.sync(run, store, "late-end")
    assert nested("late-end")[0]["late-end"].info.end_time == 1_020_000
    other = write_run(tmp_path / "killed", 1000.0)
    journal.end_killed(other, "stopped")
    journal.end_killed(other, "finished")
    assert [(e["status"], e["time"]) for e in journal.read(other) if e["kind"] == "end"] == [("stopped", 1020.0)]


def test_one_damaged_journal_keeps_no_other_run_back(sweep, store, nested):
    journal_file = sweep / "trials" / "000" / "journal.jsonl"
    journal_file.write_bytes(b"no json\n" + journal_file.read_bytes())
    with pytest.raises(UserError, match=r"000/journal.jsonl is damaged at byte 0.*; all other runs were sent"):
        mlflow_uploader.sync_tree(sweep, store, "damaged")
    assert {"sweep", "001", "002", "003", "003-seed-0", "003-seed-1"} <= nested("damaged")[0].keys()


def test_an_unreachable_store_is_one_line(sweep):
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9 did not accept the run .*; check the address"):
        mlflow_uploader.sync_tree(sweep, "http://me:secret@127.0.0.1:9", "none")


def test_the_command_knows_store_experiment_and_parent(sweep, store, nested, capfd, monkeypatch):
    with Journal(sweep) as book:
        track = {"uri": store, "experiment": "command", "parent_run": "f" * 32}
        book.append("start", time=1000.0, run="sweep", config={}, track=track)
    assert cli.main(["track", "sync", str(sweep), "--json"]) == 0
    printed = json.loads(capfd.readouterr().out)
    runs, parents = nested("command")
    assert parents == TREE
    assert runs["sweep"].data.tags["mlflow.parentRunId"] == "f" * 32
    assert printed["run_id"] == runs["sweep"].info.run_id
    assert printed["children"]["trials/003/seed-0"] == runs["003-seed-0"].info.run_id
    assert cli.main(["track", "sync", "--run", str(sweep)]) == 0
    assert capfd.readouterr().out == f"MLflow run {printed['run_id']} with {len(TREE) - 1} nested runs\n"


def test_a_new_store_prints_nothing_on_stdout(tmp_path, capfd):
    run = write_run(tmp_path / "run", 1000.0, "finished")
    assert cli.main(["track", "sync", str(run), "--uri", f"sqlite:///{tmp_path}/new.db", "--json"]) == 0
    assert set(json.loads(capfd.readouterr().out)) == {"run_id", "experiment", "children"}


def test_a_sweep_takes_the_store_of_its_trials(sweep, store):
    from sentalign.track.mlflow import run_folder

    assert run_folder.store_of(sweep) is None
    (sweep / "trials" / "002" / "config.yaml").write_text("track: {uri: 'http://host', experiment: own, parent_run: x}")
    assert run_folder.store_of(sweep) == run_folder.UploadTarget("http://host", "own")


def test_a_relative_store_is_the_one_that_the_run_used(tmp_path):
    from sentalign.track.mlflow import run_folder

    run = tmp_path / "run"
    with Journal(run) as book:
        book.append("start", config={}, track={"uri": "sqlite:////data/runs/mlflow.db"})
    (run / "config.yaml").write_text("track: {uri: 'sqlite:///runs/mlflow.db', experiment: e}\n")
    assert run_folder.store_of(run).uri == "sqlite:////data/runs/mlflow.db"
    (run / "config.yaml").write_text("track: {uri: 'sqlite:///other.db', experiment: e}\n")
    assert run_folder.store_of(run).uri == "sqlite:///other.db"
