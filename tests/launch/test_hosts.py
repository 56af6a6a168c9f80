"""Hostfiles, what is asked of a host before the start, and the commands; real hosts are in tests/multinode."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from sentalign.launch import hosts
from sharding.contract import UserError


@pytest.fixture
def environ(tmp_path, monkeypatch):
    """An ssh that runs the command here; a host called `gone` is not reached, `slow` never answers."""
    (tmp_path / "ssh").write_text(
        '#!/bin/bash\nhost=${@: -2:1}\n[ "$host" = gone ] && { echo "connect: No route to host" >&2; exit 255; }\n'
        '[ "$host" = slow ] && exec sleep 60\nexec bash -c "${@: -1}"\n'
    )
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin:/usr/bin:/bin")
    return {"INTERFACE": "lo"}


def written(folder, text):
    (folder / "hosts").write_text(text)
    return str(folder / "hosts")


def test_a_hostfile_in_order(tmp_path):
    assert list(hosts.read(written(tmp_path, "# ours\nb slots=8\n\n a   slots=2 \n")).items()) == [("b", 8), ("a", 2)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "names no host"),
        ("a slots=0\n", "line 1: 'a slots=0' is not of the form"),
        ("a slots=2\nb\n", "line 2: 'b' is not of the form"),
        ("a slots=2\na slots=2\n", "line 2: a stands there twice"),
    ],
)
def test_a_bad_hostfile_is_one_line(tmp_path, text, complaint):
    with pytest.raises(UserError, match=complaint):
        hosts.read(written(tmp_path, text))


def test_a_hostfile_that_is_not_there():
    with pytest.raises(UserError, match="cannot read the hostfile nowhere; give a file of lines such as"):
        hosts.read("nowhere")


def test_the_first_hosts_address(environ, tmp_path):
    assert hosts.check(["a", "b"], __file__, environ) == "127.0.0.1"


def test_hosts_that_cannot_serve_are_named(environ):
    with pytest.raises(UserError, match=r"host gone cannot be reached by ssh \(connect: No route to host\)"):
        hosts.check(["a", "gone"], __file__, environ)
    with pytest.raises(UserError, match=r"host a lacks /nowhere/train.py or .*; share the folder .* \(and 1 more"):
        hosts.check(["a", "b"], "/nowhere/train.py", environ)
    with pytest.raises(UserError, match="host a has no IPv4 address on nonesuch0; set INTERFACE"):
        hosts.check(["a"], __file__, environ | {"INTERFACE": "nonesuch0"})


def test_a_host_that_does_not_answer_is_given_up(environ, monkeypatch):
    monkeypatch.setattr(hosts, "PROBE_SECONDS", 1)
    began = time.monotonic()
    with pytest.raises(UserError, match="host slow did not answer ssh within 1 s"):
        hosts.check(["slow"], __file__, environ)
    assert time.monotonic() - began < 10


def test_slots_must_divide_the_batch(environ, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("run: out\ndata: {shards: none, batch: 16}\n")
    file = written(tmp_path, "gone slots=3\n")  # said before any host is asked
    assert hosts.main([__file__, file, str(tmp_path / "c.yaml")], environ) == 2
    assert capsys.readouterr().err.startswith("error: data.batch 16 does not divide by 3 ranks")


def test_the_command_of_one_host():
    said = hosts.by_ssh("hosts", 1, ["--master_addr", "10.0.0.1"], ["train.py", "c.yaml", "run=a b"], ["K=x y"])
    words = shlex.split(said.partition(" && exec ")[2])
    assert words[:2] == ["env", "K=x y"]
    assert words[2:5] == [sys.executable, "-m", "sentalign.launch.guard"]
    assert words[5:8] == [sys.executable, "-m", "sentalign.launch.supervisor"]
    assert words[-6:] == ["--no_ssh", "--node_rank", "1", "train.py", "c.yaml", "run=a b"]


def guarded(script):
    return [sys.executable, "-m", "sentalign.launch.guard", sys.executable, "-c", script]


def test_all_hosts_end_well():
    assert hosts.together({"a": ["true"], "b": ["sleep", "0.2"]}) == 0


def test_one_host_that_fails_ends_the_others(capfd):
    began = time.monotonic()
    forever = ["setsid", "-w", *guarded("import time; time.sleep(60)")]
    assert hosts.together({"a": forever, "b": ["bash", "-c", "sleep 1; exit 3"]}) == 3
    assert time.monotonic() - began < 15
    assert "error: host b ended with 3; the others are ended too" in capfd.readouterr().err


def test_sigterm_is_passed_on_so_that_ranks_can_save(tmp_path):
    """The launcher, a guard and a training that leaves in good order when it is told to."""
    training = (
        "import signal, sys, time\n"
        f"def leave(*_): open({str(tmp_path / 'saved')!r}, 'w').close(); sys.exit(0)\n"
        f"signal.signal(signal.SIGTERM, leave); open({str(tmp_path / 'ready')!r}, 'w').close(); time.sleep(60)\n"
    )
    command = ["setsid", "-w", *guarded(training)]
    script = f"import sys; from sentalign.engine import hosts; sys.exit(hosts.together({{'a': {command!r}}}))"
    launcher = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 30
    while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(20) == 0
    assert (tmp_path / "saved").exists()


def test_the_end_of_a_guarded_commands_output_is_seen():
    """The watcher lives as long as its input is open, as under sshd; it must not hold the output open too."""
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            guarded("print('told')"),
            stdin=reading,
            stdout=subprocess.PIPE,
            text=True,
            timeout=20,
            start_new_session=True,
        )
    finally:
        os.close(writing)
        os.close(reading)
    assert (done.returncode, done.stdout) == (0, "told\n")
