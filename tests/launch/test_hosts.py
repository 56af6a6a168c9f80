"""Hostfiles, the checks of hosts before the start, and the commands; real hosts are in tests/multinode."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time

import psutil
import pytest

from sentalign.launch import hosts, process_group_guard
from sharding.contract import UserError


@pytest.fixture
def environ(tmp_path, monkeypatch):
    """An ssh that runs the command here; the host `gone` cannot be reached, `slow` never answers."""
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
    assert list(hosts.read_hostfile(written(tmp_path, "# ours\nb slots=8\n\n a   slots=2 \n")).items()) == [
        ("b", 8),
        ("a", 2),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "names no host"),
        ("a slots=0\n", "line 1: 'a slots=0' is not of the form"),
        ("a slots=2\nb\n", "line 2: 'b' is not of the form"),
        ("a slots=2\na slots=2\n", "line 2: a is listed twice"),
    ],
)
def test_a_bad_hostfile_is_one_line(tmp_path, text, complaint):
    with pytest.raises(UserError, match=complaint):
        hosts.read_hostfile(written(tmp_path, text))


def test_a_hostfile_that_is_not_there():
    with pytest.raises(UserError, match="cannot read the hostfile nowhere; give a file of lines such as"):
        hosts.read_hostfile("nowhere")


def test_the_first_hosts_address(environ, tmp_path):
    assert hosts.check_hosts(["a", "b"], __file__, environ) == "127.0.0.1"


def test_hosts_that_cannot_serve_are_named(environ):
    with pytest.raises(UserError, match=r"host gone cannot be reached by ssh \(connect: No route to host\)"):
        hosts.check_hosts(["a", "gone"], __file__, environ)
    with pytest.raises(UserError, match=r"host a lacks /nowhere/train.py or .*; share the folder .* \(and 1 more"):
        hosts.check_hosts(["a", "b"], "/nowhere/train.py", environ)
    with pytest.raises(UserError, match="host a has no IPv4 address on nonesuch0; set INTERFACE"):
        hosts.check_hosts(["a"], __file__, environ | {"INTERFACE": "nonesuch0"})


def test_a_host_that_does_not_answer_times_out(environ, monkeypatch):
    monkeypatch.setattr(hosts, "PROBE_SECONDS", 1)
    with pytest.raises(UserError, match="host slow did not answer ssh within 1 s"):
        hosts.check_hosts(["slow"], __file__, environ)


def test_slots_must_divide_the_batch(environ, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("run: out\ndata: {shards: none, batch: 16}\n")
    file = written(tmp_path, "gone slots=3\n")  # reported before any host is probed
    assert hosts.main([__file__, file, str(tmp_path / "c.yaml")], environ) == 2
    assert capsys.readouterr().err.startswith("error: data.batch 16 does not divide by 3 ranks")


def test_the_command_of_one_host():
    command = hosts.host_command(
        "hosts", 1, ["--master_addr", "10.0.0.1"], ["train.py", "c.yaml", "run=a b"], ["K=x y"]
    )
    words = shlex.split(command.partition(" && exec ")[2])
    assert words[:2] == ["env", "K=x y"]
    assert words[2:5] == [sys.executable, "-m", "sentalign.launch.process_group_guard"]
    assert words[5:8] == [sys.executable, "-m", "sentalign.launch.supervisor"]
    assert words[-6:] == ["--no_ssh", "--node_rank", "1", "train.py", "c.yaml", "run=a b"]


def test_settings_are_carried_and_may_be_missing(environ, tmp_path, monkeypatch):
    """Without launchers/env.sh there is no .deepspeed_env; two hosts then start without settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("run: out\ndata: {shards: none, batch: 16}\n")
    file = written(tmp_path, "a slots=1\nb slots=1\n")
    commands = []
    monkeypatch.setattr(hosts, "run_on_all", lambda started: commands.append(started) or 0)
    assert hosts.main([__file__, file, "c.yaml"], environ | {"LAUNCHER": "ssh"}) == 0
    (tmp_path / ".deepspeed_env").write_text("NCCL_DEBUG=WARN\nOMP_NUM_THREADS=4\n")
    assert hosts.main([__file__, file, "c.yaml"], environ | {"LAUNCHER": "ssh"}) == 0
    bare, carried = ({host: shlex.split(words[-1]) for host, words in started.items()} for started in commands)
    assert list(bare) == list(carried) == ["a", "b"]
    assert all("NCCL_DEBUG=WARN" not in words for words in bare.values())
    assert all({"NCCL_DEBUG=WARN", "OMP_NUM_THREADS=4"} <= set(words) for words in carried.values())
    assert [words[words.index("--node_rank") + 1] for words in carried.values()] == ["0", "1"]


def guarded(script):
    return process_group_guard.command([sys.executable, "-c", script])


def ended(pid):
    """Whether the process ends within ten seconds; one that nobody has reaped yet has ended."""
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_all_hosts_succeed():
    assert hosts.run_on_all({"a": ["true"], "b": ["sleep", "0.2"]}) == 0


def test_one_host_that_fails_ends_the_others(tmp_path, capfd):
    pid = tmp_path / "pid"
    script = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    long = ["setsid", "-w", *guarded(script)]
    started = f"until [ -s {pid} ]; do sleep 0.1; done; exit 3"
    assert hosts.run_on_all({"a": long, "b": ["bash", "-c", started]}) == 3
    assert ended(int(pid.read_text()))
    assert "error: host b ended with 3; the others are ended too" in capfd.readouterr().err


def test_sigterm_is_passed_on_so_that_ranks_can_save(tmp_path):
    """The launcher, a guard and a training that exits normally at SIGTERM."""
    training = (
        "import signal, sys, time\n"
        f"def stop(*_): open({str(tmp_path / 'saved')!r}, 'w').close(); sys.exit(0)\n"
        f"signal.signal(signal.SIGTERM, stop); open({str(tmp_path / 'ready')!r}, 'w').close(); time.sleep(60)\n"
    )
    command = ["setsid", "-w", *guarded(training)]
    script = f"import sys; from sentalign.launch import hosts; sys.exit(hosts.run_on_all({{'a': {command!r}}}))"
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
            guarded("print('done')"),
            stdin=reading,
            stdout=subprocess.PIPE,
            text=True,
            timeout=20,
            start_new_session=True,
        )
    finally:
        os.close(writing)
        os.close(reading)
    assert (done.returncode, done.stdout) == (0, "done\n")
