"""The same build on a Ray cluster of two nodes: same bytes, and a dead node costs nothing."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from sharding.build import run
from sharding.build.cluster import RayWorkers, remote
from sharding.build.writer import Destination, WrittenShard
from sharding.contract import UserError
from sharding.sources import SourceImage, SourceListing
from sharding.store.locations import open_store
from sharding.verify import verify

SETTINGS = run.BuildSettings("folder", shard_images=50)
COPIES = 60


@pytest.fixture
def listing(folder, read_folder):
    """Enough images for a build that is still running when a node is removed."""
    rows = read_folder(folder).images
    return SourceListing(
        [SourceImage(f"{copy}-{row.id}", row.file, text=row.text) for copy in range(COPIES) for row in rows]
    )


def content(path):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.iterdir()}


def plan(ray_cluster, private, out):
    return run.Build(SETTINGS, str(out), private, lambda config: RayWorkers(ray_cluster.address, config))


def test_two_nodes_make_the_bytes_of_one_machine(ray_cluster, listing, private, tmp_path, build):
    account = run.build(listing, plan(ray_cluster, private, tmp_path / "out"))
    assert (account.written, account.rejected) == (6 * COPIES, {"parse": COPIES})
    build(listing, SETTINGS, tmp_path / "whole", private)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_dead_node_costs_nothing(ray_cluster, listing, private, tmp_path, build, monkeypatch):
    original, removed = RayWorkers.result, threading.Event()

    def removing(self, job):
        if not removed.is_set():
            removed.set()
            ray_cluster.remove_node(next(iter(ray_cluster.worker_nodes)), allow_graceful=False)
        return original(self, job)

    monkeypatch.setattr(RayWorkers, "result", removing)
    account = run.build(listing, plan(ray_cluster, private, tmp_path / "out"))
    assert account.rejected == {"parse": COPIES}
    assert verify(str(tmp_path / "out")) == []
    build(listing, SETTINGS, tmp_path / "whole", private)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "auto"])
def test_an_address_where_nothing_answers_is_one_line(private, tmp_path, listing, address, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    plan = run.Build(SETTINGS, str(tmp_path / "out"), private, lambda config: RayWorkers(address, config))
    with pytest.raises(UserError, match="no Ray cluster answers"):
        run.build(listing, plan)


def test_the_driver_writes_no_shard(ray_cluster, listing, private, tmp_path, monkeypatch):
    """Samples never come to the process that runs the build; only what became of them does."""
    seen = []
    original = RayWorkers._get

    def watching(self, job):
        found = original(self, job)
        seen.append(found)
        return found

    monkeypatch.setattr(RayWorkers, "_get", watching)
    monkeypatch.setattr("sharding.build.cluster.write_here", None)
    run.build(listing, plan(ray_cluster, private, tmp_path / "out"))
    results = [result for found in seen if isinstance(found, list) and found[0] is not True for result in found[0]]
    assert len(results) == 7 * COPIES
    assert all(result.sample is None for result in results)
    assert {kind for result in results for kind, _, _ in result.ledger} >= {"image", "file", "patient", "study"}
    assert not list((tmp_path / "out").glob(".probe-*"))


def test_rejected_images_are_tried_again_beside_the_samples_that_are_kept(
    ray_cluster, folder, read_folder, private, tmp_path, build
):
    """The kept samples come from the shard that is replaced."""
    listing = read_folder(folder)
    run.build(listing, plan(ray_cluster, private, tmp_path / "out"))
    settled = replace(plan(ray_cluster, private, tmp_path / "out"), retry=frozenset({"parse"}))
    account = run.build(listing, settled)
    assert (account.already, account.rejected) == (6, {"parse": 1})
    build(listing, SETTINGS, tmp_path / "whole", private)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_an_output_that_the_machines_cannot_write_to_is_written_here(
    ray_cluster, listing, private, tmp_path, build, monkeypatch, capsys
):
    monkeypatch.setattr(remote, "is_shared", lambda *_: False)
    run.build(listing, plan(ray_cluster, private, tmp_path / "out"))
    assert "so this one writes all shards" in capsys.readouterr().err
    build(listing, SETTINGS, tmp_path / "whole", private)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_folder_is_shared_if_every_machine_can_write_to_it(tmp_path):
    def shared(*seen_by):
        """Each machine sees another folder under the same name: whether it is this one decides."""
        folders = {f"node-{number}": folder for number, folder in enumerate(seen_by)}
        start = lambda node, _, probe, own: remote.can_write(str(folders[node]), probe, own)  # noqa: E731
        return remote.is_shared(open_store(tmp_path / "out"), list(folders), start, list)

    for name in ("out", "another"):
        (tmp_path / name).mkdir()
    assert shared(tmp_path / "out", tmp_path / "out")
    assert not shared(tmp_path / "out", tmp_path / "another")
    assert not shared(tmp_path / "out", tmp_path / "nowhere")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_shard_that_never_becomes_visible_is_one_line(private, tmp_path, monkeypatch):
    """A machine that joined later may have a folder of its own under this name."""
    monkeypatch.setattr("sharding.build.cluster.VISIBLE", 0.0)
    workers = object.__new__(RayWorkers)
    monkeypatch.setattr(RayWorkers, "_get", lambda *_: (WrittenShard("shard-000000.tar", 10240, "0" * 64, 1), None))
    (tmp_path / "out").mkdir()
    destination = Destination(open_store(tmp_path / "out"), "shard-000000.tar", tmp_path / "part")
    with pytest.raises(UserError, match="a folder that all machines share"):
        workers._written(destination, None)


CLUSTER_BUILD = """
import sys
from sharding.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_driver_that_is_killed_resumes_and_ends_with_the_same_bytes(ray_cluster, folder, tmp_path):
    def command(out, private, *more):
        (tmp_path / private).mkdir(exist_ok=True)
        (tmp_path / private / "salt").write_bytes(b"s" * 32)
        arguments = ["build", "folder", str(folder), "--out", str(tmp_path / out), "--private", str(tmp_path / private)]
        arguments += ["--table", "table.csv", "--image-column", "image", "--text-column", "text", *more]
        arguments += ["--patient-column", "patient", "--max-failures", "1", "--shard-images", "20"]
        return [sys.executable, "-c", CLUSTER_BUILD, *arguments]

    table = (folder / "table.csv").read_text().splitlines()
    for number in range(300):  # a folder large enough to be killed in
        name = f"more-{number}.png"
        shutil.copy(folder / "images" / f"john-doe-{number % 6}.png", folder / "images" / name)
        table.append(f"{name},Edema {number}.,p{number},PA")
    (folder / "table.csv").write_text("\n".join(table) + "\n")
    subprocess.run(command("whole", "other"), check=True, capture_output=True)
    remotely = command("out", "private", "--ray", ray_cluster.address)
    for shards in (0, 3, 6):
        build = subprocess.Popen(remotely, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while build.poll() is None and len(list((tmp_path / "out").glob("*.tar"))) <= shards:
            time.sleep(0.005)
        build.send_signal(signal.SIGKILL)
        assert build.wait() == -signal.SIGKILL
    subprocess.run(remotely, check=True, capture_output=True)
    assert verify(str(tmp_path / "out")) == []
    assert content(tmp_path / "out") == content(tmp_path / "whole")
