"""The cost of a build compared with the unavoidable work.

In: a folder of images (the real ones where they are at hand). Out: printed ratios, all of one run:
- a build against a bare loop of decode, resize and encode with the same codecs, by one and by two processes;
- how both scale from one process to two;
- with --img2dataset PYTHON (an interpreter that has img2dataset), its resizer on the same JPEG and PNG files;
- with --memory, the peak memory of a worker at 2,000 and at 20,000 images.

    python benchmarks/shard_build.py [FOLDER] [--copies 4] [--repeats 3] [--memory] [--img2dataset PYTHON]
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.pixels import pixel_array

from sharding.build import pool, run
from sharding.build.samples import make_sample
from sharding.build.sentence_tuple import JPEG_QUALITY, SampleSettings, WorkerConfig
from sharding.deid import private_folder
from sharding.sources import SourceImage, folder
from sharding.sources.files.inventory import Inventory

SIZE = 1024
IMAGES = (".png", ".jpg", ".jpeg")
IMG2DATASET = """
import io, sys, time
from img2dataset.resizer import Resizer
resizer = Resizer({size}, "keep_ratio_largest", True, encode_quality={quality}, encode_format="jpg")
files = [io.BytesIO(open(name, "rb").read()) for name in sys.stdin.read().splitlines()]
started = time.process_time()
failed = sum(resizer(file)[-1] is not None for file in files)
print(time.process_time() - started, failed)
"""


def bare(path: str) -> int:
    """Decode, resize and encode, and nothing else: no header, no window, no text, no checksum."""
    if path.lower().endswith(IMAGES):
        grey = Image.open(path).convert("L")
    else:
        stored_HW = pixel_array(dcmread(path))
        shift = max(0, int(stored_HW.max()).bit_length() - 8)
        grey = Image.fromarray((stored_HW >> shift).astype(np.uint8)).convert("L")
    ratio = SIZE / max(grey.size)
    if ratio < 1:
        grey = grey.resize((round(grey.width * ratio), round(grey.height * ratio)), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    grey.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return len(buffer.getvalue())


def bare_loop(paths: list[str], processes: int) -> None:
    with ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as workers:
        assert all(workers.map(bare, paths, chunksize=pool.CHUNK))


def build(source: Path, processes: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        private = private_folder.open_private(Path(scratch) / "private", str(source), scratch + "/out")
        settings = run.BuildSettings(
            "folder", SampleSettings(SIZE, "jpg", None, True, frontal_only=False, chest_only=False)
        )
        plan = run.Build(settings, scratch + "/out", private, lambda config: pool.Processes(config, processes))
        account = run.build(folder.read(Inventory.of(str(source)), None), plan)
        assert not account.rejected, account.rejected


def copies(source: Path, into: Path, count: int) -> list[str]:
    """Every readable image below `source`, `count` times under other names."""
    paths = [path for path in sorted(source.rglob("*")) if path.is_file() and _readable(path)]
    for number in range(count):
        for index, path in enumerate(paths):
            shutil.copy(path, into / f"{number:03d}-{index:04d}{path.suffix.lower()}")
    return sorted(str(path) for path in into.iterdir())


def _readable(path: Path) -> bool:
    try:
        return bool(bare(str(path)))
    except Exception:  # anything that is no image; the build says why, this only leaves it out
        return False


def timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(paths: list[str], source: Path, repeats: int) -> None:
    """Medians over interleaved repeats, so that a noisy neighbour affects all of them equally."""
    works = {
        (name, processes): work
        for processes in (1, 2)
        for name, work in (
            ("bare", lambda processes=processes: bare_loop(paths, processes)),
            ("build", lambda processes=processes: build(source, processes)),
        )
    }
    seconds: dict[tuple[str, int], list[float]] = {key: [] for key in works}
    for _ in range(repeats):
        for key, work in works.items():
            seconds[key].append(timed(work))
    middle = {key: statistics.median(values) for key, values in seconds.items()}
    for processes in (1, 2):
        ratio = middle["bare", processes] / middle["build", processes]
        print(
            f"{processes} process(es): {len(paths) / middle['build', processes]:.1f} images/s, "
            f"{ratio:.2f} of the bare loop"
        )
    scaling = {name: middle[name, 1] / middle[name, 2] for name in ("bare", "build")}
    print(
        f"two processes: bare x{scaling['bare']:.2f}, build x{scaling['build']:.2f}, "
        f"{scaling['build'] / scaling['bare']:.2f} times as well"
    )


def worker_memory(images: int) -> int:
    """Peak resident kB of the largest process beside the build itself, at this many small images."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "in"
        source.mkdir()
        noise_HW = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
        for number in range(images):
            Image.fromarray(np.roll(noise_HW, number)).save(source / f"{number}.png", compress_level=1)
        command = [sys.executable, "-m", "sharding", "build", "folder", str(source), "--out", scratch + "/out"]
        started = subprocess.Popen([*command, "--allow-no-text", "--processes", "2"], start_new_session=True)
        most = 0
        while started.poll() is None:
            most = max([most, *_peaks(started.pid)])
            time.sleep(0.1)
        assert started.returncode == 0
        return most


def _peaks(session: int) -> list[int]:
    """VmHWM of the other processes of a session."""
    listed = subprocess.run(["ps", "-o", "pid=", "--sid", str(session)], capture_output=True, text=True, check=False)
    peaks = []
    for pid in set(listed.stdout.split()) - {str(session)}:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue  # it has ended
        peaks += [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    return peaks


def against_img2dataset(paths: list[str], python: str) -> None:
    """Processor seconds of its resizer, bytes in memory to bytes in memory, and of this tool's from file to bytes."""
    chosen = [path for path in paths if path.endswith(IMAGES)]
    script = IMG2DATASET.format(size=SIZE, quality=JPEG_QUALITY)
    done = subprocess.run([python, "-c", script], input="\n".join(chosen), capture_output=True, text=True, check=True)
    theirs, failed = (float(part) for part in done.stdout.splitlines()[-1].split())
    settings = SampleSettings(SIZE, "jpg", None, True, frontal_only=False, chest_only=False)
    images = [SourceImage(path, path) for path in chosen]
    config = WorkerConfig(settings, b"s" * 32)
    started = time.process_time()
    rejected = sum(make_sample(image, config).sample is None for image in images)
    ours = time.process_time() - started
    print(
        f"img2dataset's resizer: {theirs:.1f} s ({failed:.0f} failed), this tool {ours:.1f} s ({rejected} rejected), "
        f"x{theirs / ours:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--img2dataset", metavar="PYTHON")
    values = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch)
        paths = copies(values.folder, source, values.copies)
        print(f"{len(paths)} images from {values.folder.name}, {os.cpu_count()} processors")
        compare(paths, source, values.repeats)
        if values.img2dataset:
            against_img2dataset(paths, values.img2dataset)
    if values.memory:
        small, large = worker_memory(2_000), worker_memory(20_000)
        print(
            f"a worker's peak memory: {small / 1024:.0f} MB at 2,000 images, {large / 1024:.0f} MB at 20,000, "
            f"x{large / small:.3f}"
        )


if __name__ == "__main__":
    main()
