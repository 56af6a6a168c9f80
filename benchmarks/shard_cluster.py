"""How many cores one driver of `shard build --ray` can feed, measured on a simulated cluster.

In: nothing. A head without CPUs and `--nodes` further raylets of one CPU each run on this machine, on the loopback
interface; the images are noise, which takes little time and as many bytes as a chest X-ray. Out: printed CPU time per
image of the driver process, of the head's raylet and control store, and of making the sample of a full-size DICOM file.
The first two are slopes between two builds of different size, so that what a build costs once (imports, joining the
cluster) does not count, without what the same processes take for the same time when nothing is built: a cluster of many
cores takes less time an image. cores = CPU time of a sample / of the driver.

    PYTHONPATH=. python -W ignore benchmarks/shard_cluster.py [--images 500 2500] [--nodes 2] [--shard-images 250]
"""

from __future__ import annotations

import argparse
import itertools
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # otherwise ray replaces 127.0.0.1 by an address of the host
from ray.cluster_utils import Cluster

from sharding import ray_cluster
from sharding.build import run
from sharding.build.cluster import RayWorkers
from sharding.build.samples import make_samples
from sharding.build.sentence_tuple import SampleSettings, WorkerConfig
from sharding.deid import private_folder
from sharding.sources import SourceImage, SourceListing

SETTINGS = SampleSettings(modalities=None, languages=None, frontal_only=False, chest_only=False, allow_no_text=True)
IDLE = 15.0
SAMPLES = 8  # of a full-size file made in this process, for the CPU seconds of one
NOISE, FILES = 420, 32  # pixels a side: 175 kB as JPEG; different files
REPORT = "FINDINGS: The heart is normal in size. There is no pleural effusion. IMPRESSION: No acute disease. " * 3


def noise(into: Path) -> list[Path]:
    random = np.random.default_rng(0)
    paths = [into / f"{number}.png" for number in range(FILES)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (NOISE, NOISE), dtype=np.uint8)).save(path)
    return paths


def listing(paths: list[Path], count: int) -> SourceListing:
    """`count` images: the same files again and again, under other names and with a report each."""
    files = itertools.islice(itertools.cycle(map(str, paths)), count)
    return SourceListing([SourceImage(f"image-{n}", file, text=REPORT) for n, file in enumerate(files)])


def head_seconds(cluster: Cluster) -> float:
    """CPU seconds so far of what runs on the driver's machine beside the driver."""
    head = cluster.head_node
    assert head
    processes = [info.process.pid for infos in head.all_processes.values() for info in infos]
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


def build(images: SourceListing, cluster: Cluster, shard_images: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        private = private_folder.open_private(Path(scratch) / "private", scratch + "/in", scratch + "/out")
        settings = run.BuildSettings("folder", SETTINGS, shard_images)
        plan = run.Build(settings, scratch + "/out", private, lambda config: RayWorkers(cluster.address, config))
        account = run.build(images, plan)
        assert account.written == len(images.images), account


def idle(cluster: Cluster) -> Spent:
    """What a driver that waits takes, in IDLE seconds."""
    ray = ray_cluster.join(cluster.address)
    found = spent(cluster, lambda: time.sleep(IDLE))
    ray.shutdown()
    return found


def sample_seconds(into: Path) -> float:
    """CPU seconds of making the sample of a DICOM file of 2,544 x 3,056 pixels of 12 bits."""
    random = np.random.default_rng(0)
    smooth = Image.fromarray(random.integers(400, 3500, (24, 20), dtype=np.int32)).resize((2544, 3056))
    dataset = dcmread(str(get_testdata_file("CT_small.dcm")))
    dataset.Modality, dataset.PhotometricInterpretation, dataset.BitsStored, dataset.HighBit = (
        "DX",
        "MONOCHROME2",
        12,
        11,
    )
    dataset.Columns, dataset.Rows, dataset.PixelRepresentation = *smooth.size, 0
    noisy_HW = np.asarray(smooth) + random.integers(-30, 30, smooth.size[::-1])
    dataset.PixelData = noisy_HW.astype(np.uint16).tobytes()
    dataset.save_as(into / "full.dcm")
    images, config = (
        [SourceImage("full", str(into / "full.dcm"), text=REPORT)] * SAMPLES,
        WorkerConfig(SETTINGS, b"s" * 32),
    )
    assert make_samples(images[:1], config)[0].sample
    started = time.process_time()
    make_samples(images, config)
    return (time.process_time() - started) / SAMPLES


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, nargs=2, default=(500, 2500))
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--shard-images", type=int, default=250)
    values = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        paths, sample = noise(Path(scratch)), sample_seconds(Path(scratch))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "node_ip_address": "127.0.0.1"})
        for _ in range(values.nodes):
            cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
        cluster.wait_for_nodes()
        few, many = (listing(paths, count) for count in values.images)
        try:
            build(few, cluster, values.shard_images)  # the workers import what they need
            small, large = (
                spent(cluster, partial(build, images, cluster, values.shard_images)) for images in (few, many)
            )
            waiting = idle(cluster)
        finally:
            cluster.shutdown()
    count, wall = len(many.images) - len(few.images), large.wall - small.wall
    driver, head = (
        (getattr(large, part) - getattr(small, part) - wall / waiting.wall * getattr(waiting, part)) / count
        for part in ("driver", "head")
    )
    print(f"driver {driver * 1e3:.3f} ms, head {head * 1e3:.3f} ms, a sample {sample * 1e3:.1f} ms of CPU per image")
    print(f"idle: driver {waiting.driver / waiting.wall:.1%}, head {waiting.head / waiting.wall:.1%} of a core")
    print(f"the driver can feed {sample / driver:.0f} cores, with the head beside it {sample / (driver + head):.0f}")
    print(f"{len(many.images)} images in {large.wall:.0f} s on {values.nodes} CPUs")


if __name__ == "__main__":
    main()
