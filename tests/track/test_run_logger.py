"""What the loop reports is in the journal, and the run's end says how it ended."""

from __future__ import annotations

import json
import logging
import math

import pytest

from sentalign import config
from sentalign.track import journal
from sentalign.track.background import Outcome
from sentalign.track.run_logger import RunLogger, validation_line
from sharding.contract import UserError


def settings(run, **more):
    return config.check({"run": str(run), "data": {"shards": "none"}, "track": {"uri": None}} | more)


def entries(run):
    return [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]


def test_a_run_that_fails_before_its_start_keeps_its_reason(tmp_path):
    with pytest.raises(UserError, match="the reason"), RunLogger(tmp_path, settings(tmp_path), ""):
        raise UserError("the reason")
    assert [(e["kind"], e.get("status")) for e in entries(tmp_path)] == [("end", "failed")]


def test_the_run_logger_writes_the_journal(tmp_path, capfd):
    with RunLogger(tmp_path, settings(tmp_path, data={"shards": "none", "workers": 0}), "all samples") as logger:
        logger.start(16, 64)
        logger.step(256, {"loss": 1.5})
        logger.validation(32, {"loss": 1.25}, {})
        logger.best(32, 1.25, {})
        logger.saved(32)
    written = entries(tmp_path)
    assert [e["kind"] for e in written] == ["start", "metrics", "validation", "best", "checkpoint", "end"]
    assert (written[0]["pairs"], written[1]["loss"], written[1]["step"], written[-1]["status"]) == (
        16,
        1.5,
        2,
        "finished",
    )
    printed = capfd.readouterr().err
    assert "all samples" in printed
    assert "validation at 32 pairs: loss 1.25\n" in printed


def test_the_line_of_a_validation_names_the_words_of_the_lowest_recall():
    by_word = {
        "word_recall/nodule": 0.9,
        "word_recall/pneumothorax": 0.0,
        "word_recall/thin": 0.25,
        "word_recall/left": 0.5,
    }
    metrics = {"local_tv": 3.0, "loss": 12.25, "recall": 0.625, "side_margin": 0.0125, "side_preferred": 0.75} | by_word
    assert validation_line(metrics) == (
        "loss 12.2  recall 0.625  side margin 0.0125  side preferred 0.75"
        "  lowest recall: pneumothorax 0.00, thin 0.25, left 0.50"
    )


def test_a_stopped_run_says_how_to_go_on(tmp_path, capfd):
    with RunLogger(tmp_path, settings(tmp_path), "") as logger:
        logger.stopped(48)
    assert [(e["kind"], e.get("status")) for e in entries(tmp_path)] == [("end", "stopped")]
    assert "stopped at 48 pairs; run the same command to go on\n" in capfd.readouterr().err


def test_nan_is_text_in_the_journal_for_json_has_no_such_number(tmp_path):
    with RunLogger(tmp_path, settings(tmp_path), "") as logger:
        logger.validation(32, {"loss": math.nan, "local_image": 2.0, "local_text": math.inf}, {})

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    line = (tmp_path / "journal.jsonl").read_text().splitlines()[0]
    entry = json.loads(line, parse_constant=refuse)
    assert (entry["loss"], entry["local_image"], entry["local_text"]) == ("nan", 2.0, "inf")


class Background:
    """Outcomes as BackgroundTasks gives them: some at once, some when the run ends."""

    def __init__(self):
        self.asked, self.closed = [], None

    def ask(self, kind, weights, pairs):
        self.asked.append((kind, weights, pairs))

    def finished(self):
        return [Outcome("pictures", 8, failure="OSError: disk full"), Outcome("attribution", 8, failure="KeyError: x")]

    def close(self, seconds):
        self.closed = seconds
        moved = {"attribution_dx": 0.5, "attribution_dy": -1.25, "attribution_length": 1.5}
        return [Outcome("pictures", 16, ("pictures/a.png", "pictures/b.png")), Outcome("attribution", 16, moved)]


def test_outcomes_of_the_background_are_journal_entries_and_their_failures_warnings(tmp_path, caplog, capfd):
    background = Background()
    with RunLogger(tmp_path, settings(tmp_path), "", background) as logger:
        logger.start(0, 64)
        logger.validation(16, {"loss": 1.0}, {"weight": 1})
        logger.best(16, 1.0, {"weight": 1})
        logger.step(24, {"loss": 1.0})
        logger.validation(32, {"loss": math.nan}, {"weight": math.nan})
    assert background.asked == [("attribution", {"weight": 1}, 16), ("pictures", {"weight": 1}, 16)]
    written = [e for e in entries(tmp_path) if e["kind"] in ("warning", "picture")]
    assert [(e["kind"], e["pairs"], e.get("path") or e["message"]) for e in written] == [
        ("warning", 8, "no sample pictures after 8 pairs: OSError: disk full"),
        ("warning", 8, "no attribution offset after 8 pairs: KeyError: x"),
        ("picture", 16, "pictures/a.png"),
        ("picture", 16, "pictures/b.png"),
    ]
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (logging.WARNING, f"warning: {e['message']}") for e in written if e["kind"] == "warning"
    ]
    (moved,) = [e for e in entries(tmp_path) if e["kind"] == "attribution"]
    found = {"dx": 0.5, "dy": -1.25, "length": 1.5}
    assert journal.metrics(moved) == {f"validation/attribution_{name}": value for name, value in found.items()}
    assert moved["pairs"] == 16
    assert "attribution offset at 16 pairs: 1.5 px (x +0.5, y -1.2)\n" in capfd.readouterr().err


def test_a_run_that_fails_does_not_wait_for_its_background(tmp_path):
    background = Background()
    with pytest.raises(UserError, match="the reason"), RunLogger(tmp_path, settings(tmp_path), "", background):
        raise UserError("the reason")
    assert background.closed == 0


class Localizing(Background):
    """One whose localization is only there when it is waited for."""

    def __init__(self):
        super().__init__()
        self.waited = []

    def finished(self):
        return []

    def wait(self, kind, seconds):
        self.waited.append((kind, seconds))
        found = {"pointing": 0.75, "average_precision": 0.5, "side": 1.0, "cnr": 1.25, "cases": 12.0}
        return [Outcome("localization", 64, found)]


def test_only_the_last_localization_is_waited_for(tmp_path, capfd):
    boxed = {"validation": {"boxes": "there"}, "train": {"timeout_minutes": 4}}
    background = Localizing()
    with RunLogger(tmp_path, settings(tmp_path, **boxed), "", background) as logger:
        logger.start(0, 64)
        logger.validation(32, {"loss": 1.0}, {})
        assert background.waited == []
        logger.validation(64, {"loss": 1.0}, {})
        assert background.waited == [("localization", 120)], "half of what the other ranks wait in a collective"
        (localization,) = [e for e in entries(tmp_path) if e["kind"] == "localization"]
    asked = [(kind, pairs) for kind, _, pairs in background.asked]
    assert asked == [(kind, pairs) for pairs in (32, 64) for kind in ("localization", "attribution")]
    assert journal.metrics(localization) == {
        "validation/pointing": 0.75,
        "validation/average_precision": 0.5,
        "validation/side": 1.0,
        "validation/cnr": 1.25,
        "validation/cases": 12,
    }
    line = "localization at 64 pairs: pointing 0.750  AP 0.500  right side 1.000  CNR 1.250  (12 cases)\n"
    assert line in capfd.readouterr().err


def test_boxes_without_a_validation_split_are_localized_too(tmp_path, capfd):
    background = Localizing()
    with RunLogger(tmp_path, settings(tmp_path, validation={"boxes": "there"}), "", background) as logger:
        logger.start(0, 64)
        logger.validation(64, {}, {})
    assert [kind for kind, *_ in background.asked] == ["localization", "attribution"]
    assert "validation at" not in capfd.readouterr().err


def test_without_boxes_no_localization_is_asked_for(tmp_path):
    background = Localizing()
    with RunLogger(tmp_path, settings(tmp_path), "", background) as logger:
        logger.start(0, 64)
        logger.validation(64, {"loss": 1.0}, {})
    assert background.waited == []
    assert [kind for kind, *_ in background.asked] == ["attribution"]
