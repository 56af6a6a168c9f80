"""The same build on a Ray cluster of two nodes: same bytes, and a dead node costs nothing."""

from __future__ import annotations

import hashlib
import threading

import pytest

from sharding.build import run
from sharding.build.cluster import RayWorkers
from sharding.contract import UserError
from sharding.sources import SourceImage, SourceListing
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
