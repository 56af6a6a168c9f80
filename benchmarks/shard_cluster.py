"""How many cores one driver of `shard build --ray` can feed, measured on a simulated cluster.

In: a folder of images with a table. A head without CPUs and `--nodes` further raylets of one CPU each run on this
machine, on the loopback interface. Out: printed CPU time per image of the driver process, of the head's raylet and
control store, and of making one sample. The first two are slopes between two builds of different size, so that what a
build costs once (imports, joining the cluster) does not count, without what the same processes take for the same time
when nothing is built: a cluster of many cores takes less time an image. cores = CPU time of a sample / of the driver.

    PYTHONPATH=. python -W ignore benchmarks/shard_cluster.py [FOLDER] [--images 300 900] [--nodes 2]
"""

from __future__ import annotations

import argparse
import itertools
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import psutil

os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # otherwise ray replaces 127.0.0.1 by an address of the host
from ray.cluster_utils import Cluster

from sharding import ray_cluster
from sharding.build import run
from sharding.build.cluster import RayWorkers
from sharding.build.samples import make_samples
from sharding.build.sentence_tuple import SampleSettings, WorkerConfig
from sharding.deid import private_folder
from sharding.sources import SourceImage, SourceListing, folder
from sharding.sources.inventory import Inventory

NOTES = Path(__file__).resolve().parents[2] / "shared/data/cxr_notes"
TABLE = folder.FolderTable("metadata.csv", "filename", "clinical_notes", "patientid")
SETTINGS = SampleSettings(modalities=None, languages=None, frontal_only=False, chest_only=False, allow_no_text=True)
IDLE = 15.0
SAMPLES = 60  # made in this process, for the CPU seconds of one


def copies(images: list[SourceImage], count: int) -> list[SourceImage]:
    """`count` images: the same ones again and again, under other names."""
    rounds = (replace(image, id=f"{number}-{image.id}") for number in itertools.count() for image in images)
    return list(itertools.islice(rounds, count))


def head_seconds(cluster: Cluster) -> float:
    """CPU seconds so far of what runs on the driver's machine beside the driver."""
    processes = [info.process.pid for infos in cluster.head_node.all_processes.values() for info in infos]
    times = [psutil.Process(pid).cpu_times() for pid in processes if psutil.pid_exists(pid)]
    return sum(time.user + time.system for time in times)


class Spent(NamedTuple):
    """CPU seconds of the driver and of what runs beside it on its machine, and the wall clock."""

    driver: float
    head: float
    wall: float


def spent(cluster: Cluster, work: Callable[[], object]) -> Spent:
    driver, head, wall = time.process_time(), head_seconds(cluster), time.perf_counter()
    work()
    return Spent(time.process_time() - driver, head_seconds(cluster) - head, time.perf_counter() - wall)


def build(images: list[SourceImage], cluster: Cluster, shard_images: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        private = private_folder.open_private(Path(scratch) / "private", scratch + "/in", scratch + "/out")
        settings = run.BuildSettings("folder", SETTINGS, shard_images)
        plan = run.Build(settings, scratch + "/out", private, lambda config: RayWorkers(cluster.address, config))
        account = run.build(SourceListing(images), plan)
        assert account.written == len(images), account


def idle(cluster: Cluster) -> Spent:
    """What a driver that waits takes, in IDLE seconds."""
    ray = ray_cluster.join(cluster.address)
    found = spent(cluster, lambda: time.sleep(IDLE))
    ray.shutdown()
    return found


def sample_seconds(images: list[SourceImage]) -> float:
    """CPU seconds of making one sample."""
    config = WorkerConfig(SETTINGS, b"s" * 32)
    make_samples(images[:1], config)
    started = time.process_time()
    make_samples(images[:SAMPLES], config)
    return (time.process_time() - started) / len(images[:SAMPLES])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=NOTES)
    parser.add_argument("--images", type=int, nargs=2, default=(300, 900))
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--shard-images", type=int, default=100)
    values = parser.parse_args()
    images = [image for image in folder.read(Inventory.of(str(values.folder)), TABLE).images if image.file]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "node_ip_address": "127.0.0.1"})
    for _ in range(values.nodes):
        cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
    cluster.wait_for_nodes()
    few, many = values.images
    try:
        build(copies(images, few), cluster, values.shard_images)  # the workers import what they need
        small, large = (
            spent(cluster, lambda count=count: build(copies(images, count), cluster, values.shard_images))
            for count in (few, many)
        )
        waiting = idle(cluster)
    finally:
        cluster.shutdown()
    sample, wall = sample_seconds(images), large.wall - small.wall
    driver, head = (
        (getattr(large, part) - getattr(small, part) - wall / waiting.wall * getattr(waiting, part)) / (many - few)
        for part in ("driver", "head")
    )
    print(f"driver {driver * 1e3:.3f} ms, head {head * 1e3:.3f} ms, a sample {sample * 1e3:.1f} ms of CPU per image")
    print(f"idle: driver {waiting.driver / waiting.wall:.1%}, head {waiting.head / waiting.wall:.1%} of a core")
    print(f"the driver can feed {sample / driver:.0f} cores; {large.wall:.0f} s for {many} images on {values.nodes}")


if __name__ == "__main__":
    main()
