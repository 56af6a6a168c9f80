"""Steps of a study: done once, resumed after a failure, refused where other settings made the result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sentalign.study import run, spec, study_json
from sentalign.study.run import Step
from sentalign.track.journal import Journal
from sharding.contract import UserError
from tests.processes import naming, within
from tests.study.test_spec import TREE

COUNT = "import pathlib, sys; p = pathlib.Path(sys.argv[1]); p.mkdir(exist_ok=True); (p / 'n').open('a').write('x')"


@pytest.fixture
def step(tmp_path):
    folder = tmp_path / "made"
    return Step("a step", folder, ((sys.executable, "-c", COUNT, str(folder)),), tmp_path / "made.log", "f1", False)


def test_a_step_runs_once(step):
    assert run.execute(step) > 0
    assert json.loads((step.folder / run.STEP).read_text())["seconds"] >= 0
    assert run.execute(step) == 0
    assert (step.folder / "n").read_text() == "x"


def test_a_step_that_failed_runs_again_and_keeps_what_resumes(step, tmp_path):
    failing = replace(step, commands=(*step.commands, (sys.executable, "-c", "raise SystemExit('error: no disk')")))
    with pytest.raises(UserError, match="a step ended with 1: error: no disk"):
        run.execute(failing)
    run.execute(step)
    assert (step.folder / "n").read_text() == "xx"
    assert json.loads((step.folder / run.STEP).read_text())["seconds"] is None  # those of the last part would mislead
    fresh = replace(step, fresh=True, folder=tmp_path / "new", commands=())
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "half").touch()
    with pytest.raises(OSError, match="new"):
        run.execute(fresh)  # nothing made the folder again
    assert not (tmp_path / "new" / "half").exists()


def test_a_training_that_a_stop_request_ended_is_not_done(step):
    """It saves and exits with 0."""
    with Journal(step.folder) as journal:
        journal.append("end", status="stopped")
        with pytest.raises(UserError, match="a step was stopped; the same command goes on from its checkpoint"):
            run.execute(step)
        journal.append("start", pairs=8)
        journal.append("end", status="finished")
        assert run.execute(step) > 0


def test_two_processes_of_one_study_run_a_step_once(step, capsys):
    """The second waits for the first, and finds the step done."""
    slow = replace(step, commands=((sys.executable, "-c", f"import time; time.sleep(1); {COUNT}", str(step.folder)),))
    with ThreadPoolExecutor(2) as both:
        seconds = sorted(both.map(run.execute, [slow, slow]))
    assert seconds[0] == 0 < seconds[1]
    assert capsys.readouterr().err == "a step: waiting for another process that runs it\n"
    assert (step.folder / "n").read_text() == "x"


SAVES = """
import pathlib, signal, sys, time
def save(*_):
    pathlib.Path(sys.argv[1], "saved").touch()
    sys.exit(1)
signal.signal(signal.SIGTERM, save)
pathlib.Path(sys.argv[1], "started").touch()
time.sleep(300)
"""
STUDY = """
import pathlib, sys
from sentalign.study import run
folder = pathlib.Path(sys.argv[1])
run.execute(run.Step("a step", folder, ((sys.executable, "-c", sys.argv[2], str(folder)),), folder / "log", "f", False))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_step_ends_with_its_study_and_saves_if_it_can(tmp_path, number):
    parent = subprocess.Popen([sys.executable, "-c", STUDY, str(tmp_path), SAVES], stderr=subprocess.DEVNULL)
    within(10, (tmp_path / "started").exists)
    parent.send_signal(number)
    parent.wait(30)
    within(10, lambda: not naming(str(tmp_path)))
    assert (tmp_path / "saved").exists() == (number == signal.SIGINT)


def test_a_result_of_other_settings_is_refused(step):
    run.execute(step)
    with pytest.raises(UserError, match="made with other settings"):
        run.execute(replace(step, fingerprint="f2"))


def test_a_change_of_any_setting_changes_the_fingerprint_of_its_rows_only(tmp_path):
    def study(**changes):
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(TREE | changes, sort_keys=False))
        return spec.load(path, out=tmp_path / "out")

    def fingerprints(study):
        return [[step.fingerprint for step in chain] for chain in run.chains(study)]

    before = fingerprints(study())
    assert before == fingerprints(study(title="Another title"))
    rows = {**TREE["rows"], "long": {"set": {"train.epochs": 3}, "data": "other"}}
    after = fingerprints(study(rows=rows))
    assert [len(chain) for chain in before] == [2, 3, 2, 3]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True, False]
    assert all(one != other for one, other in zip(before[1], after[1], strict=True))


def test_a_row_starts_from_the_weights_of_another_with_its_own_seed(tmp_path):
    rows = {**TREE["rows"], "on": {"starts_from": "base", "set": {"train.epochs": 2}}}
    path = tmp_path / "study.yaml"

    def on(rows):
        path.write_text(yaml.safe_dump(TREE | {"rows": rows}, sort_keys=False))
        study = spec.load(path, seeds=[7], out=tmp_path / "out")
        return next(chain for chain in run.chains(study) if chain[-1].name == "on, seed 7: evaluation")

    origin, training, evaluation = on(rows)
    assert origin.folder == tmp_path / "out/runs/base/seed-7"
    assert f'model.start="{origin.folder}"' in training.commands[0]
    assert not any("model.start" in word for word in origin.commands[0])
    rows["base"] = {"set": {"train.epochs": 3}}
    assert all(
        one.fingerprint != other.fingerprint
        for one, other in zip(on(rows), (origin, training, evaluation), strict=True)
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_interrupted_study_continues_and_writes_its_table(tmp_path):
    small = {"train.epochs": 1, "data.image_size": 65, "data.batch": 8}
    rows = {"base": {"set": small}, "again": {"runs_of": "base", "evaluate": ["--replicates", "10"]}}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**TREE, "seeds": [3], "rows": rows, "out": str(tmp_path / "out")}, sort_keys=False))
    command = [sys.executable, "-m", "sentalign", "study", str(path)]
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert "data small" in first.stderr.readline()
    within(300, (tmp_path / "out/runs/base/seed-3/journal.jsonl").exists)
    first.terminate()
    first.communicate(timeout=90)
    assert first.returncode == 128 + signal.SIGTERM
    within(10, lambda: not naming(str(tmp_path)))
    subprocess.run(command, env=environment, check=True, timeout=600)
    content = study_json.read(tmp_path / "out" / "study.json")
    assert all(values[0] is not None for values in content["rows"]["again"]["figures"].values())
    assert content["rows"]["base"]["figures"] == content["rows"]["again"]["figures"]
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("step.json")}
    assert len(made) == 4
    subprocess.run(command, env=environment, check=True, timeout=60)
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("step.json")}
    assert json.loads((tmp_path / "out" / "study.json").read_text()) == content
