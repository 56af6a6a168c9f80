"""A build from and to an object store: the bytes of a local build, over a bad network and after an outage too."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time

import numpy as np
import pytest

from sharding.store.locations import open_store
from sharding.verify import verify
from tests.servers import use_s3

NAMES = [f"images/scan {number} 100%20.png" for number in range(40)]
COLUMNS = ["--image-column", "image", "--text-column", "text", "--patient-column", "patient"]


@pytest.fixture
def files(png_bytes):
    """A folder source by relative names, some of which a URL would escape."""
    noise = np.random.default_rng(0)
    contents = {name: png_bytes(noise.integers(0, 256, (120, 100), dtype=np.uint8)) for name in NAMES}
    contents[NAMES[7]] = b"<html>"
    rows = [f"{name},No effusion {number}.,p{number // 2}" for number, name in enumerate(NAMES)]
    contents["table.csv"] = "\n".join(["image,text,patient", *rows]).encode()
    return contents


def command(source, out, private):
    """The build of `source` into `out`, with the salt that all builds here share."""
    private.mkdir(exist_ok=True)
    (private / "salt").write_bytes(b"s" * 32)
    arguments = ["folder", str(source), "--table", "table.csv", *COLUMNS, "--out", str(out), "--private", str(private)]
    arguments += ["--shard-images", "8", "--processes", "2", "--max-failures", "0.2"]
    return [sys.executable, "-m", "sharding", "build", *arguments]


def content(address):
    store = open_store(address)
    return {name: hashlib.sha256(store.get(name)).hexdigest() for name in store.list()}


@pytest.fixture
def local(files, tmp_path):
    """The result of a local build of the same files."""
    source = open_store(tmp_path / "in", create=True)
    for name, data in files.items():
        source.put(name, data)
    subprocess.run(command(source.url, tmp_path / "out", tmp_path / "local"), check=True, capture_output=True)
    return content(tmp_path / "out")


@pytest.fixture
def remote(files, s3):
    """The address of the same files in a store."""
    source = open_store(f"{s3}/my scans")
    for name, data in files.items():
        source.put(name, data)
    return source.url


def test_a_build_in_a_store_has_the_bytes_of_a_local_one(local, remote, s3, tmp_path):
    out = f"{s3}/data set"
    first = subprocess.run(command(remote, out, tmp_path / "p"), capture_output=True, text=True)
    assert "read 40 = written 39 + rejected 1 + already there 0" in first.stdout, first.stderr
    assert content(out) == local
    assert verify(out) == []
    again = subprocess.run(command(remote, out, tmp_path / "p"), capture_output=True, text=True)
    assert "read 40 = written 0 + rejected 1 + already there 39" in again.stdout, again.stderr
    assert content(out) == local


def test_a_build_over_an_unreliable_network_has_the_same_bytes(local, remote, s3, tmp_path, line, monkeypatch):
    use_s3(monkeypatch, line.url)
    line.faults = ["", "503", "", "drop", "", "cut", "", ""] * 20
    ended = subprocess.run(command(remote, f"{s3}/out", tmp_path / "p"), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert len(line.faults) < 100
    line.faults = []
    assert content(f"{s3}/out") == local


@pytest.mark.slow
def test_a_build_resumes_after_an_outage(local, remote, s3, tmp_path, line, monkeypatch):
    use_s3(monkeypatch, line.url)
    build = subprocess.Popen(command(remote, f"{s3}/out", tmp_path / "p"), stderr=subprocess.PIPE, text=True)
    while not any("shard-000001" in request for request in line.requests) and build.poll() is None:
        time.sleep(0.02)
    line.faults = ["503"] * 10_000
    stderr = build.communicate(timeout=120)[1]
    assert build.returncode == 2, stderr
    assert "the store is down or overloaded (503" in stderr
    assert len(stderr.strip().splitlines()) == 1
    line.faults = []
    subprocess.run(command(remote, f"{s3}/out", tmp_path / "p"), check=True, capture_output=True)
    assert content(f"{s3}/out") == local
    assert verify(f"{s3}/out") == []
