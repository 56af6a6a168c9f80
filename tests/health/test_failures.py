"""What a failing rank leaves behind: a line, and a file that contains no report and no address."""

from __future__ import annotations

import json

import pytest
import torch.distributed as dist

from sentalign.health import failures, heartbeat
from sharding.contract import UserError

GLOO = "[/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer [10.77.0.2]:42349"


def ended(run):
    return json.loads(heartbeat.path_of(run, 1).read_text())["ended"]


@pytest.fixture
def run(tmp_path):
    heartbeat.start(tmp_path, {"RANK": "1", "WORLD_SIZE": "2"}, 60, 60)
    heartbeat.phase("step", 48)
    yield tmp_path
    heartbeat.end("finished")


@pytest.mark.parametrize("error", [RuntimeError(GLOO), dist.DistBackendError("watchdog of (node-a, 29500)")])
def test_lost_peers_are_one_line_and_a_file(run, error):
    with pytest.raises(failures.LostContact) as caught, failures.recorded(run, 1, (UserError,)):
        raise error
    assert str(caught.value) == (
        f"rank 1 lost contact with its peers in phase step after 48 pairs; see `sentalign doctor hang --run {run}`; "
        "run the same command to go on"
    )
    text = (run / "errors/rank-00001.txt").read_text()
    assert "health/test_failures.py:" in text or "test_failures.py:" in text
    assert "ADDRESS" in text
    assert "10.77" not in text
    assert "node-a" not in text
    assert ended(run) == "lost contact"


def test_other_failures_are_raised_unchanged_and_nothing_is_quoted(run):
    with pytest.raises(KeyError), failures.recorded(run, 1, (UserError,)):
        raise KeyError("Small left effusion.")
    text = (run / "errors/rank-00001.txt").read_text()
    assert "KeyError (message left out)" in text
    assert "effusion" not in text
    assert str(run) not in text
    assert ended(run) == "failed"


def test_an_expected_error_leaves_no_file(run):
    with pytest.raises(UserError, match="the reason"), failures.recorded(run, 1, (UserError,)):
        raise UserError("the reason")
    assert not (run / "errors").exists()
    assert ended(run) == "failed"


def test_errors_that_the_caller_does_not_expect_leave_a_file(run):
    with pytest.raises(UserError), failures.recorded(run, 1, (KeyError,)):
        raise UserError("the reason")
    assert "UserError (message left out)" in (run / "errors/rank-00001.txt").read_text()


def test_a_normal_exit_is_recorded_too(run):
    with failures.recorded(run, 1, (UserError,)):
        pass
    assert ended(run) == "finished"


@pytest.mark.parametrize(
    ("message", "masked"),
    [
        ("peer [fe80::1%eth0]:33", "peer [fe80::1%eth0]:33"),
        ("peer [fe80::1]:33 left", "peer ADDRESS left"),
        ("connect to (node-a.lan, 29500) failed", "connect to ADDRESS failed"),
        ("10.0.0.1:80 at 12:30:21", "ADDRESS at 12:30:21"),
        ("closed by remote peer node-a.hospital.org<41670>", "closed by remote peer ADDRESS"),  # NCCL's form
    ],
)
def test_addresses_are_masked(message, masked):
    assert failures._ADDRESS.sub("ADDRESS", message) == masked
