"""What the loop reports is in the journal, and the run's end says how it ended."""

from __future__ import annotations

import json

import pytest

from sentalign import config
from sentalign.track.run_logger import RunLogger
from sharding.contract import UserError


def made(run, **more):
    return config.check({"run": str(run), "data": {"shards": "none"}, "track": {"uri": None}} | more)


def entries(run):
    return [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]


def test_a_run_that_fails_before_its_start_keeps_its_reason(tmp_path):
    with pytest.raises(UserError, match="the reason"), RunLogger(tmp_path, made(tmp_path), ""):
        raise UserError("the reason")
    assert [(e["kind"], e.get("status")) for e in entries(tmp_path)] == [("end", "failed")]


def test_the_run_logger_writes_the_journal(tmp_path, capfd):
    with RunLogger(tmp_path, made(tmp_path, data={"shards": "none", "workers": 0}), "all samples") as logger:
        logger.start(16, 64)
        logger.step(256, {"loss": 1.5})
        logger.validation(32, {"loss": 1.25})
        logger.saved(32)
    told = entries(tmp_path)
    assert [e["kind"] for e in told] == ["start", "metrics", "validation", "checkpoint", "end"]
    assert (told[0]["pairs"], told[1]["loss"], told[1]["step"], told[-1]["status"]) == (16, 1.5, 2, "finished")
    assert "all samples" in capfd.readouterr().err


def test_a_stopped_run_says_how_to_go_on(tmp_path, capfd):
    with RunLogger(tmp_path, made(tmp_path), "") as logger:
        logger.stopped(48)
    assert [(e["kind"], e.get("status")) for e in entries(tmp_path)] == [("end", "stopped")]
    assert "stopped at 48 pairs; run the same command to go on\n" in capfd.readouterr().err
