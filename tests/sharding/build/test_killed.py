"""SIGKILL at any moment: the same command resumes and ends with the bytes of an undisturbed build."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sharding.verify import verify

IMAGES = 100
KILLS = 4


@pytest.fixture
def archive(tmp_path, png_bytes):
    """Enough images for a build of a second or two, some of them broken."""
    root = tmp_path / "in"
    root.mkdir()
    noise = np.random.default_rng(0)
    for number in range(IMAGES):
        data = b"<html>" if number % 23 == 0 else png_bytes(noise.integers(0, 256, (600, 520), dtype=np.uint8))
        (root / f"{number}.png").write_bytes(data)
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "salt").write_bytes(b"s" * 32)
    return root


def command(tmp_path, out, private):
    arguments = ["folder", str(tmp_path / "in"), "--out", str(out), "--private", str(private), "--allow-no-text"]
    arguments += ["--shard-images", "16", "--processes", "2", "--max-failures", "0.2", "--json"]
    return [sys.executable, "-m", "sharding", "build", *arguments]


def content(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def children(pid):
    """Processes of the session that the build leads."""
    processes = subprocess.run(["ps", "-o", "pid=", "--sid", str(pid)], capture_output=True, text=True, check=False)
    return processes.stdout.split()


def test_a_build_killed_at_random_moments_ends_with_the_same_bytes(archive, tmp_path):
    whole = tmp_path / "whole"
    shutil.copytree(tmp_path / "private", tmp_path / "other")
    subprocess.run(command(tmp_path, whole, tmp_path / "other"), check=True, capture_output=True)
    moment, killed, out = random.Random(0), 0, tmp_path / "out"
    for shards in range(KILLS):
        build = subprocess.Popen(
            command(tmp_path, out, tmp_path / "private"), stdout=subprocess.DEVNULL, start_new_session=True
        )
        while build.poll() is None and len(list(out.glob("*.tar"))) <= shards:
            time.sleep(0.001)
        time.sleep(moment.uniform(0, 0.1))
        build.send_signal(signal.SIGKILL)
        killed += build.wait() == -signal.SIGKILL
        deadline = time.monotonic() + 20
        while children(build.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not children(build.pid), "a worker outlived its build"
    last = subprocess.run(command(tmp_path, out, tmp_path / "private"), check=True, capture_output=True, text=True)
    account = json.loads(last.stdout)
    assert killed > KILLS // 2
    assert account["read"] == IMAGES == account["written"] + account["already"] + account["rejected"]["parse"]
    assert verify(str(out)) == []
    assert content(out) == content(whole)
    assert not [name for name in os.listdir(tmp_path / "private") if name.endswith(".part")]
