"""`sentalign doctor` as a user types it."""

from __future__ import annotations

import json
from dataclasses import asdict

from sentalign.cli import main
from sentalign.health.heartbeat import Heartbeat, path_of


def test_doctor_tells_versions_and_devices(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["torch"][0].isdigit()
    assert int(found["cores"]) >= 1
    assert main(["doctor"]) == 0
    assert f"deepspeed     {found['deepspeed']}" in capsys.readouterr().out


def test_hang_of_a_finished_and_of_a_dead_run(tmp_path, capsys):
    path_of(tmp_path, 0).parent.mkdir()
    beat = asdict(Heartbeat(0, 1, 0, 0, 7, 1.0, phase="end", pairs=64, ended="finished"))
    path_of(tmp_path, 0).write_text(json.dumps(beat))
    assert main(["doctor", "hang", str(tmp_path)]) == 0
    assert "left in good order, after 64 pairs" in capsys.readouterr().out
    path_of(tmp_path, 0).write_text(json.dumps(beat | {"ended": None, "phase": "data"}))
    assert main(["doctor", "hang", str(tmp_path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["healthy"], found["state"], found["culprits"]) == (False, "dead", [0])


def test_hang_of_no_run_is_one_line(tmp_path, capsys):
    assert main(["doctor", "hang", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
