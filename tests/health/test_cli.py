"""`sentalign doctor` as a user types it."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from sentalign.cli import main
from sentalign.health.heartbeat import Heartbeat, path_of


@pytest.fixture
def dead_run(tmp_path):
    """Rank 0 was killed."""
    path_of(tmp_path, 0).parent.mkdir()
    path_of(tmp_path, 0).write_text(json.dumps(asdict(Heartbeat(0, 1, 0, 0, 7, 1.0, phase="data", pairs=64))))
    return str(tmp_path)


def test_doctor_prints_versions_and_devices(capsys):
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["torch"][0].isdigit()
    assert int(facts["cores"]) >= 1
    assert main(["doctor"]) == 0
    assert f"deepspeed     {facts['deepspeed']}" in capsys.readouterr().out


def test_hang_of_a_finished_run(tmp_path, capsys):
    path_of(tmp_path, 0).parent.mkdir()
    beat = Heartbeat(0, 1, 0, 0, 7, 1.0, phase="end", pairs=64, ended="finished")
    path_of(tmp_path, 0).write_text(json.dumps(asdict(beat)))
    assert main(["doctor", "hang", "--run", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "all 1 ranks exited normally, after 64 pairs\n"


@pytest.mark.parametrize("words", [["doctor", "--json", "hang"], ["doctor", "hang", "--json"]])
def test_hang_of_a_dead_run_as_json(dead_run, capsys, words):
    assert main([*words, "--run", dead_run]) == 1
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["healthy"], verdict["state"], verdict["suspects"]) == (False, "dead", [0])


def test_hang_of_no_run_is_one_line(tmp_path, capsys):
    assert main(["doctor", "hang", "--run", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_folder_without_its_flag_names_the_flag(dead_run, capsys):
    with pytest.raises(SystemExit):
        main(["doctor", "hang", dead_run])
    assert "--run" in capsys.readouterr().err.splitlines()[-1]
